"""What extraction hands out, what it is made of while it is under way, and how it waits for the caller.

Axes: ``N`` frames of one chunk, ``D`` feature size. Neighbour: ``pipeline.py``, whose threads use all of this.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from wordframe.video import VideoInfo

_SMALL_RESULT_BYTES = 1 << 10
"""What a result takes beside its arrays and pictures, so that millions of failures are bounded, too."""


@dataclass(frozen=True)
class Job:
    """One video to read. ``key`` comes back with its results; ``threads`` are the decoder's."""

    key: str
    path: str
    threads: int = 1


@dataclass(frozen=True)
class Chunk:
    """Consecutive frames of one video with their features.

    index: 0, 1, … within the video; last: no chunk follows; seconds: ``(N,)``; features: ``(N, D)`` float32, finite;
    keepsakes: what ``keep`` made of each frame; problem: why the video ended early, known on its last chunk.
    """

    key: str
    index: int
    last: bool
    info: VideoInfo
    seconds: NDArray[np.float64]
    features: NDArray[np.float32]
    keepsakes: list[bytes]
    problem: str | None

    @property
    def num_bytes(self) -> int:
        """The memory that it takes, nearly."""
        arrays = self.seconds.nbytes + self.features.nbytes
        return arrays + sum(map(len, self.keepsakes)) + _SMALL_RESULT_BYTES


@dataclass(frozen=True)
class Failure:
    """A video that could not be read or encoded: the reason in one line, which names the file."""

    key: str
    reason: str


@dataclass(eq=False)
class Video:
    """A job under way. ``has_failed``: no more work is done for it, and nothing but its Failure is handed out."""

    job: Job
    has_failed: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self) -> bool:
        """Whether this is the first failure: several threads may meet one at the same time."""
        with self.lock:
            is_first, self.has_failed = not self.has_failed, True
            return is_first


@dataclass(eq=False)
class OpenChunk:
    """A chunk under way: frames are added by one decoder thread, features by any encoder thread, in any order.

    ``close`` and ``deliver`` give the whole chunk to whichever of them completes it, None to all others.
    """

    video: Video
    index: int
    info: VideoInfo
    dimension: int
    seconds: list[float] = field(default_factory=list)
    keepsakes: list[bytes] = field(default_factory=list)
    features: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    is_closed: bool = False
    is_last: bool = False
    problem: str | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, seconds: float, keepsake: bytes | None) -> int:
        """A decoded frame; its row."""
        with self.lock:
            self.seconds.append(seconds)
            if keepsake is not None:
                self.keepsakes.append(keepsake)
            return len(self.seconds) - 1

    def close(self, *, is_last: bool, problem: str | None) -> Chunk | None:
        with self.lock:
            self.is_last, self.problem, self.is_closed = is_last, problem, True
            return self._if_whole()

    def deliver(self, row: int, feature: NDArray[np.float32]) -> Chunk | None:
        with self.lock:
            self.features[row] = feature
            return self._if_whole()

    def _if_whole(self) -> Chunk | None:
        if not self.is_closed or len(self.features) < len(self.seconds):
            return None
        rows = [self.features[row] for row in range(len(self.seconds))]
        features = np.stack(rows) if rows else np.zeros((0, self.dimension), np.float32)
        seconds = np.asarray(self.seconds, np.float64)
        key = self.video.job.key
        return Chunk(key, self.index, self.is_last, self.info, seconds, features, self.keepsakes, self.problem)


@dataclass(frozen=True, eq=False)
class WaitingFrame:
    """A decoded frame that is not encoded yet: ``pixels (3, H, W)``."""

    chunk: OpenChunk
    row: int
    pixels: Tensor


@dataclass(frozen=True)
class End:
    """What follows the last result: nothing, or an error that is the caller's."""

    error: BaseException | None


class CallerGoneError(Exception):
    """The caller went away; threads unwind quietly."""


class Results:
    """Results on their way to the caller, in order: ``max_bytes`` of them, or a single larger one.

    Bounded by bytes because a result may be a line or megabytes. Who puts more waits, until there is room or the caller
    is gone; nobody holds a lock meanwhile that the caller needs, so a caller that comes back finds everything going on.
    """

    def __init__(self, max_bytes: int) -> None:
        self._waiting: deque[tuple[int, tuple[Video, Chunk | Failure] | End]] = deque()
        self._bytes, self._max_bytes = 0, max_bytes
        self._is_closed = False
        self._changed = threading.Condition()

    def put(self, video: Video, result: Chunk | Failure) -> None:
        size = result.num_bytes if isinstance(result, Chunk) else _SMALL_RESULT_BYTES
        with self._changed:
            while self._bytes and self._bytes + size > self._max_bytes and not self._is_closed:
                self._changed.wait()
            if self._is_closed:
                raise CallerGoneError
            self._bytes += size
            self._waiting.append((size, (video, result)))
            self._changed.notify_all()

    def end(self, error: BaseException | None) -> None:
        """No more results. Never waits: an end must not hang on a caller who is slow."""
        with self._changed:
            self._waiting.append((0, End(error)))
            self._changed.notify_all()

    def get(self, timeout: float) -> tuple[Video, Chunk | Failure] | End | None:
        """The next result; None if there is none within ``timeout`` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting, timeout):
                return None
            size, item = self._waiting.popleft()
            self._bytes -= size
            self._changed.notify_all()
            return item

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
