"""Putting a library in the place of another, so that each moment has one of them whole in that place.

The new one is made in ``NAME.upgrading`` beside ``NAME``, marked when it is complete, and swapped in by two renames:
the old one goes to ``NAME.replaced``, the new one to ``NAME``; then the old one is removed. A crash in between leaves
names from which anybody who opens the library next can tell what is missing, and does it. A folder is moved or removed
only where it carries our mark, so that a stranger's folder of such a name is never touched.
Neighbours: ``_reencode.py`` makes the new one, ``library.py`` finishes at each opening what was cut short.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path

from wordframe.disk import sync, write_whole
from wordframe.errors import LibraryError
from wordframe.library._manifest import MANIFEST_NAME
from wordframe.library._writing import MARK_NAME, OWN_NAMES

_BEGUN, _COMPLETE, _GIVEN_UP = "begun", "complete", "given up"
"""What the mark says: the first two in the new library, the last in the old one."""


def new_place(folder: Path) -> Path:
    """Where the library that replaces ``folder`` is made."""
    return folder.with_name(f"{folder.name}.upgrading")


def old_place(folder: Path) -> Path:
    """Where the library that was replaced goes before it is removed."""
    return folder.with_name(f"{folder.name}.replaced")


def begin(folder: Path) -> Path:
    """The folder for the new library, marked as ours; one that was begun before is gone on with.

    Raises:
        LibraryError: something else lies there.
    """
    new, old = new_place(folder), old_place(folder)
    for place in (new, old):
        if place.exists() and not (place == new and (_state(place) or _is_bare(place))):
            raise LibraryError(f"{place}: is in the way, and nothing that wordframe made; move it elsewhere")
    try:
        new.mkdir(exist_ok=True)
        if not _state(new):
            _mark(new, _BEGUN)
    except OSError as error:
        raise LibraryError(f"{new}: cannot be written ({(error.strerror or str(error)).lower()})") from None
    return new


def _is_bare(folder: Path) -> bool:
    """Whether a folder holds nothing, or at most what is left of a mark that could not be written."""
    unfinished = f".{Path(MARK_NAME).stem}.*"
    return folder.is_dir() and all(path.match(unfinished) for path in folder.iterdir())


def start_over(folder: Path) -> Path:
    """Remove what was made of the new library, and begin again."""
    shutil.rmtree(new_place(folder))
    return begin(folder)


def swap(folder: Path) -> None:
    """Put the new library, which is complete, into the place of the old one. The caller holds the old one's lock."""
    # This order: from the first mark on the new one is known to be whole, and only then is the old one given up.
    _mark(new_place(folder), _COMPLETE)
    _mark(folder, _GIVEN_UP)
    os.rename(folder, old_place(folder))
    sync(folder.parent)
    finish(folder)


def finish(folder: Path) -> None:
    """Do what is left of a swap that was cut short; nothing where there was none. Any process may, and several at once.

    Raises:
        LibraryError: the folders cannot be written.
    """
    new, old = new_place(folder), old_place(folder)
    try:
        if _state(new) == _COMPLETE and _state(old) == _GIVEN_UP and not (folder / MANIFEST_NAME).exists():
            with contextlib.suppress(FileNotFoundError):  # another process was quicker
                _clear(folder)
                os.rename(new, folder)
            sync(folder.parent)
        if _state(old) == _GIVEN_UP and (folder / MANIFEST_NAME).exists():
            _remove(old)
            (folder / MARK_NAME).unlink(missing_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise LibraryError(f"{folder}: {new.name} could not be put in its place ({reason}); run it again") from None


def _clear(folder: Path) -> None:
    """Remove what somebody made who wanted to write in between: a folder with a lock and no library."""
    if folder.exists() and {path.name for path in folder.iterdir()} <= set(OWN_NAMES):
        shutil.rmtree(folder)


def _remove(folder: Path) -> None:
    """The mark goes last: what is half removed is still known as ours."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != MARK_NAME:
            path.unlink()
    (folder / MARK_NAME).unlink()
    folder.rmdir()


def _mark(folder: Path, state: str) -> None:
    write_whole(folder / MARK_NAME, json.dumps({"state": state}) + "\n")


def _state(folder: Path) -> str:
    """What the mark in a folder says; empty where there is none."""
    try:
        return str(json.loads((folder / MARK_NAME).read_text(encoding="utf-8"))["state"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
