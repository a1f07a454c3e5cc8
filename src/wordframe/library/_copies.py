"""Small files of a library that can be told to be whole, and copies of those that nothing else could make again.

A file with a check holds a hash of its values as they are written, and is damaged if any of its bytes is another.
``copies.json`` holds the texts of the others (``wordframe.json``, ``roots.json`` …): whichever of the two is damaged,
the other is not.
Neighbours: ``_manifest.py`` writes the texts, ``_durable.py`` a file with a check, ``_verify.py`` compares.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wordframe.disk import write_whole

COPIES_NAME = "copies.json"


def write_checked(path: Path, values: object) -> None:
    """Write plain values as JSON with their hash, whole or not at all.

    Raises:
        OSError: as ``wordframe.disk.replacing``.
    """
    write_whole(path, _with_check(json.dumps(values).encode()))


def read_checked(path: Path) -> Any:
    """The values of a file that ``write_checked`` wrote; None if it is not there, damaged, or was written otherwise."""
    try:
        content = path.read_bytes()
        body = content[_HEAD_BYTES:-_TAIL_BYTES]
        return json.loads(body) if content == _with_check(body) else None
    except (OSError, ValueError, RecursionError):
        return None


def _with_check(body: bytes) -> bytes:
    return b'{"check": "%b", "values": %b}\n' % (hashlib.sha256(body).hexdigest()[:16].encode(), body)


_HEAD_BYTES, _TAIL_BYTES = _with_check(b"").index(b"}"), len(b"}\n")


def read_copies(folder: Path) -> dict[str, str] | None:
    """Texts of the small files by name; None if there are no copies, or they are damaged."""
    copies: dict[str, str] | None = read_checked(folder / COPIES_NAME)
    return copies


def keep_copy(folder: Path, name: str, text: str | None) -> None:
    """Keep what the file ``name`` is about to hold, before it is written; None: keep no copy of it any more.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    known = read_copies(folder) or {}
    copies = {other: kept for other, kept in known.items() if other != name} | ({} if text is None else {name: text})
    if copies != known:
        write_checked(folder / COPIES_NAME, copies)


def copy_missing(folder: Path, names: Iterable[str]) -> None:
    """Keep copies of those files that are there and have none, as in a library of before there were copies.

    Raises:
        OSError: as ``keep_copy``.
    """
    known = read_copies(folder)
    if known is None and (folder / COPIES_NAME).exists():
        return  # damaged, which is to be seen first
    for name in names:
        if name not in (known or {}):
            with contextlib.suppress(FileNotFoundError, ValueError, RecursionError):
                text = (folder / name).read_bytes().decode("ascii")
                json.loads(text)
                keep_copy(folder, name, text)
