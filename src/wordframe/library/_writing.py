"""One writer at a time: the lock of a library's folder, who holds it, and what a writer that died left behind.

Neighbours: ``_local.py`` writes under it, ``_durable.py`` is what a loss of power needs.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from wordframe.disk import hold_lock, remove_all_unfinished, write_whole
from wordframe.errors import LibraryError
from wordframe.library._copies import COPIES_NAME, copy_missing
from wordframe.library._durable import DURABLE_NAME, Noted, boot_id, go_back, note_durable
from wordframe.library._manifest import MANIFEST_NAME, ROOTS_NAME
from wordframe.library._sampling import SAMPLING_NAME

_LOCK_NAME = "indexing.lock"
_OWNER_NAME = "indexing.pid"
MARK_NAME = "upgrading.json"
"""Of a library that takes another's place; see ``_swap.py``."""
OWN_NAMES = (_LOCK_NAME, _OWNER_NAME, DURABLE_NAME, COPIES_NAME, MARK_NAME)
"""Files that a folder may hold before it holds a library."""

COPIED_NAMES = (MANIFEST_NAME, ROOTS_NAME, SAMPLING_NAME)
"""What is worth a copy even where it was made before there were copies."""


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Keep all others out who write, within the block. The system drops it when the process dies, however it dies.

    Raises:
        LibraryError: another writes, or the folder cannot be written.
    """
    owner = folder / _OWNER_NAME

    def busy() -> LibraryError:
        by = (_words(owner) or ["unknown"])[0]
        return LibraryError(f"{folder}: another run of wordframe (process {by}) is writing; wait until it has ended")

    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(hold_lock(folder / _LOCK_NAME, busy=busy))
            remove_all_unfinished(folder)
            _mend_after_power_loss(folder, _words(owner))
            copy_missing(folder, COPIED_NAMES)
            write_whole(owner, f"{os.getpid()} {boot_id()}\n")
        except OSError as error:
            raise LibraryError(f"{folder}: cannot be written ({(error.strerror or str(error)).lower()})") from None
        stack.callback(owner.unlink, missing_ok=True)
        yield


def _words(owner: Path) -> list[str]:
    try:
        return owner.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return []


def _mend_after_power_loss(folder: Path, left: list[str]) -> None:
    """A writer that ends in order takes its file away. If one did not, and the machine was started since, what it had
    not synced may be torn."""
    if len(left) == 2 and boot_id() not in ("", left[1]):
        go_back(folder)


def begin_library(folder: Path) -> None:
    """Make ready for a new library a folder that the caller has locked.

    Raises:
        LibraryError: the folder holds something else.
    """
    strangers = [path.name for path in folder.iterdir() if path.name not in OWN_NAMES]
    if strangers:
        raise LibraryError(
            f"{folder}: holds {strangers[0]!r} but no library; name a new or empty folder with --library"
        )
    note_durable(folder, Noted())
