"""Small files that are there whole, as they were or as they will be, whatever happens while they are written."""

from __future__ import annotations

import os
from pathlib import Path

from wordframe.errors import LibraryError


def write_whole(path: Path, text: str) -> None:
    """Put ``text`` into ``path``, whole or not at all.

    Raises:
        LibraryError: the folder cannot be written, or the disk is full.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise LibraryError(f"{path.parent}: cannot be written ({(error.strerror or str(error)).lower()})") from None
