"""Videos as the benchmarks see them: one frame a second, and of these at most ``num_frames``, spread evenly.

The rule is CLIP4Clip's (Luo et al., arXiv 2104.08860), the choice that of ``wordframe.video.FrameRule``. Whole numbers
of seconds are wanted, so the choice is made before decoding and only the chosen frames are converted. A file that turns
out shorter than its header says, or whose header does not say, is read once more to count its seconds.
Neighbours: ``frame_cache.py`` keeps what is read here, ``_feature_building.py`` and ``pixel_sets.py`` read from either.
"""

from __future__ import annotations

import math
import os
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from wordframe.errors import VideoError
from wordframe.video import WHOLE_VIDEO, Frame, FrameRule, VideoInfo, VideoPath, open_frames_apart, per_second

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class SampledFrames:
    """Frames ``(N, h, w, 3)`` uint8 of a video, their ``seconds (N,)``, and what is wrong with the file, if known."""

    rgb: NDArray[np.uint8]
    seconds: NDArray[np.float64]
    problem: str | None = None

    def __post_init__(self) -> None:
        if self.rgb.ndim != 4 or self.rgb.shape[-1] != 3 or self.rgb.dtype != np.uint8:
            raise ValueError(f"rgb must be (N, h, w, 3) uint8, got {self.rgb.shape} {self.rgb.dtype}")
        if not 1 <= len(self.rgb) == len(self.seconds):
            raise ValueError(f"{len(self.rgb)} frames with {len(self.seconds)} seconds; there must be one time a frame")


class FrameSource(Protocol):
    """Where the frames of videos come from, by the videos' names: files, or a cache. Called from several threads."""

    def read(self, video: str, num_frames: int) -> SampledFrames:
        """At most ``num_frames`` frames. VideoError: it is not there or cannot be read."""
        ...

    @property
    def rule(self) -> FrameRule:
        """Which frames of a video it gives."""
        ...

    @property
    def description(self) -> str:
        """The kind of frames in words. Features of one kind do not mix with those of another."""
        ...

    def stamp(self, video: str) -> str:
        """What changes when the video does, found without reading it. VideoError: it is not there."""
        ...

    def refuse_less(self, *, num_frames: int, short_side: int) -> None:
        """Raise if it cannot give that many frames a video, or only smaller ones."""
        ...


@dataclass(frozen=True)
class VideoFiles:
    """Frames decoded when they are asked for; short_side: pixels, larger frames are scaled down to it; rule: which."""

    paths: Mapping[str, Path]
    short_side: int
    rule: FrameRule = WHOLE_VIDEO

    def read(self, video: str, num_frames: int) -> SampledFrames:
        return read_sampled(self._path(video), num_frames=num_frames, short_side=self.short_side, rule=self.rule)

    @property
    def description(self) -> str:
        return f"videos at a short side of {self.short_side} pixels"

    def stamp(self, video: str) -> str:
        return file_stamp(self._path(video))

    def refuse_less(self, *, num_frames: int, short_side: int) -> None:
        if short_side > self.short_side:
            raise ValueError(f"short_side={self.short_side} is too small, frames of {short_side} pixels are wanted")

    def _path(self, video: str) -> Path:
        if video not in self.paths:
            raise VideoError(f"there is no file of the video {video!r}")
        return self.paths[video]


def read_sampled(
    path: VideoPath, *, num_frames: int, short_side: int | None, rule: FrameRule = WHOLE_VIDEO
) -> SampledFrames:
    """The frames of a video file that ``rule`` chooses, at most ``num_frames`` of them.

    Raises:
        VideoError: the file is not there, cannot be read, or has no video that can be decoded.
    """
    frames, info, problem = _read(path, lambda info: _seconds(info.duration_seconds, num_frames, rule), short_side)
    expected = _seconds(info.duration_seconds, num_frames, rule)
    if not expected or len(frames) < len(expected):
        # tiny pictures: only their number is wanted
        with open_frames_apart(path, per_second(1.0, 0.0, rule.end_seconds), short_side=16) as stream:
            count = sum(1 for _ in stream)
        frames, _, later_problem = _read(path, lambda _: _seconds(count, num_frames, rule), short_side)
        problem = problem or later_problem
    return SampledFrames(
        np.stack([frame.rgb for frame in frames]), np.array([frame.seconds for frame in frames]), problem
    )


FrameOrder = Literal["forward", "reverse", "random"]
"""In which order a model sees the frames that were kept: CLIP4Clip's ``train_frame_order`` 0, 1 and 2."""


def frame_orders(order: FrameOrder, counts: Sequence[int], captions: Sequence[int]) -> list[list[int]]:
    """The places of each video's frames in the order wanted, for a batch with these numbers of ``captions``.

    >>> frame_orders("reverse", [3, 1], [7, 9])
    [[2, 1, 0], [0]]
    """
    if order == "random":
        # drawn anew with every batch, yet of nothing but the batch, so that a resumed run draws the same
        draw = random.Random(str(list(captions)))
        return [draw.sample(range(count), count) for count in counts]
    return [list(range(count))[:: 1 if order == "forward" else -1] for count in counts]


def file_stamp(path: Path) -> str:
    """Size and time of change of a file. VideoError: it is not there."""
    try:
        status = path.stat()
    except OSError as error:
        raise VideoError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    return f"{status.st_size}-{status.st_mtime_ns}"


def in_order(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    should_stop: Callable[[], bool] = lambda: False,
    threads: int | None = None,
) -> Iterator[Result]:
    """``work`` done on each item by several threads, the results in the items' order, few of them waiting in memory.

    Within a thread torch runs on one core. Ends early, in order, once ``should_stop()``.
    """
    # a thread a file and a core a thread: torch's own threads would fight over the same cores
    threads = threads or os.cpu_count() or 1
    before = torch.get_num_threads()
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                # so many that no thread waits for work, so few that decoded videos do not fill the memory
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
                if should_stop():
                    return
            while waiting and not should_stop():
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            torch.set_num_threads(before)


def _read(
    path: VideoPath, times: Callable[[VideoInfo], Iterable[float]], short_side: int | None
) -> tuple[list[Frame], VideoInfo, str | None]:
    with open_frames_apart(path, times, short_side=short_side) as stream:
        frames = list(stream)
        return frames, stream.info, stream.problem


def _seconds(duration_seconds: float | None, num_frames: int, rule: FrameRule) -> list[float]:
    """The wanted times of a video of this length; none if it is not known."""
    if duration_seconds is None:
        return []
    return [float(second) for second in rule.indices(math.ceil(duration_seconds), num_frames)]
