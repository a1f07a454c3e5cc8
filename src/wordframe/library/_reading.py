"""Reads videos into the rows that the library stores: hashed, decoded, encoded and cut in one process.

Whoever runs it (``_executor.py``) gives the files and the process's share of cores; what comes out is the same on every
machine. Nothing here writes to the library.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wordframe.disk import content_hash, one_line
from wordframe.encoders import Encoder
from wordframe.errors import LibraryError, VideoError
from wordframe.extraction import Chunk, Failure, Job, extract
from wordframe.library._files import FoundFile
from wordframe.library._objects import StoppedError, local_copy
from wordframe.library._rows import SegmentEntry, VideoEntry, segment_rows
from wordframe.library._segmenting import segments_of_chunk
from wordframe.video import Frame, index_times, thumbnail

THUMBNAIL_WIDTH = 256


@dataclass(frozen=True)
class VideoJob:
    """A file to read. digest: its content hash, where the plan needed it already; threads: the decoder's."""

    file: FoundFile
    video_id: str
    digest: str | None = None
    threads: int = 1

    @property
    def key(self) -> str:
        """Its path."""
        return self.file.path


@dataclass(frozen=True)
class Settings:
    """How all videos of a run are read. Travels to other machines, so the encoder must be one that can be pickled.

    storage_options: of the store of videos that lie on one, beside what a machine's own environment says.
    """

    encoder: Encoder
    sampling: str = "seconds"
    every_frame: bool = False
    storage_options: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class UnderWay:
    """A video of which a part has been read: so many frames, ``frames_reused`` of them by the feature of another.

    share: of the video, 0 to 1, as far as its length is known.
    """

    path: str
    frames: int
    frames_reused: int
    share: float


@dataclass(frozen=True)
class ReadVideo:
    """A video that was read whole. note: what is odd about the file though nothing is missing."""

    entry: VideoEntry
    note: str | None
    frames: int
    frames_reused: int


@dataclass(frozen=True)
class Done:
    """Videos with all their rows: as cells, or as fragments that lie beside the table and wait for their commit."""

    videos: list[ReadVideo]
    rows: list[dict[str, Any]] = field(default_factory=list)
    fragments: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Failed:
    """A file that could not be read: the reason, which names it. is_unseen: not a byte of it could be looked at."""

    path: str
    reason: str
    is_unseen: bool = False


@dataclass(frozen=True)
class Twin:
    """A file with the content of another of this run, which is the one that is read."""

    path: str
    digest: str


Event = UnderWay | Done | Failed | Twin


def read_videos(
    jobs: Sequence[VideoJob],
    settings: Settings,
    *,
    claim: Callable[[str, str], bool],
    should_stop: Callable[[], bool],
    cores: int,
) -> Generator[Event, None, None]:
    """What becomes of each file, in the order in which they are done.

    Args:
        claim: as ``Claims.claim``; asked right before a file is decoded, when it has just been hashed.
        cores: the share of the machine that decoding and encoding take.

    Yields:
        For each job one ``Done`` with rows, ``Failed`` or ``Twin``, with any number of ``UnderWay`` before it.
    """
    yield from _VideoReader(jobs, settings, claim).run(should_stop, cores)


