"""Feature caches on object storage: copied to this machine block by block, each checked, then read as a folder.

Training reads rows at random, every epoch again, which no object store is made for. So a copy is made once, below
``WORDFRAME_CACHE`` (default ``~/.cache/wordframe``), for all processes of the machine; one that is cut short goes on.
Its folder is named by the address and by what the cache says of itself: a cache that was made anew is copied anew.
Credentials and endpoint come from the usual variables of the environment (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``).
Neighbours: ``feature_cache.py`` opens what is copied.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock

from wordframe.data._cache_folder import CacheError
from wordframe.disk import replacing, short_hash, write_whole
from wordframe.errors import needs_extra

_SCHEMES = ("s3", "gs", "az")
_BLOCK = re.compile(r"[a-z]+-\d+\.safetensors")
_AT_ONCE = 4
_PIECE_BYTES = 2**23
_RETRIES, _RETRY_SECONDS = 6, 20


class _NotWholeError(CacheError):
    def __init__(self, address: str, name: str) -> None:
        super().__init__(f"{address}/{name}: missing, or not what was written; copy the cache there anew")


def is_address(place: str | Path) -> bool:
    """Whether ``place`` is on object storage.

    >>> is_address("s3://bucket/features"), is_address("features/s3")
    (True, False)
    """
    return str(place).partition("://")[0] in _SCHEMES and "://" in str(place)


def joined(place: str | Path, name: str) -> str | Path:
    """What ``name`` is below a folder or an address.

    >>> joined("s3://bucket/features/", "train")
    's3://bucket/features/train'
    """
    return f"{str(place).rstrip('/')}/{name}" if is_address(place) else Path(place) / name


def is_there(place: str | Path, description: str) -> bool:
    """Whether there is a cache at ``place``, by the name of its description.

    Raises:
        CacheError: the store cannot be asked.
    """
    if not is_address(place):
        return Path(place).is_dir()
    return _found(_open(str(place)), description, str(place)) is not None


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
    root = Path(os.environ.get("WORDFRAME_CACHE") or Path.home() / ".cache" / "wordframe")
    folder = root / "features" / short_hash(address.rstrip("/"), described.decode())
    with _writing(folder), FileLock(folder / ".copying.lock"):  # the machine's other processes wait, and find it there
        if not (folder / captions).exists():
            _copy_captions(store, address, folder / captions, expected)
        missing = [name for name in blocks if not (folder / name).exists()]
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="copy") as pool:
            for _ in pool.map(lambda name: _copy_block(store, address, folder / name, blocks[name]), missing):
                pass
        write_whole(folder / description, described)
    return folder


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
    import obstore

    total = 0
    with replacing(path) as part, part.open("wb") as file:
        with _told(address, path.name):
            for piece in obstore.get(store, path.name).stream(min_chunk_size=_PIECE_BYTES):
                total = zlib.crc32(piece, total)
                file.write(piece)
        if total != expected:
            raise _NotWholeError(address, path.name)


def _found(store: Any, name: str, address: str) -> bytes | None:
    import obstore

    with contextlib.suppress(_NotWholeError), _told(address, name):
        return bytes(obstore.get(store, name).bytes())
    return None


def _open(address: str) -> Any:
    with needs_extra("cloud", "a feature cache on object storage"):
        from obstore import store

    parts = urlsplit(address)
    if "@" in parts.netloc or parts.query or parts.fragment or not parts.netloc or not parts.path.strip("/"):
        raise CacheError(
            f"{parts.scheme}://: an address is {parts.scheme}://BUCKET/PREFIX and nothing else; credentials come from "
            "the environment"
        )
    endpoint = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT") or ""
    client: Any = {"allow_http": True} if endpoint.startswith("http://") else {}
    with _told(address, ""):
        opened: Any = store.from_url(
            address.rstrip("/"),
            client_options=client,
            retry_config={"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=_RETRY_SECONDS)},
        )
    return opened


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
    """What the store says in the block, in a line without its own words: they quote addresses that may be signed."""
    from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError, UnauthenticatedError

    try:
        yield
    except (FileNotFoundError, NotFoundError):
        raise _NotWholeError(address, name) from None
    except (PermissionDeniedError, UnauthenticatedError):
        raise CacheError(f"{address}/{name}: the store does not let you read it; check the credentials") from None
    except BaseError:
        raise CacheError(
            f"{address}/{name}: the store cannot be reached, or failed; check its endpoint and region, or try later"
        ) from None
