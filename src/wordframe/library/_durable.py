"""Surviving a loss of power: what of the tables has reached the disk, and going back to it.

LanceDB writes files beside each other and makes a version by renaming its manifest; it syncs nothing. A killed process
loses nothing by that, since the system keeps what was written. When the power fails, any part of what was not synced
may be gone or torn, in any order: a manifest may be there without the data that it names. So after each commit the
writer syncs all new files and folders and then notes, whole and synced itself, which version each table has on disk
(``durable.json``). The first writer after a crash of the machine takes everything newer away; the videos of a few
seconds are then indexed again.

Beside the versions stands a digest of each file of the tables, made when the file was new. LanceDB never changes a file
once it is written, so whatever has another digest later is damaged (``_verify.py``).

That the machine went down is known by the boot's id that a writer leaves beside its process id. Where the system has
none (only Linux tells), nothing is taken away.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import struct
from dataclasses import dataclass, field
from pathlib import Path

from wordframe.disk import content_hash, sync
from wordframe.library._copies import read_checked, write_checked

DURABLE_NAME = "durable.json"
HINT_NAME = "latest_version_hint.json"
"""The one file of a table that LanceDB writes again and again. It is never relied on."""
_HIGHEST = 2**64 - 1
"""A manifest is named by how far its version lies below this, so that the newest comes first in a listing."""
_FOOTER = struct.Struct("<16xQI8x4s")
"""The end of a data file: where its list of buffers starts and how many there are; the list lies right before it."""
_BYTES_OF_BUFFER = 16
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Names the time since the machine was started; empty where the system does not tell."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


@dataclass(frozen=True)
class Noted:
    """What is known to be on the disk.

    versions: by table; digests: ``file_digest`` of each file of the tables by its path below ``tables``, with slashes.
    """

    versions: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)


def file_digest(path: str | Path) -> str:
    """What is noted of a file's content: 128 bits, in hex.

    Raises:
        OSError: the file cannot be read.
    """
    return content_hash(path, "blake2b")


class DurableTables:
    """The tables of one library while it is being written."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._tables = folder, folder / "tables"
        self._synced: set[tuple[str, int, int]] = set()

    def files(self) -> frozenset[str]:
        """All files there are: those of commits, and what killed or failed writers left."""
        return frozenset(os.path.join(place, file) for place, _, files in os.walk(self._tables) for file in files)

    def sync(self, before: frozenset[str] | None = None) -> None:
        """Bring what was committed to the disk, and note its versions.

        Args:
            before: the files before the commit; those that are new must be whole.

        Raises:
            OSError: the disk is full or failing; what was committed may have been taken back.
        """
        noted = read_noted(self._folder)
        known = {} if noted is None else noted.digests
        folders, digests = [self._folder, self._tables], {}
        for place, names, files in os.walk(self._tables):
            folders += [Path(place, name) for name in names]
            for file in files:
                path = os.path.join(place, file)
                with contextlib.suppress(FileNotFoundError):  # tidied up meanwhile
                    self._sync_once(path, before)
                    if file != HINT_NAME:
                        name = Path(path).relative_to(self._tables).as_posix()
                        # one that was made before stays: a file that changed since is damaged
                        digests[name] = known.get(name) or file_digest(path)
        # A folder's entries last: a name must never reach the disk before its content.
        for folder in reversed(folders):
            sync(folder)
        now = Noted({table.stem: newest_version(table) for table in self._tables.glob("*.lance")}, digests)
        if now != noted:
            note_durable(self._folder, now)

    def _sync_once(self, path: str, before: frozenset[str] | None) -> None:
        status = os.stat(path)
        known = (path, status.st_ino, status.st_mtime_ns)
        if known not in self._synced:
            if before is not None and path not in before and _lost_a_write(path):
                go_back(self._folder)
                os.unlink(path)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
            sync(path)
            self._synced.add(known)


def note_durable(folder: Path, noted: Noted) -> None:
    """Note what is on the disk; nothing of a new library, before it has tables."""
    write_checked(folder / DURABLE_NAME, {"versions": noted.versions, "digests": noted.digests})


def _lost_a_write(path: str) -> bool:
    """Whether a data file has no end, or is not as long as that says. LanceDB may commit such a file: where its last
    write finds the disk full, the error is lost, and when there is room for the rest the version names a torn file."""
    if Path(path).parent.name != "data" or not path.endswith(".lance"):
        return False
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _FOOTER.size))
        footer = file.read()
    if len(footer) < _FOOTER.size:
        return True
    buffers_start, num_buffers, sign = _FOOTER.unpack(footer)
    return bool(sign != b"LANC" or size != buffers_start + _BYTES_OF_BUFFER * num_buffers + _FOOTER.size)


def go_back(folder: Path) -> None:
    """Leave of the tables what was on the disk for certain when the power failed. The caller holds the lock."""
    from wordframe.library._lineage import begin_lineage
    from wordframe.library._place import place_of
    from wordframe.library._store import connect

    noted = read_noted(folder)
    if noted is None:  # of a library that no writer of this format has touched
        return
    for table in (folder / "tables").glob("*.lance"):
        if table.stem not in noted.versions:
            shutil.rmtree(table)
            continue
        newer = [each for each in _manifests(table) if _version_of(each) > noted.versions[table.stem]]
        for manifest in newer:
            manifest.unlink()
        (table / "_versions" / HINT_NAME).unlink(missing_ok=True)
        if newer:
            with contextlib.suppress(OSError, RuntimeError, ValueError):  # a full disk, damage: told by who writes next
                begin_lineage(connect(place_of(folder)).open_table(table.stem))


def read_noted(folder: Path) -> Noted | None:
    """What is noted in a library's folder; None if nothing is, or the file is damaged."""
    values = read_checked(folder / DURABLE_NAME)
    if values is not None:
        return Noted(**values)
    try:  # before there were digests the versions stood alone
        versions = json.loads((folder / DURABLE_NAME).read_text(encoding="utf-8"))
        return Noted(versions) if all(isinstance(version, int) for version in versions.values()) else None
    except (OSError, ValueError, AttributeError, RecursionError):
        return None


def _manifests(table: Path) -> list[Path]:
    return [path for path in (table / "_versions").glob("*.manifest") if path.stem.isdecimal()]


def _version_of(manifest: Path) -> int:
    return _HIGHEST - int(manifest.stem)


def newest_version(table: Path) -> int:
    """The newest version of the table in a folder, by its files; 0 if it has none."""
    return max(map(_version_of, _manifests(table)), default=0)
