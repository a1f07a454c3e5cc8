"""Brings a library up to date with folders of videos.

Every commit holds whole videos, so a run that is killed at any moment loses at most the videos under way, and the
next run goes on from there. Decoding and encoding overlap (``wordframe.extraction``); the calling thread writes.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from wordframe.cores import usable_cores
from wordframe.encoders import Encoder
from wordframe.extraction import Chunk, Failure, extract
from wordframe.library._files import Findings, FoundFile, find_videos, is_below, vacated
from wordframe.library._plan import IndexPlan, make_plan
from wordframe.library._rows import SegmentEntry, VideoEntry, segment_rows
from wordframe.library._segmenting import segments_of_chunk
from wordframe.library._store import FailureEntry, Store
from wordframe.library.status import IndexProgress, IndexSummary
from wordframe.video import Frame, index_times, thumbnail

COMMIT_SECONDS = 5.0
THUMBNAIL_WIDTH = 256


@dataclass
class _Reading:
    """A video whose chunks are coming in."""

    chunks: dict[int, list[SegmentEntry]] = field(default_factory=dict)
    last: Chunk | None = None

    def is_whole(self) -> bool:
        return self.last is not None and len(self.chunks) == self.last.index + 1


class Indexer:
    """One run over some paths. The caller holds the library's lock."""

    def __init__(
        self,
        store: Store,
        encoder: Encoder,
        *,
        leave_out: Sequence[str] = (),
        every_frame: bool = False,
        sampling: str = "seconds",
        on_progress: Callable[[IndexProgress], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store, self._encoder = store, encoder
        self._leave_out, self._every_frame = leave_out, every_frame
        self._on_progress, self._should_stop = on_progress, should_stop
        self._summary = IndexSummary(sampling=sampling)
        self._known: dict[str, VideoEntry] = {}
        self._failures: dict[str, FailureEntry] = {}
        self._waiting: list[tuple[VideoEntry, list[SegmentEntry]]] = []
        self._last_commit = time.monotonic()
        self._files_done = self._bytes_done = 0
        self._sizes: dict[str, int] = {}
        self._notes: dict[str, str] = {}

    def run(
        self, paths: Sequence[str], *, prune: bool = False, force: bool = False, retry: bool = False
    ) -> IndexSummary:
        """Index everything below ``paths``, absolute; ``prune`` forgets videos there whose files are gone.

        Those of a folder that is empty now stay, as of a drive that is not mounted, unless ``force`` is given, too.

        When ``should_stop`` says so, the run ends in order: what is done is committed, the summary says interrupted.
        """
        started = time.monotonic()
        findings = find_videos(paths, leave_out=self._leave_out)
        self._summary.passed_over = dict(findings.passed_over.most_common())
        failed_before = {entry.path: entry for entry in self._store.failures()}
        self._know_each_path_once()
        plan = make_plan(findings.files, self._known, failed_before, retry=retry, should_stop=self._should_stop)
        self._summary.unchanged = [entry.path for entry in plan.unchanged]
        self._summary.known_failures = {entry.path: entry.reason for entry in plan.still_failed}
        if not self._should_stop():
            self._follow(plan)
            self._read(plan)
        if not self._should_stop():
            self._look_for_missing(paths, findings, prune=prune, force=force)
        self._write_failures(findings, plan, failed_before)
        self._summary.interrupted = self._should_stop()
        if not self._summary.interrupted:  # merging files may take a while, and the next run does it
            self._store.tidy()
        self._summary.seconds_taken = time.monotonic() - started
        return self._summary

    def _know_each_path_once(self) -> None:
        """A run killed between two commits of a swap may leave two videos under one path; one of them is forgotten."""
        doubled = []
        for entry in self._store.open_segments().videos():
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
        entry = replace(_at(source, file), video_id=there.video_id if there else _new_id())
        self._store.copy_video(source.video_id, entry, replaced=there is not None)
        self._known[file.path] = entry
        self._summary.copied.append(file.path)

    def _copy_twins(self, plan: IndexPlan) -> None:
        by_hash = {entry.content_hash: entry for entry in self._known.values()}
        for file in plan.twins:
            source = by_hash.get(plan.hashes[file.path])
            if source is not None:
                self._copy(source, file)
            else:
                self._fail(file, f"{file.path}: same content as another file that could not be read")

    # Reading videos --------------------------------------------------------------------------------------------------

    def _read(self, plan: IndexPlan) -> None:
        files = {file.path: file for file in plan.to_read}
        self._sizes = {path: file.size for path, file in files.items()}
        jobs = plan.jobs(threads=usable_cores() if len(files) == 1 else 1)
        readings: dict[str, _Reading] = {}
        results = extract(
            jobs,
            self._encoder,
            times=None if self._summary.sampling == "keyframes" else index_times,
            keep=small_picture,
            should_stop=self._should_stop,
            reuse=not self._every_frame,
        )
        try:
            with contextlib.closing(results):
                for result in results:
                    if isinstance(result, Failure):
                        readings.pop(result.key, None)  # what came of a video before its failure does not count
                        self._count(files[result.key])
                        self._fail(files[result.key], result.reason)
                    else:
                        reading = readings.setdefault(result.key, _Reading())
                        self._take_in(reading, result)
                        if reading.is_whole():
                            self._count(files[result.key])
                            self._finish(files[result.key], plan.hashes[result.key], readings.pop(result.key))
                    self._report(plan, result)
        finally:
            self._commit()  # whatever ends the run, the videos that are done are kept
        if not self._should_stop():
            self._copy_twins(plan)

    def _take_in(self, reading: _Reading, chunk: Chunk) -> None:
        reading.chunks[chunk.index] = segments_of_chunk(chunk, keyframes=self._summary.sampling == "keyframes")
        self._summary.frames += len(chunk.seconds)
        self._summary.frames_reused += chunk.num_reused
        if chunk.last:
            reading.last = chunk

    def _finish(self, file: FoundFile, digest: str, reading: _Reading) -> None:
        chunk = reading.last
        assert chunk is not None
        segments = [segment for index in sorted(reading.chunks) for segment in reading.chunks[index]]
        before = self._known.get(file.path)
        entry = VideoEntry(
            video_id=before.video_id if before else _new_id(),
            path=file.path,
            size=file.size,
            modified_ns=file.modified_ns,
            content_hash=digest,
            duration_seconds=segments[-1].end_seconds,
            width=chunk.info.width,
            height=chunk.info.height,
            codec=chunk.info.codec,
            container=chunk.info.container,
            problem=chunk.problem,
            num_segments=len(segments),
        )
        if chunk.note:
            self._notes[file.path] = chunk.note
        self._waiting.append((entry, segments))
        self._summary.seconds_of_video += entry.duration_seconds
        if time.monotonic() - self._last_commit > COMMIT_SECONDS:
            self._commit()

    def _commit(self) -> None:
        """Write the finished videos: new ones in one commit, changed ones in another."""
        waiting, self._waiting = self._waiting, []  # first: a commit that fails is not tried again on the way out
        new = [(e, s) for e, s in waiting if e.path not in self._known]
        changed = [(e, s) for e, s in waiting if e.path in self._known]
        if new:
            self._store.add([row for entry, segments in new for row in segment_rows(entry, segments)])
        if changed:
            rows = [row for entry, segments in changed for row in segment_rows(entry, segments)]
            self._store.replace([entry.video_id for entry, _ in changed], rows)
        for entry, _ in waiting:
            self._known[entry.path] = entry
            self._summary.indexed.append(entry.path)
            if entry.problem:
                self._summary.partly[entry.path] = entry.problem
            if entry.path in self._notes:
                self._summary.noted[entry.path] = self._notes.pop(entry.path)
        self._last_commit = time.monotonic()

    def _fail(self, file: FoundFile, reason: str) -> None:
        self._failures[file.path] = FailureEntry(file.path, file.size, file.modified_ns, reason)
        stale = self._known.pop(file.path, None)
        if stale is not None:  # its moments belong to a content that is no longer there
            self._store.delete([stale.video_id])

    def _report(self, plan: IndexPlan, result: Chunk | Failure) -> None:
        if self._on_progress is None:
            return
        under_way = 0
        if isinstance(result, Chunk) and not result.last and result.info.duration_seconds:
            share = min(1.0, float(result.seconds[-1]) / result.info.duration_seconds)
            under_way = int(share * self._sizes[result.key])
        self._on_progress(
            IndexProgress(
                files_done=self._files_done + plan.settled_files,
                files_total=len(plan.to_read),
                bytes_done=self._bytes_done + plan.settled_bytes + under_way,
                bytes_total=sum(self._sizes.values()),
                frames=self._summary.frames,
                seconds_of_video=self._summary.seconds_of_video,
                failed=self._summary.known_failures | {p: entry.reason for p, entry in self._failures.items()},
            )
        )

    def _count(self, file: FoundFile) -> None:
        self._files_done += 1
        self._bytes_done += file.size

    # What is no longer there -----------------------------------------------------------------------------------------

    def _look_for_missing(self, roots: Sequence[str], findings: Findings, *, prune: bool, force: bool) -> None:
        """A video is gone if it lies below a given path that could be read, and was not met there."""
        met = {file.path for file in findings.files}
        unknown = [place for place in findings.unreadable if not force or os.path.lexists(place)]
        gone = []
        for path in self._known:
            root = next((root for root in roots if is_below(path, root)), None)
            if root is None or path in met or os.path.exists(path) or any(is_below(path, place) for place in unknown):
                continue
            if not force and (place := vacated(path, root)) is not None:
                self._summary.away.setdefault(place, []).append(path)
            else:
                gone.append(path)
        if prune:
            self._store.delete([self._known.pop(path).video_id for path in gone])
        (self._summary.pruned if prune else self._summary.missing).extend(gone)

    def _write_failures(self, findings: Findings, plan: IndexPlan, before: dict[str, FailureEntry]) -> None:
        """Remember this run's failures, and those elsewhere whose files are still there."""
        self._failures |= {failure.path: failure for failure in plan.unreadable}
        known = {failure.path: failure for failure in plan.still_failed}
        self._summary.failed = {path: entry.reason for path, entry in self._failures.items()} | {
            path: f"{path}: {reason}" for path, reason in findings.unreadable.items()
        }
        looked_at = {file.path for file in findings.files}
        elsewhere = {p: e for p, e in before.items() if p not in looked_at and os.path.exists(p)}
        kept = elsewhere | known | self._failures
        if kept != before:
            self._store.set_failures(list(kept.values()))


def _new_id() -> str:
    return uuid.uuid4().hex[:12]


def _at(entry: VideoEntry, file: FoundFile) -> VideoEntry:
    """The same video in another file."""
    return replace(entry, path=file.path, size=file.size, modified_ns=file.modified_ns)


def small_picture(frame: Frame) -> bytes:
    """The thumbnail that the library keeps of a frame."""
    return thumbnail(frame.rgb, width=THUMBNAIL_WIDTH)
