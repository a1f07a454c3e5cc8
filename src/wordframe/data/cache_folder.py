"""What both caches share: a folder with a description of itself, one writer at a time, files whole or not at all.

The description is one JSON file that names the kind and the version of the cache and what everything in it depends on.
Neighbours: ``frame_cache.py``, ``feature_cache.py``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from wordframe.errors import WordframeError

VERSION = 1
_LOCK_NAME = ".writing.lock"
_TOLD = "wordframe"
_PART = ".part"


class CacheError(WordframeError):
    """A cache that cannot be read, is in use by another run, or was made with other settings."""


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Make the folder if needed, keep other runs from writing into it meanwhile, remove what a killed run left."""
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK_NAME)
        lock.acquire(timeout=0)
    except Timeout:
        raise CacheError(f"{folder}: another run of wordframe is writing; wait until it has ended") from None
    except OSError as error:
        raise CacheError(f"{folder}: cannot be written ({(error.strerror or str(error)).lower()})") from error
    try:
        for left in folder.rglob(f".*{_PART}"):
            left.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


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
    except ValueError as error:
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
    """Write a JSON file, whole or not at all."""
    with _whole(path) as part:
        part.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]], told: Mapping[str, Any]) -> int:
    """Write a safetensors file that also holds what is ``told``, whole or not at all; gives its checksum."""
    from safetensors.numpy import save

    # one entry: safetensors writes several in an order of its own, and the same content must have the same checksum
    data = save(dict(tensors), metadata={_TOLD: json.dumps(told)})
    with _whole(path) as part:
        part.write_bytes(data)
    return zlib.crc32(data)


def read_told(opened: Any) -> dict[str, Any]:
    """What ``write_tensors`` was told, of an open safetensors file; ValueError if it was written by something else."""
    told = (opened.metadata() or {}).get(_TOLD)
    if told is None:
        raise ValueError("it was not written by wordframe")
    values: dict[str, Any] = json.loads(told)
    return values


def checksum(path: Path) -> int | None:
    """The checksum of a file, None if it cannot be read."""
    total = 0
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                total = zlib.crc32(block, total)
    except OSError:
        return None
    return total


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A place to write at; what lies there afterwards becomes ``path``."""
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}{_PART}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        os.replace(part, path)
    except OSError as error:
        raise CacheError(f"{path}: cannot be written ({(error.strerror or str(error)).lower()})") from error
    finally:
        part.unlink(missing_ok=True)


def short_hash(*values: object) -> str:
    """Sixteen letters that change when the values, which JSON must be able to hold, do."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
