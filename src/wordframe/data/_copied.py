"""Caches on object storage: copied to this machine file by file, then read as a folder.

Training reads rows at random, every epoch again, which no object store is made for. So a copy is made once, below
``WORDFRAME_CACHE`` (default ``~/.cache/wordframe``), for all processes of the machine; one that is cut short goes on.
Its folder is named by the address and by what the cache says of itself: a cache that was made anew is copied anew.
A feature cache says what its blocks are, which are checked on the way. A frame cache may grow, video by video: its
files are listed, and copied where size or time differ; each picture carries a checksum that is seen when it is read.
Neighbours: ``feature_cache.py`` and ``frame_cache.py`` open what is copied.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from filelock import FileLock

from wordframe.addresses import parse_address
from wordframe.data._cache_folder import CacheError
from wordframe.disk import replacing, short_hash, write_whole
from wordframe.object_storage import open_store, told

_BLOCK = re.compile(r"[a-z]+-\d+\.safetensors")
_FRAMES_OF_VIDEO = re.compile(r"videos/[0-9a-f]{2}/[0-9a-f]{32}\.safetensors")
_AT_ONCE = 4
_PIECE_BYTES = 2**23


class _NotWholeError(CacheError):
    def __init__(self, address: str, name: str) -> None:
        super().__init__(f"{address}/{name}: missing, or not what was written; copy the cache there anew")


def address_of(place: str | Path) -> str | None:
    """The address of a cache on object storage; None for a folder. CacheError: it makes no sense as an address."""
    return parse_address(place, "a cache lies in a folder", CacheError)


def is_there(place: str | Path, description: str) -> bool:
    """Whether there is a cache at ``place``, by the name of its description.

    Raises:
        CacheError: the store cannot be asked.
    """
    address = address_of(place)
    if address is None:
        return Path(place).is_dir()
    return _found(_open(address), description, address) is not None


def copied(address: str, description: str, captions: str) -> Path:
    """The local copy of the cache at ``address``; what it lacks is fetched first.

    Args:
        description, captions: names of the two files beside the blocks.

    Raises:
        CacheError: there is no cache, the store cannot be reached, or what it gives is not what was written.
        MissingExtraError: the library for object storage is not installed.
    """
    store = _open(address)
    described = _found(store, description, address)
    if described is None:
        raise CacheError(f"{address}: there is no feature cache; copy one there that wordframe cache features made")
    try:
        values = json.loads(described)
        blocks: Mapping[str, int] = dict(values["blocks"])
        expected = values["captions"]
    except (ValueError, KeyError, TypeError):
        raise _NotWholeError(address, description) from None
    if not all(map(_BLOCK.fullmatch, blocks)):  # names become files here
        raise _NotWholeError(address, description)
    folder = _folder("features", address, described)
    with _writing(folder), FileLock(folder / ".copying.lock"):  # the machine's other processes wait, and find it there
        if not (folder / captions).exists():
            _copy_captions(store, address, folder / captions, expected)
        missing = [name for name in blocks if not (folder / name).exists()]
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="copy") as pool:
            for _ in pool.map(lambda name: _copy_block(store, address, folder / name, blocks[name]), missing):
                pass
        write_whole(folder / description, described)
    return folder


def copied_frames(address: str, description: str, problems: str) -> Path:
    """The local copy of the frame cache at ``address``, brought up to date with it.

    Args:
        description, problems: names of the two files beside the videos' folder.

    Raises:
        CacheError: there is no cache, the store cannot be reached, or an object went while it was copied.
        MissingExtraError: the library for object storage is not installed.
    """
    store = _open(address)
    described = _found(store, description, address)
    if described is None:
        raise CacheError(f"{address}: there is no frame cache; copy one there that wordframe cache frames made")
    folder = _folder("frames", address, described)
    with _writing(folder), FileLock(folder / ".copying.lock"):
        there = _listed(store, address)
        for path in folder.glob("videos/*/*.safetensors"):
            if path.relative_to(folder).as_posix() not in there:
                path.unlink()
        wanted = [name for name, stamp in there.items() if _stamp(folder / name) != stamp]
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="copy") as pool:
            for _ in pool.map(lambda name: _copy_frames(store, address, folder, name, there[name]), wanted):
                pass
        write_whole(folder / problems, _found(store, problems, address) or b"{}")
        write_whole(folder / description, described)
    return folder


def _listed(store: Any, address: str) -> dict[str, tuple[int, int]]:
    """The videos' files, each with its size and the second that it was written."""
    with _told(address, "videos"):
        return {
            entry["path"]: (entry["size"], int(entry["last_modified"].timestamp()))
            for entries in store.list("videos")
            for entry in entries
            if _FRAMES_OF_VIDEO.fullmatch(entry["path"])  # names become files here
        }


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_size, int(found.st_mtime)


def _copy_frames(store: Any, address: str, folder: Path, name: str, stamp: tuple[int, int]) -> None:
    """The file of one video, with the time of the object by which it is known again."""
    with replacing(folder / name) as part:
        with part.open("wb") as file:
            for piece in _pieces(store, address, name):
                file.write(piece)
        if part.stat().st_size != stamp[0]:
            raise _NotWholeError(address, name)
        os.utime(part, (stamp[1], stamp[1]))


def _folder(kind: str, address: str, described: bytes) -> Path:
    root = Path(os.environ.get("WORDFRAME_CACHE") or Path.home() / ".cache" / "wordframe")
    return root / kind / short_hash(address, described.decode("utf-8", "replace"))


def _copy_captions(store: Any, address: str, path: Path, expected: str) -> None:
    data = _found(store, path.name, address)
    try:
        if data is None or short_hash(json.loads(data)) != expected:
            raise _NotWholeError(address, path.name)
    except ValueError:
        raise _NotWholeError(address, path.name) from None
    write_whole(path, data)


def _copy_block(store: Any, address: str, path: Path, expected: int) -> None:
    """One block, in pieces, that takes its place only if it is what was written."""
    total = 0
    with replacing(path) as part, part.open("wb") as file:
        for piece in _pieces(store, address, path.name):
            total = zlib.crc32(piece, total)
            file.write(piece)
        if total != expected:
            raise _NotWholeError(address, path.name)


def _pieces(store: Any, address: str, name: str) -> Iterator[bytes]:
    # a generator of its own, so that what the disk says while they are written is not taken for the store's word
    with _told(address, name):
        for piece in store.get(name).stream(min_chunk_size=_PIECE_BYTES):
            yield bytes(piece)


def _found(store: Any, name: str, address: str) -> bytes | None:
    with contextlib.suppress(_NotWholeError), _told(address, name):
        return bytes(store.get(name).bytes())
    return None


def _open(address: str) -> Any:
    return open_store(address, "a cache on object storage", CacheError)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """What goes wrong with the disk within the block is told as such."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise CacheError(
            f"{folder}: cannot be written ({(error.strerror or str(error)).lower()}); name another place for copies by "
            "WORDFRAME_CACHE"
        ) from error


@contextlib.contextmanager
def _told(address: str, name: str) -> Iterator[None]:
    """What the store says in the block, as ``told``; a file that is not there makes the cache one that is not whole."""
    try:
        with told(f"{address}/{name}", CacheError):
            yield
    except FileNotFoundError:
        raise _NotWholeError(address, name) from None
