"""Decides what an indexing run has to do with each file: nothing, follow a move, copy rows, or read it.

An unchanged file costs a stat. A file is hashed before anything is written only if a known video has its size, since
only then can its content be known; so contents that swapped names, or moved away from a name that now holds something
else, are recognised before their rows are replaced. The plan only decides; the indexer writes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from wordframe.addresses import is_address
from wordframe.cores import usable_cores
from wordframe.errors import LibraryError
from wordframe.library._files import FoundFile
from wordframe.library._objects import hash_of
from wordframe.library._reading import unreadable_line
from wordframe.library._rows import VideoEntry
from wordframe.library._store import FailureEntry


@dataclass
class IndexPlan:
    """What became of each found file.

    moves: the library has this content, and its old file is gone or now holds something else (or was only touched);
    copies: the library has this content under another file that is still there; to_read: must be decoded. hashes: of
    the files whose content could be known.
    """

    unchanged: list[VideoEntry] = field(default_factory=list)
    still_failed: list[FailureEntry] = field(default_factory=list)
    moves: list[tuple[VideoEntry, FoundFile]] = field(default_factory=list)
    copies: list[tuple[VideoEntry, FoundFile]] = field(default_factory=list)
    unreadable: list[FailureEntry] = field(default_factory=list)
    to_read: list[FoundFile] = field(default_factory=list)
    hashes: dict[str, str] = field(default_factory=dict)

    def hash(self, files: Sequence[FoundFile], should_stop: Callable[[], bool]) -> None:
        """Hash some files, as many at a time as there are cores; note those that cannot be read."""

        def digest(file: FoundFile) -> str | OSError | LibraryError | None:
            try:
                return None if should_stop() else hash_of(file.path)
            except (OSError, LibraryError) as error:
                return error

        with ThreadPoolExecutor(usable_cores()) as pool:
            for file, found in zip(files, pool.map(digest, files), strict=True):
                if isinstance(found, (OSError, LibraryError)):
                    self.unreadable.append(unseen(file, unreadable_line(file.path, found)))
                elif found is not None:
                    self.hashes[file.path] = found


def make_plan(
    files: Iterable[FoundFile],
    known: Mapping[str, VideoEntry],
    failed: Mapping[str, FailureEntry],
    *,
    retry: bool,
    should_stop: Callable[[], bool],
    is_there: Callable[[str], bool] = os.path.lexists,
) -> IndexPlan:
    """Sort ``files`` by what the library says of them: ``known`` and ``failed``, by path.

    Args:
        is_there: whether a known file is still where it was.
    """
    plan = IndexPlan()
    look_at: list[FoundFile] = []
    for file in files:
        entry, failure = known.get(file.path), failed.get(file.path)
        if entry is not None and _is_same(entry, file):
            plan.unchanged.append(entry)
        elif failure is not None and _is_same(failure, file) and not retry:
            plan.still_failed.append(failure)
        else:
            look_at.append(file)
    sizes = {entry.size for entry in known.values()}
    plan.hash([file for file in look_at if file.size in sizes], should_stop)
    _recognise(plan, look_at, known, is_there)
    return plan


def _recognise(
    plan: IndexPlan, look_at: list[FoundFile], known: Mapping[str, VideoEntry], is_there: Callable[[str], bool]
) -> None:
    """Fill ``moves``, ``copies`` and ``to_read``."""
    changed = {file.path for file in look_at}
    contents = set(plan.hashes.values())
    free: dict[str, list[VideoEntry]] = {}  # by hash: videos whose file is gone or holds something else
    standing: dict[str, VideoEntry] = {}
    for path, entry in known.items():
        if entry.content_hash not in contents:  # nothing to be recognised; a store is not asked for it
            continue
        if path in changed and plan.hashes.get(path) == entry.content_hash:
            continue  # touched only; dealt with below
        if path in changed or not is_there(path):
            free.setdefault(entry.content_hash, []).append(entry)
        else:
            standing[entry.content_hash] = entry
    unreadable = {failure.path for failure in plan.unreadable}
    for file in look_at:
        digest, own = plan.hashes.get(file.path), known.get(file.path)
        if file.path in unreadable:
            continue
        if digest is not None and own is not None and own.content_hash == digest:
            plan.moves.append((own, file))
            standing.setdefault(digest, own)
        elif digest is not None and free.get(digest):
            entry = free[digest].pop()
            plan.moves.append((entry, file))
            standing.setdefault(digest, entry)
        elif digest is not None and digest in standing:
            plan.copies.append((standing[digest], file))
        else:
            plan.to_read.append(file)


def unseen(file: FoundFile, reason: str) -> FailureEntry:
    """The failure of a file of which not a byte could be looked at.

    That of an object is the store's or the network's, and passes by itself: it is remembered as of no time that a file
    has, so that the next run tries it again.
    """
    return FailureEntry(file.path, file.size, -1 if is_address(file.path) else file.modified_ns, reason)


def _is_same(entry: VideoEntry | FailureEntry, file: FoundFile) -> bool:
    return entry.size == file.size and entry.modified_ns == file.modified_ns
