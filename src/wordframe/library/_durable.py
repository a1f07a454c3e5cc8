"""Surviving a loss of power: what of the tables has reached the disk, and going back to it.

LanceDB writes files beside each other and makes a version by renaming its manifest; it syncs nothing. A killed process
loses nothing by that, since the system keeps what was written. When the power fails, any part of what was not synced
may be gone or torn, in any order: a manifest may be there without the data that it names. So after each commit the
writer syncs all new files and folders and then notes, whole and synced itself, which version each table has on disk
(``durable.json``). The first writer after a crash of the machine takes everything newer away; the videos of a few
seconds are then indexed again.

That the machine went down is known by the boot's id that a writer leaves beside its process id. Where the system has
none (only Linux tells), nothing is taken away.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path

from wordframe.disk import sync, write_whole

DURABLE_NAME = "durable.json"
_HIGHEST = 2**64 - 1
"""A manifest is named by how far its version lies below this, so that the newest comes first in a listing."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Names the time since the machine was started; empty where the system does not tell."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


class DurableTables:
    """The tables of one library while it is being written."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._tables = folder, folder / "tables"
        self._synced: set[tuple[str, int, int]] = set()

    def sync(self) -> None:
        """Bring what was committed to the disk, and note its versions.

        Raises:
            OSError: the disk is full or failing.
        """
        folders = [self._folder, self._tables]
        for place, names, files in os.walk(self._tables):
            folders += [Path(place, name) for name in names]
            for file in files:
                path = os.path.join(place, file)
                with contextlib.suppress(FileNotFoundError):  # tidied up meanwhile
                    status = os.stat(path)
                    known = (path, status.st_ino, status.st_mtime_ns)
                    if known not in self._synced:
                        sync(path)
                        self._synced.add(known)
        # A folder's entries last: a name must never reach the disk before its content.
        for folder in reversed(folders):
            sync(folder)
        versions = {table.stem: _newest(table) for table in self._tables.glob("*.lance")}
        if versions != _read(self._folder):
            note_durable(self._folder, versions)


def note_durable(folder: Path, versions: dict[str, int]) -> None:
    """Note which version each table has on the disk; none of a new library, before it has tables."""
    write_whole(folder / DURABLE_NAME, json.dumps(versions, indent=2) + "\n")


def go_back(folder: Path) -> None:
    """Leave of the tables what was on the disk for certain when the power failed. The caller holds the lock."""
    versions = _read(folder)
    if versions is None:  # of a library that no writer of this format has touched
        return
    for table in (folder / "tables").glob("*.lance"):
        if table.stem not in versions:
            shutil.rmtree(table)
            continue
        for manifest in _manifests(table):
            if _version_of(manifest) > versions[table.stem]:
                manifest.unlink()
        (table / "_versions" / "latest_version_hint.json").unlink(missing_ok=True)


def _read(folder: Path) -> dict[str, int] | None:
    try:
        versions = json.loads((folder / DURABLE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    makes_sense = isinstance(versions, dict) and all(isinstance(number, int) for number in versions.values())
    return versions if makes_sense else None


def _manifests(table: Path) -> list[Path]:
    return [path for path in (table / "_versions").glob("*.manifest") if path.stem.isdecimal()]


def _version_of(manifest: Path) -> int:
    return _HIGHEST - int(manifest.stem)


def _newest(table: Path) -> int:
    return max(map(_version_of, _manifests(table)), default=0)
