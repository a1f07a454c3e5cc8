"""``wordframe doctor --verify``: is each file of a library what was once written, and what is lost where it is not?

Tables are compared with the digests that were noted when their files were new (``_durable.py``), small files with their
copies or by their own check (``_copies.py``). What damage costs is asked of a copy made of links to the files that are
whole, so that looking changes nothing and opens nothing that is damaged. Mending then does the same to the library
itself: whole videos are kept, and the others are as new to the next ``wordframe index``.
Neighbours: ``_rescue.py`` is the work on one table.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from wordframe.disk import write_whole
from wordframe.errors import LibraryError
from wordframe.library._copies import COPIES_NAME, copy_missing, read_copies
from wordframe.library._durable import (
    DURABLE_NAME,
    HINT_NAME,
    Noted,
    file_digest,
    newest_version,
    note_durable,
    read_noted,
)
from wordframe.library._local import LocalFolder
from wordframe.library._manifest import MANIFEST_NAME, Manifest
from wordframe.library._paths_left import paths_left
from wordframe.library._place import local_folder
from wordframe.library._rescue import Loss, rescue
from wordframe.library._segment_table import SEGMENTS, groups_clause, library_errors
from wordframe.library._store import Store
from wordframe.library._swap import finish
from wordframe.library._writing import COPIED_NAMES, writing

_CHANGED, _GONE = "its content has changed", "it is gone"
_NO_COPY = "damaged, and there is no copy of it; restore it from a backup, or index into a new folder"
_TABLES = "tables/"


@dataclass(frozen=True)
class Damage:
    """A file that is not as it was written. ``path``: below the library's folder, with slashes."""

    path: str
    problem: str


@dataclass
class Verification:
    """What was found.

    Attributes:
        files, bytes: how much was compared.
        is_noted: False for a library that does not know what its files held; the next index run notes it.
        not_noted: files that a run left which was killed before it noted them.
        damaged: files that are not as they were written.
        tables_lost: tables that nothing is left of; they are made anew.
        went_back: what was written last is lost, so that what was indexed then is as new.
        segments_lost: how many lay in damaged files.
        videos: paths of videos that have to be indexed again for that, as far as they can still be read.
        mended: the damage is mended, but for indexing again.
    """

    files: int = 0
    bytes: int = 0
    is_noted: bool = True
    not_noted: int = 0
    damaged: list[Damage] = field(default_factory=list)
    tables_lost: list[str] = field(default_factory=list)
    went_back: bool = False
    segments_lost: int = 0
    videos: list[str] = field(default_factory=list)
    mended: bool = False

    @property
    def is_in_order(self) -> bool:
        """Whether every file is as it was written, or the library as whole as it can be without indexing."""
        return self.mended or (self.is_noted and not self.damaged)


