"""Decides what an indexing run has to do with each file: nothing, follow a move, copy rows, or read it.

An unchanged file costs a stat. A file is hashed before anything is written only if a known video has its size, since
only then can its content be known; so contents that swapped names, or moved away from a name that now holds something
else, are recognised before their rows are replaced. The plan only decides; the indexer writes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from wordframe.disk import content_hash
from wordframe.extraction import Job
from wordframe.library._files import FoundFile
from wordframe.library._rows import VideoEntry
from wordframe.library._store import FailureEntry


@dataclass
class IndexPlan:
    """What became of each found file.

    moves: the library has this content, and its old file is gone or now holds something else (or was only touched);
    copies: the library has this content under another file that is still there; twins: same content as a file that is
    read in this run; to_read: must be decoded. settled_files, settled_bytes: of ``to_read``, done without decoding.
    """

    unchanged: list[VideoEntry] = field(default_factory=list)
    still_failed: list[FailureEntry] = field(default_factory=list)
    moves: list[tuple[VideoEntry, FoundFile]] = field(default_factory=list)
    copies: list[tuple[VideoEntry, FoundFile]] = field(default_factory=list)
    twins: list[FoundFile] = field(default_factory=list)
    unreadable: list[FailureEntry] = field(default_factory=list)
    to_read: list[FoundFile] = field(default_factory=list)
    hashes: dict[str, str] = field(default_factory=dict)
    settled_files: int = 0
    settled_bytes: int = 0

    def jobs(self, *, threads: int) -> Iterator[Job]:
        """The files to decode, one by one. Hashes each just before, so that the disk reads it once."""
        under_way: set[str] = set()
        for file in self.to_read:
            digest = self.hash(file)
            if digest is not None and digest not in under_way:
                under_way.add(digest)
                yield Job(file.path, file.path, threads)
                continue
            if digest is not None:
                self.twins.append(file)
            self.settled_files += 1
            self.settled_bytes += file.size

    def hash(self, file: FoundFile) -> str | None:
        """The file's content hash; None, and noted, if it cannot be read."""
        if file.path not in self.hashes:
            try:
                self.hashes[file.path] = content_hash(file.path, "blake2b")
            except OSError as error:
                reason = f"{file.path}: cannot be read ({(error.strerror or 'input error').lower()})"
                self.unreadable.append(FailureEntry(file.path, file.size, file.modified_ns, reason))
                return None
        return self.hashes[file.path]


def make_plan(
    files: Iterable[FoundFile],
    known: Mapping[str, VideoEntry],
    failed: Mapping[str, FailureEntry],
    *,
    retry: bool,
    should_stop: Callable[[], bool],
) -> IndexPlan:
    """Sort ``files`` by what the library says of them: ``known`` and ``failed``, by path."""
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
    for file in look_at:
        if file.size in sizes and not should_stop():
            plan.hash(file)
    _recognise(plan, look_at, known)
    return plan


def _recognise(plan: IndexPlan, look_at: list[FoundFile], known: Mapping[str, VideoEntry]) -> None:
    """Fill ``moves``, ``copies`` and ``to_read``."""
    changed = {file.path for file in look_at}
    free: dict[str, list[VideoEntry]] = {}  # by hash: videos whose file is gone or holds something else
    standing: dict[str, VideoEntry] = {}
    for path, entry in known.items():
        if path in changed and plan.hashes.get(path) == entry.content_hash:
            continue  # touched only; dealt with below
        if path in changed or not os.path.lexists(path):
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


def _is_same(entry: VideoEntry | FailureEntry, file: FoundFile) -> bool:
    return entry.size == file.size and entry.modified_ns == file.modified_ns
