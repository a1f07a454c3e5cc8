"""What both caches share: a folder with a description of itself, one writer at a time, files whole or not at all.

The description is one JSON file that names the kind and the version of the cache and what everything in it depends on.
Neighbours: ``frame_cache.py``, ``feature_cache.py`` and ``_feature_building.py``.
"""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from wordframe.disk import hold_lock, one_line, write_whole
from wordframe.errors import WordframeError
from wordframe.video import VIDEO_SUFFIXES

VERSION = 1
_LOCK_NAME = ".writing.lock"
_METADATA_KEY = "wordframe"
_LEFT_OVER = (".*.part", ".*.part.*")
"""What unfinished files are named: by earlier versions, and by ``disk.replacing``, which keeps a file's ending."""


class CacheError(WordframeError):
    """A cache that cannot be read, is in use by another run, or was made with other settings."""


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Make the folder if needed, keep other runs from writing into it meanwhile, remove what a killed run left.

    Raises:
        CacheError: videos lie in the folder, another run writes, or it cannot be written.
    """

    def busy() -> CacheError:
        return CacheError(f"{folder}: another run of wordframe is writing; wait until it has ended")

    with contextlib.ExitStack() as held:
        with _as_cache_error(folder):
            folder.mkdir(parents=True, exist_ok=True)
            _refuse_videos(folder)
            held.enter_context(hold_lock(folder / _LOCK_NAME, busy=busy))
        # only under the lock: another run's unfinished files look the same
        for left in [path for pattern in _LEFT_OVER for path in folder.rglob(pattern)]:
            left.unlink(missing_ok=True)
        yield


def _refuse_videos(folder: Path) -> None:
    """Among people's own files nothing is written, and nothing is removed that is named as what a killed run left."""
    own = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
    if own and not any(folder.glob("wordframe-*.json")):
        raise CacheError(f"{folder}: holds videos ({one_line(own[0])!r}); name a folder of its own for the cache")


def read_description(folder: Path, kind: str) -> dict[str, Any] | None:
    """The description of the cache of this kind in ``folder``; None if there is none.

    Raises:
        CacheError: it is damaged, or of another version.
    """
    path = folder / f"wordframe-{kind}.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CacheError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    except (ValueError, RecursionError) as error:
        raise CacheError(f"{path}: damaged; make the cache anew in another folder") from error
    version = values.get("version") if isinstance(values, dict) else None
    if version != VERSION:
        raise CacheError(
            f"{folder}: made with cache format {version}, this wordframe reads format {VERSION}; "
            "make the cache anew in another folder"
        )
    found: dict[str, Any] = values
    return found


def write_description(folder: Path, kind: str, values: Mapping[str, Any]) -> None:
    """Write the description of a cache."""
    write_json(folder / f"wordframe-{kind}.json", {"version": VERSION, **values})


def write_json(path: Path, values: object) -> None:
    """Write a JSON file, whole or not at all. CacheError: it cannot be written."""
    with _as_cache_error(path):
        write_whole(path, json.dumps(values, indent=1) + "\n")


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> int:
    """Write a safetensors file with ``metadata``, whole or not at all; gives its checksum."""
    from safetensors.numpy import save

    # one entry: safetensors writes several in an order of its own, and the same content must have the same checksum
    data = save(dict(tensors), metadata={_METADATA_KEY: json.dumps(metadata)})
    with _as_cache_error(path):
        write_whole(path, data)
    return zlib.crc32(data)


def read_metadata(opened: Any) -> dict[str, Any]:
    """The metadata of an open file of ``write_tensors``; ValueError if something else wrote it."""
    written = (opened.metadata() or {}).get(_METADATA_KEY)
    if written is None:
        raise ValueError("it was not written by wordframe")
    values: dict[str, Any] = json.loads(written)
    return values


def checksum(path: Path) -> int | None:
    """The checksum of a file, None if it cannot be read.

    CRC-32, not a hash: it looks for what a disk has spoilt, not for what somebody has forged, and runs at disk speed.
    """
    total = 0
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                total = zlib.crc32(block, total)
    except OSError:
        return None
    return total


@contextlib.contextmanager
def _as_cache_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CacheError(f"{path}: cannot be written ({(error.strerror or str(error)).lower()})") from error
