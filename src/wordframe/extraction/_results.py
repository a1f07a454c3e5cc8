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
    keepsakes: what ``keep`` made of each frame; problem: why the video ended early, note: what is odd about it though
    nothing is missing, both known on its last chunk;
    num_reused: how many frames have the feature of an earlier one, from which they hardly differ.
    """

    key: str
    index: int
    last: bool
    info: VideoInfo
    seconds: NDArray[np.float64]
    features: NDArray[np.float32]
    keepsakes: list[bytes]
    problem: str | None
    num_reused: int = 0
    note: str | None = None

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
    """A chunk under way: one decoder thread adds frames, any encoder thread brings their features, in any order.

    Whoever completes it gets the whole chunk, all others None. Its features change under the video's lock.
    """

    video: Video
    index: int
    info: VideoInfo
    dimension: int
    seconds: list[float] = field(default_factory=list)
    keepsakes: list[bytes] = field(default_factory=list)
    features: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    num_reused: int = 0
    is_closed: bool = False
    is_last: bool = False
    problem: str | None = None
    note: str | None = None

    def add(self, seconds: float, keepsake: bytes | None) -> int:
        """A decoded frame; its row."""
        self.seconds.append(seconds)
        if keepsake is not None:
            self.keepsakes.append(keepsake)
        return len(self.seconds) - 1

    def close(self, *, is_last: bool = False, problem: str | None = None, note: str | None = None) -> Chunk | None:
        with self.video.lock:
            self.is_last, self.problem, self.note, self.is_closed = is_last, problem, note, True
            return self.if_whole()

    def if_whole(self) -> Chunk | None:
        if not self.is_closed or len(self.features) < len(self.seconds):
            return None
        rows = [self.features[row] for row in range(len(self.seconds))]
        return Chunk(
            key=self.video.job.key,
            index=self.index,
            last=self.is_last,
            info=self.info,
            seconds=np.asarray(self.seconds, np.float64),
            features=np.stack(rows) if rows else np.zeros((0, self.dimension), np.float32),
            keepsakes=self.keepsakes,
            problem=self.problem,
            num_reused=self.num_reused,
            note=self.note,
        )


@dataclass(eq=False)
class Encoding:
    """One feature, on its way or there, and all places where it stands: of its own frame and of those that repeat it.

    The places may lie in several chunks: a picture that is shown for an hour is encoded once.
    """

    video: Video
    seconds: float
    feature: NDArray[np.float32] | None = None
    places: list[tuple[OpenChunk, int]] = field(default_factory=list)

    def stand_at(self, chunk: OpenChunk, row: int) -> None:
        """A frame that has this feature; its chunk must still be open."""
        with self.video.lock:
            if self.feature is None:
                self.places.append((chunk, row))
            else:
                chunk.features[row] = self.feature

    def deliver(self, feature: NDArray[np.float32]) -> list[Chunk]:
        """The chunks that are whole by now."""
        with self.video.lock:
            self.feature = feature
            for chunk, row in self.places:
                chunk.features[row] = feature
            met = list(dict.fromkeys(chunk for chunk, _ in self.places))
            self.places.clear()
            return [whole for chunk in met if (whole := chunk.if_whole()) is not None]


@dataclass(frozen=True, eq=False)
class WaitingFrame:
    """A decoded frame that is not encoded yet: ``pixels (3, H, W)``."""

    encoding: Encoding
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
