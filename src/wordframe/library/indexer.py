"""Brings a library up to date with folders of videos.

Every commit holds whole videos, so a run that is killed at any moment loses at most the videos under way, and the
next run goes on from there. An executor reads the videos, here or on other machines (``_executor.py``); the calling
thread plans, writes and tells how far it is.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from wordframe.addresses import is_address
from wordframe.cores import usable_cores
from wordframe.disk import short_hash
from wordframe.encoders import Encoder
from wordframe.errors import LibraryError
from wordframe.library._executor import Executor, LocalExecutor
from wordframe.library._files import Findings, FoundFile, find_videos, is_below, vacated
from wordframe.library._objects import is_there
from wordframe.library._plan import IndexPlan, make_plan, unseen
from wordframe.library._reading import Done, Event, Failed, ReadVideo, Settings, Twin, UnderWay, VideoJob
from wordframe.library._rows import VideoEntry
from wordframe.library._sampling import DEFAULT_SAMPLING, Sampling
from wordframe.library._store import FailureEntry, Store
from wordframe.library.status import IndexProgress, IndexSummary
from wordframe.object_storage import options_of_environment

COMMIT_SECONDS = 5.0
_FOR_LARGE = (
    "the library is large, and every search holds its codes in memory; for an index on disk install pylance "
    "(pip install pylance) and run this again"
)


class Indexer:
    """One run over some paths. The caller holds the library's lock."""

    def __init__(
        self,
        store: Store,
        encoder: Encoder,
        *,
        leave_out: Sequence[str] = (),
        sampling: Sampling = DEFAULT_SAMPLING,
        on_progress: Callable[[IndexProgress], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        executor: Executor | None = None,
    ) -> None:
        self._store, self._leave_out = store, leave_out
        self._settings = Settings(encoder, sampling.sampling, sampling.every_frame)
        self._executor = executor or LocalExecutor()
        self._on_progress, self._should_stop = on_progress, should_stop
        self._summary = IndexSummary(sampling=sampling.sampling)
        self._known: dict[str, VideoEntry] = {}
        self._ids: set[str] = set()
        self._files: dict[str, FoundFile] = {}
        self._failed_before: dict[str, FailureEntry] = {}
        self._failures: dict[str, FailureEntry] = {}
        self._waiting: list[Done] = []
        self._under_way: dict[str, UnderWay] = {}
        self._twins: list[Twin] = []
        self._last_commit = time.monotonic()
        self._bytes_done = self._bytes_total = self._files_done = 0

    def run(
        self, paths: Sequence[str], *, prune: bool = False, force: bool = False, retry: bool = False
    ) -> IndexSummary:
        """Index everything below ``paths``, absolute; ``prune`` forgets videos there whose files are gone.

        Those of a folder that is empty, and of a given one without any video, stay, as of a drive that is not
        mounted, unless ``force`` is given, too.

        When ``should_stop`` says so, the run ends in order: what is done is committed, the summary says interrupted.
        """
        started = time.monotonic()
        if any(map(is_address, paths)):
            self._settings = replace(self._settings, storage_options=options_of_environment(LibraryError))
        findings = find_videos(paths, leave_out=self._leave_out)
        self._summary.passed_over = dict(findings.passed_over.most_common())
        self._failed_before = {entry.path: entry for entry in self._store.failures()}
        self._know_each_path_once()
        plan = make_plan(
            findings.files,
            self._known,
            self._failed_before,
            retry=retry,
            should_stop=self._should_stop,
            is_there=lambda path: _is_left(path, findings),
        )
        self._summary.unchanged = [entry.path for entry in plan.unchanged]
        self._summary.known_failures = {entry.path: entry.reason for entry in plan.still_failed}
        if not self._should_stop():
            self._follow(plan)
            self._read(plan)
        if not self._should_stop():
            self._look_for_missing(paths, findings, prune=prune, force=force)
        self._write_failures(findings, plan)
        self._summary.interrupted = self._should_stop()
        if not self._summary.interrupted:  # merging files may take a while, and the next run does it
            self._store.tidy(make_parts=self._executor.make_index)
            if self._store.lacks_index():
                self._summary.advice.append(_FOR_LARGE)
        self._summary.seconds_taken = time.monotonic() - started
        return self._summary

    def _know_each_path_once(self) -> None:
        """A run killed between two commits of a swap may leave two videos under one path; one of them is forgotten."""
        doubled = []
        for entry in self._store.open_segments().videos():
            self._ids.add(entry.video_id)
            if self._known.setdefault(entry.path, entry) is not entry:
                doubled.append(entry.video_id)
        self._store.delete(doubled)

    # Contents that are known -----------------------------------------------------------------------------------------

    def _follow(self, plan: IndexPlan) -> None:
        """Write moves, then copies, before any row is replaced."""
        leaving = {entry.path for entry, _ in plan.moves}
        overwritten = [
            self._known[file.path].video_id
            for entry, file in plan.moves
            if file.path in self._known and file.path not in leaving
        ]
        self._store.delete(overwritten)
        self._store.move({entry.video_id: (file.path, file.size, file.modified_ns) for entry, file in plan.moves})
        for entry, _ in plan.moves:
            self._known.pop(entry.path, None)
        for entry, file in plan.moves:
            self._known[file.path] = _at(entry, file)
            (self._summary.unchanged if file.path == entry.path else self._summary.moved).append(file.path)
        for entry, file in plan.copies:
            self._copy(entry, file)

    def _copy(self, source: VideoEntry, file: FoundFile) -> None:
        there = self._known.get(file.path)
        entry = replace(_at(source, file), video_id=self._id_of(file.path))
        self._store.copy_video(source.video_id, entry, replaced=there is not None)
        self._known[file.path] = entry
        self._summary.copied.append(file.path)

    def _copy_twins(self) -> None:
        by_hash = {entry.content_hash: entry for entry in self._known.values()}
        for twin in self._twins:
            source = by_hash.get(twin.digest)
            if source is not None:
                self._copy(source, self._files[twin.path])
            else:
                self._fail(Failed(twin.path, f"{twin.path}: same content as another file that could not be read"))

    def _id_of(self, path: str) -> str:
        """The id of the video at a path: the one it has, else one that is made from the path.

        So two writers who meet the same new file give it the same id, and the second finds it there. An id stays with
        its content when that moves: where the path's own one is taken by a video that once lay here, the next is made.
        """
        if path in self._known:
            return self._known[path].video_id
        made = (_made_id(path, again) for again in itertools.count())
        video_id = next(each for each in made if each not in self._ids)
        self._ids.add(video_id)
        return video_id

    # Reading videos --------------------------------------------------------------------------------------------------

    def _read(self, plan: IndexPlan) -> None:
        self._files = {file.path: file for file in plan.to_read}
        self._bytes_total = sum(file.size for file in plan.to_read)
        threads = usable_cores() if len(self._files) == 1 else 1
        jobs = [VideoJob(file, self._id_of(file.path), plan.hashes.get(file.path), threads) for file in plan.to_read]
        try:
            if jobs and self._executor.writes_fragments:
                self._store.drop_unfinished(self._store.segments_place())
            if jobs:
                events = self._executor.read(jobs, self._settings, self._store.segments_place(), self._should_stop)
                with contextlib.closing(events):
                    for event in events:
                        self._take_in(event)
                        self._report()
                        if time.monotonic() - self._last_commit > COMMIT_SECONDS:
                            self._commit()
        finally:
            self._commit()  # whatever ends the run, the videos that are done are kept
        if not self._should_stop():
            self._copy_twins()

    def _take_in(self, event: Event) -> None:
        match event:
            case UnderWay():
                self._under_way[event.path] = event
            case Done():
                self._waiting.append(event)
                for video in event.videos:
                    self._under_way.pop(video.entry.path, None)
                    self._count(video.entry.path, video.frames, video.frames_reused)
                    self._summary.seconds_of_video += video.entry.duration_seconds
            case Failed():
                part = self._under_way.pop(event.path, None)
                self._count(event.path, part.frames if part else 0, part.frames_reused if part else 0)
                self._fail(event)
            case Twin():
                self._count(event.path, 0, 0)
                self._twins.append(event)

    def _count(self, path: str, frames: int, frames_reused: int) -> None:
        self._files_done += 1
        self._bytes_done += self._files[path].size
        self._summary.frames += frames
        self._summary.frames_reused += frames_reused

    def _commit(self) -> None:
        """Write the finished videos, and what failed since the last time."""
        self._last_commit = time.monotonic()
        waiting, self._waiting = self._waiting, []  # first: a commit that fails is not tried again on the way out
        fragments = [fragment for done in waiting for fragment in done.fragments]
        here = [done for done in waiting if done.rows]
        new = [done for done in here if done.videos[0].entry.path not in self._known]
        changed = [done for done in here if done.videos[0].entry.path in self._known]
        if new:
            self._store.add([row for done in new for row in done.rows])
        if changed:
            rows = [row for done in changed for row in done.rows]
            self._store.replace([video.entry.video_id for done in changed for video in done.videos], rows)
        if fragments:
            apart = [video.entry for done in waiting if done.fragments for video in done.videos]
            replaced = [entry.video_id for entry in apart if entry.path in self._known]
            self._store.add_fragments(fragments, replaced=replaced)
        for done in waiting:
            for video in done.videos:
                self._know(video)
        failed = self._failed_before | self._failures
        if failed != self._failed_before:
            self._failed_before = failed
            self._store.set_failures(list(failed.values()))
        self._last_commit = time.monotonic()

    def _know(self, video: ReadVideo) -> None:
        entry = video.entry
        self._known[entry.path] = entry
        self._failed_before.pop(entry.path, None)  # its line goes with the next that are written
        self._summary.indexed.append(entry.path)
        if entry.problem:
            self._summary.partly[entry.path] = entry.problem
        if video.note:
            self._summary.noted[entry.path] = video.note

    def _fail(self, failed: Failed) -> None:
        file = self._files[failed.path]
        seen = FailureEntry(file.path, file.size, file.modified_ns, failed.reason)
        self._failures[file.path] = unseen(file, failed.reason) if failed.is_unseen else seen
        stale = None if failed.is_unseen else self._known.pop(file.path, None)
        if stale is not None:  # its moments belong to a content that is no longer there
            self._store.delete([stale.video_id])

    def _report(self) -> None:
        if self._on_progress is None:
            return
        parts = self._under_way.values()
        self._on_progress(
            IndexProgress(
                files_done=self._files_done,
                files_total=len(self._files),
                bytes_done=self._bytes_done + sum(int(part.share * self._files[part.path].size) for part in parts),
                bytes_total=self._bytes_total,
                frames=self._summary.frames + sum(part.frames for part in parts),
                seconds_of_video=self._summary.seconds_of_video,
                failed=self._summary.known_failures | {p: entry.reason for p, entry in self._failures.items()},
            )
        )

    # What is no longer there -----------------------------------------------------------------------------------------

    def _look_for_missing(self, roots: Sequence[str], findings: Findings, *, prune: bool, force: bool) -> None:
        """A video is gone if it lies below a given path that could be read, and was not met there."""
        met = {file.path for file in findings.files}
        unknown = [place for place in findings.unreadable if not force or _is_unknown(place, findings)]
        bare = {root for root in roots if os.path.isdir(root) and not any(is_below(path, root) for path in met)}
        gone = []
        for path in self._known:
            root = next((root for root in roots if is_below(path, root)), None)
            if (
                root is None
                or path in met
                or findings.is_there(path)
                or any(is_below(path, place) for place in unknown)
            ):
                continue
            place = vacated(path, root) or (root if root in bare else None)
            if place is not None and not force:
                self._summary.away.setdefault(place, []).append(path)
            else:
                gone.append(path)
        if prune:
            self._store.delete([self._known.pop(path).video_id for path in gone])
        (self._summary.pruned if prune else self._summary.missing).extend(gone)

    def _write_failures(self, findings: Findings, plan: IndexPlan) -> None:
        """Remember this run's failures, and those elsewhere whose files are still there."""
        self._failures |= {failure.path: failure for failure in plan.unreadable}
        known = {failure.path: failure for failure in plan.still_failed}
        self._summary.failed = {path: entry.reason for path, entry in self._failures.items()} | {
            path: f"{path}: {reason}" for path, reason in findings.unreadable.items()
        }
        looked_at = {file.path for file in findings.files}
        elsewhere = {p: e for p, e in self._failed_before.items() if p not in looked_at and findings.is_there(p)}
        kept = elsewhere | known | self._failures
        if kept != {entry.path: entry for entry in self._store.failures()}:
            self._store.set_failures(list(kept.values()))


def _made_id(path: str, again: int) -> str:
    return short_hash(os.fsencode(path).hex(), again)[:12]


def _is_left(path: str, findings: Findings) -> bool:
    """Whether a known file is still where it was; a store is asked for what its listing does not tell."""
    if not is_address(path):
        return os.path.lexists(path)
    if path in findings.seen or not findings.is_there(path):
        return path in findings.seen
    try:
        return is_there(path)
    except LibraryError:  # a copy of its rows is right in any case
        return True


def _is_unknown(place: str, findings: Findings) -> bool:
    """Whether a place that could not be looked into may hold something."""
    return findings.is_there(place) if is_address(place) else os.path.lexists(place)


def _at(entry: VideoEntry, file: FoundFile) -> VideoEntry:
    """The same video in another file."""
    return replace(entry, path=file.path, size=file.size, modified_ns=file.modified_ns)