class _VideoReader:
    """One call of ``read_videos``. The decoder threads hash, the caller's thread does all else."""

    def __init__(self, jobs: Sequence[VideoJob], settings: Settings, claim: Callable[[str, str], bool]) -> None:
        self._jobs = {job.file.path: job for job in jobs}
        self._settings, self._claim = settings, claim
        self._digests = {job.file.path: job.digest for job in jobs if job.digest is not None}
        self._twins: set[str] = set()
        self._unseen: set[str] = set()
        self._given_up: set[str] = set()
        self._is_over = threading.Event()
        self._parts: dict[str, _Parts] = {}

    def run(self, should_stop: Callable[[], bool], cores: int) -> Generator[Event, None, None]:
        settings = self._settings

        def is_over() -> bool:
            return self._is_over.is_set() or should_stop()

        results = extract(
            [Job(path, path, job.threads) for path, job in self._jobs.items()],
            settings.encoder,
            times=None if settings.sampling == "keyframes" else index_times,
            keep=small_picture,
            opening=lambda job: self._opening(job, is_over),
            should_stop=should_stop,
            reuse=not settings.every_frame,
            cores=cores,
        )
        try:
            for result in results:
                if result.key not in self._given_up:
                    yield self._end(result) if isinstance(result, Failure) else self._take_in(result)
        finally:
            self._is_over.set()  # closing waits for copies that are under way
            results.close()

    @contextlib.contextmanager
    def _opening(self, job: Job, is_over: Callable[[], bool]) -> Iterator[str]:
        """The file to be decoded, hashed right before that, so that the disk reads it once; raise if it is not to be.

        An object's copy lasts as long as the block, so there is one a decoder at a time.
        """
        path = job.path
        with contextlib.ExitStack() as copying:
            try:
                wanted = local_copy(path, options=self._settings.storage_options, should_stop=is_over)
                copy, digest = copying.enter_context(wanted)
                if digest is not None or path not in self._digests:
                    self._digests[path] = digest or content_hash(copy, "blake2b")
            except StoppedError:
                self._given_up.add(path)
                raise
            except (OSError, LibraryError) as error:
                self._unseen.add(path)
                raise VideoError(unreadable_line(path, error)) from None
            if not self._claim(self._digests[path], path):
                self._twins.add(path)
                raise VideoError(f"{one_line(path)}: same content as another file")
            yield copy

    def _end(self, failure: Failure) -> Event:
        path = failure.key
        self._parts.pop(path, None)  # what came of a video before its failure does not count
        if path in self._twins:
            return Twin(path, self._digests[path])
        return Failed(path, failure.reason, is_unseen=path in self._unseen)

    def _take_in(self, chunk: Chunk) -> Event:
        parts = self._parts.setdefault(chunk.key, _Parts())
        parts.add(chunk, keyframes=self._settings.sampling == "keyframes")
        if not parts.is_whole():
            return UnderWay(chunk.key, parts.frames, parts.frames_reused, _share(chunk))
        return self._finish(self._parts.pop(chunk.key), self._jobs[chunk.key])

    def _finish(self, parts: _Parts, job: VideoJob) -> Done:
        chunk, file = parts.last, job.file
        assert chunk is not None
        segments = [segment for index in sorted(parts.chunks) for segment in parts.chunks[index]]
        entry = VideoEntry(
            video_id=job.video_id,
            path=file.path,
            size=file.size,
            modified_ns=file.modified_ns,
            content_hash=self._digests[file.path],
            duration_seconds=segments[-1].end_seconds,
            width=chunk.info.width,
            height=chunk.info.height,
            codec=chunk.info.codec,
            container=chunk.info.container,
            problem=chunk.problem,
            num_segments=len(segments),
        )
        video = ReadVideo(entry, chunk.note, parts.frames, parts.frames_reused)
        return Done([video], rows=segment_rows(entry, segments))


@dataclass
class _Parts:
    """A video whose chunks are coming in, in any order."""

    chunks: dict[int, list[SegmentEntry]] = field(default_factory=dict)
    last: Chunk | None = None
    frames: int = 0
    frames_reused: int = 0

    def add(self, chunk: Chunk, *, keyframes: bool) -> None:
        self.chunks[chunk.index] = segments_of_chunk(chunk, keyframes=keyframes)
        self.frames += len(chunk.seconds)
        self.frames_reused += chunk.num_reused
        if chunk.last:
            self.last = chunk

    def is_whole(self) -> bool:
        return self.last is not None and len(self.chunks) == self.last.index + 1


def _share(chunk: Chunk) -> float:
    duration = chunk.info.duration_seconds
    return min(1.0, float(chunk.seconds[-1]) / duration) if duration and len(chunk.seconds) else 0.0


def unreadable_line(path: str, error: OSError | LibraryError) -> str:
    """Why not a byte of a file could be read, in one line; what a store says is one already."""
    if isinstance(error, LibraryError):
        return str(error)
    return f"{path}: cannot be read ({(error.strerror or 'input error').lower()})"


def small_picture(frame: Frame) -> bytes:
    """The thumbnail that the library keeps of a frame."""
    return thumbnail(frame.rgb, width=THUMBNAIL_WIDTH)