def verify(
    folder: str | Path, *, mend: bool = False, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> Verification:
    """Read every file of a library, and compare it with what was written.

    Args:
        mend: keep what is whole, and bring the library into order; lost videos are indexed by the next index run.
        on_progress: called with the bytes that were read and their total, first with 0.

    Raises:
        LibraryError: there is no library, it is being written, or it cannot be read or mended.
    """
    folder = local_folder(
        folder, "the object store itself checks what it holds; doctor --verify is for a library in a folder"
    )
    finish(folder)
    if not any((folder / name).exists() for name in (MANIFEST_NAME, COPIES_NAME)):
        raise LibraryError(f"{folder}: no library here, so there is nothing to verify")
    with _undisturbed(folder, mend), library_errors(LocalFolder(folder), "mend" if mend else "verify"):
        noted = read_noted(folder)
        found = Verification(is_noted=noted is not None and bool(noted.digests))
        _compare_small_files(folder, noted, found)
        _compare_tables(folder, noted or Noted(), found, on_progress)
        _ask_what_is_lost(folder, noted or Noted(), found)
        if mend:
            _mend(folder, noted, found)
    return found


def _undisturbed(folder: Path, mend: bool) -> contextlib.AbstractContextManager[None]:
    """Where nobody can write, as on a disk that is mounted to be read only, there is nobody to be kept out."""
    return writing(folder) if mend or os.access(folder, os.W_OK) else contextlib.nullcontext()


# Comparing -----------------------------------------------------------------------------------------------------------


def _compare_small_files(folder: Path, noted: Noted | None, found: Verification) -> None:
    copies = read_copies(folder)
    if copies is None and (folder / COPIES_NAME).exists():
        found.damaged.append(Damage(COPIES_NAME, _CHANGED))
    if noted is None and (folder / DURABLE_NAME).exists():
        found.damaged.append(Damage(DURABLE_NAME, _CHANGED))
    for name, text in (copies or {}).items():
        problem = _problem(folder / name, Path.read_bytes, text.encode("ascii"))
        if problem:
            found.damaged.append(Damage(name, problem))
    if MANIFEST_NAME not in (copies or {}) and not _is_manifest(folder):
        found.damaged.append(Damage(MANIFEST_NAME, _NO_COPY))


def _is_manifest(folder: Path) -> bool:
    try:
        return Manifest.read(LocalFolder(folder)) is not None
    except LibraryError:
        return False


def _compare_tables(folder: Path, noted: Noted, found: Verification, on_progress: Callable[[int, int], None]) -> None:
    tables = folder / "tables"
    sizes = {path.relative_to(tables).as_posix(): path.stat().st_size for path in tables.rglob("*") if path.is_file()}
    total, done = sum(size for name, size in sizes.items() if name in noted.digests), 0
    on_progress(0, total)
    for name, digest in sorted(noted.digests.items()):
        problem = _problem(tables / name, file_digest, digest)
        if problem:
            found.damaged.append(Damage(_TABLES + name, problem))
        done += sizes.get(name, 0)
        on_progress(done, total)
    for table in sorted(tables.glob("*.lance")):
        if not _is_right_hint(table, noted.versions.get(table.stem, 0)):
            found.damaged.append(Damage((table / "_versions" / HINT_NAME).relative_to(folder).as_posix(), _CHANGED))
    found.files, found.bytes = len(noted.digests), total
    found.not_noted = sum(name not in noted.digests and not name.endswith(HINT_NAME) for name in sizes)


def _problem(path: Path, read: Callable[[Path], object], expected: object) -> str:
    """What is wrong with a file; empty if nothing is."""
    try:
        return "" if read(path) == expected else _CHANGED
    except FileNotFoundError:
        return _GONE
    except OSError as error:
        return f"it cannot be read ({(error.strerror or str(error)).lower()})"


def _is_right_hint(table: Path, noted: int) -> bool:
    """It names the newest version; after a run that was killed, maybe the one before."""
    try:
        hint = (table / "_versions" / HINT_NAME).read_bytes()
    except OSError:
        return True
    return hint in {
        json.dumps({"version": version}, separators=(",", ":")).encode() for version in (noted, newest_version(table))
    }


# What is lost --------------------------------------------------------------------------------------------------------


def _by_table(found: Verification) -> dict[str, set[str]]:
    """Damaged files of each table, by their paths below its folder."""
    names: dict[str, set[str]] = {}
    for damage in found.damaged:
        if damage.path.startswith(_TABLES):
            _, table, name = damage.path.split("/", 2)
            names.setdefault(table.removesuffix(".lance"), set()).add(name)
    return names


def _ask_what_is_lost(folder: Path, noted: Noted, found: Verification) -> None:
    for table, names in _by_table(found).items():
        with _links(folder, table, names) as copy:
            loss = rescue(copy, table, names, noted.versions.get(table, 0))
        _note_loss(folder, table, loss, found)
        if not loss:  # a tidying that was killed had removed them
            place = f"{_TABLES}{table}.lance/"
            found.damaged = [d for d in found.damaged if not (d.path.startswith(place) and d.problem == _GONE)]


def _note_loss(folder: Path, table: str, loss: Loss, found: Verification) -> None:
    if loss.whole:
        found.tables_lost.append(table)
    if table == SEGMENTS:
        found.went_back, found.segments_lost = loss.is_older, loss.rows
        found.videos = sorted(
            {video.path for video in loss.videos} | paths_left(folder, [groups_clause([g]) for g in loss.groups])
        )


@contextlib.contextmanager
def _links(folder: Path, table: str, left_out: set[str]) -> Iterator[Path]:
    """A library of one table, made of links to all of its files but some."""
    source = folder / "tables" / f"{table}.lance"
    with tempfile.TemporaryDirectory(prefix="wordframe-") as name:
        place = Path(name, "tables", source.name)
        place.mkdir(parents=True)
        for path in source.rglob("*"):
            inner = path.relative_to(source)
            if path.is_file() and inner.as_posix() not in left_out:
                (place / inner).parent.mkdir(parents=True, exist_ok=True)
                (place / inner).symlink_to(path)
        yield Path(name)


# Mending -------------------------------------------------------------------------------------------------------------


def _mend(folder: Path, noted: Noted | None, found: Verification) -> None:
    if any(damage.problem == _NO_COPY for damage in found.damaged):
        return
    _put_back_small_files(folder, found)
    damaged = {damage.path for damage in found.damaged}
    for path in damaged:
        if path.startswith(_TABLES):
            (folder / path).unlink(missing_ok=True)
    known = noted or Noted()
    digests = {name: digest for name, digest in known.digests.items() if _TABLES + name not in damaged}
    # Before anything is written: a name that is used again must not keep the old digest.
    note_durable(folder, Noted(known.versions, digests))
    if noted is None or not noted.digests:  # nothing says what the files held, so they are read
        tables = {path.stem: set[str]() for path in (folder / "tables").glob("*.lance")}
    else:
        tables = _by_table(found)
    for table, names in tables.items():
        loss = rescue(folder, table, names, known.versions.get(table, 0), read_all=not known.digests)
        if not known.digests:
            _note_loss(folder, table, loss, found)
        if loss.whole:
            digests = {name: digest for name, digest in digests.items() if not name.startswith(f"{table}.lance/")}
    note_durable(folder, Noted(known.versions, digests))
    with Store(LocalFolder(folder)).commit():  # makes the tables that are gone, and notes what is there now
        pass
    found.mended = True


def _put_back_small_files(folder: Path, found: Verification) -> None:
    copies = read_copies(folder)
    if copies is None:
        (folder / COPIES_NAME).unlink(missing_ok=True)
        copy_missing(folder, COPIED_NAMES)
        return
    for damage in found.damaged:
        if damage.path in copies:
            write_whole(folder / damage.path, copies[damage.path])
