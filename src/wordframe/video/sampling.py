"""Which times of a video to look at: pure functions that give ascending seconds, or indices of frames.

Two rules matter. ``index_times`` is the library's: one frame a second, and at least a few for a short video.
``benchmark_indices`` is the one of CLIP4Clip (Luo et al., 2021), which all papers of the family follow: one
frame a second, then, if there are more than ``num_frames``, that many of them spread uniformly. ``FrameRule`` is that
rule with what differs between benchmarks and recipes: how far into a video it looks, and which frames it keeps.
Neighbours: ``decode.py`` gives the frames at these times, ``segments.py`` groups them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from wordframe.video._picture import VideoInfo

Cut = Literal["uniform", "first", "last"]
"""Which frames are kept where there are more than wanted: CLIP4Clip's ``slice_framepos`` 2, 0 and 1."""
_KEPT = {"uniform": "at most {} spread evenly", "first": "the first {}", "last": "the last {}"}


@dataclass(frozen=True, kw_only=True)
class FrameRule:
    """Which frames of a video a benchmark's model sees: one a second, cut down to as many as it takes.

    last_second: the last second that is looked at, as DiDeMo's 31; None for the whole video. cut: which frames are
    kept of more than are wanted.

    >>> FrameRule(last_second=31).indices(40, 64)[-1], FrameRule(cut="last").indices(10, 3)
    (31, [7, 8, 9])
    """

    last_second: int | None = None
    cut: Cut = "uniform"

    def __post_init__(self) -> None:
        if self.last_second is not None and self.last_second < 0:
            raise ValueError(f"last_second must be at least 0, or None for the whole video, got {self.last_second}")
        if self.cut not in _KEPT:
            raise ValueError(f"cut={self.cut!r} is not known; use one of {', '.join(_KEPT)}")

    @property
    def end_seconds(self) -> float | None:
        """Frames at or after it are not looked at; None without such an end."""
        return None if self.last_second is None else self.last_second + 1.0

    def indices(self, num_sampled: int, num_frames: int) -> list[int]:
        """Which of ``num_sampled`` frames, taken once a second from the start, are kept; at most ``num_frames``."""
        # first what the benchmark shows at all, then the cut: the last frames of DiDeMo are those before second 31
        seen = num_sampled if self.last_second is None else min(num_sampled, self.last_second + 1)
        if self.cut == "uniform" or seen <= num_frames:
            return benchmark_indices(seen, num_frames)
        return list(range(num_frames)) if self.cut == "first" else list(range(seen - num_frames, seen))

    def describe(self, num_frames: int) -> str:
        """For reports.

        >>> FrameRule(last_second=31).describe(64)
        '1 a second of seconds 0 to 31, then at most 64 spread evenly'
        """
        seen = "" if self.last_second is None else f" of seconds 0 to {self.last_second}"
        return f"1 a second{seen}, then {_KEPT[self.cut].format(num_frames)}"


WHOLE_VIDEO = FrameRule()
"""CLIP4Clip's own, and of most benchmarks."""


def uniform(start_seconds: float, end_seconds: float, num_frames: int) -> list[float]:
    """The centres of ``num_frames`` equal bins of ``[start, end)``.

    >>> uniform(0.0, 8.0, 4)
    [1.0, 3.0, 5.0, 7.0]
    """
    _check_span(start_seconds, end_seconds)
    _check_num_frames(num_frames)
    width = (end_seconds - start_seconds) / num_frames
    return [start_seconds + (number + 0.5) * width for number in range(num_frames)]


def per_second(rate: float, start_seconds: float = 0.0, end_seconds: float | None = None) -> Iterator[float]:
    """``rate`` times a second from ``start`` on, up to but not including ``end``; without end if that is None.

    >>> list(per_second(2.0, 1.0, 2.5))
    [1.0, 1.5, 2.0]
    """
    if not (math.isfinite(rate) and rate > 0):
        raise ValueError(f"rate must be a positive number of frames a second, got {rate}")
    if end_seconds is not None:
        _check_span(start_seconds, end_seconds)
    # each from its number and none from the one before, or the error of 1 / rate would grow with the video
    times = (start_seconds + number / rate for number in itertools.count())
    return times if end_seconds is None else itertools.takewhile(lambda seconds: seconds < end_seconds, times)


def benchmark_indices(num_sampled: int, num_frames: int) -> list[int]:
    """Which of the ``num_sampled`` frames taken once a second a benchmark keeps: all, or ``num_frames`` spread evenly.

    First and last are kept; the places between are cut down to whole numbers.

    >>> benchmark_indices(3, 12), benchmark_indices(10, 4), benchmark_indices(7, 1)
    ([0, 1, 2], [0, 3, 6, 9], [0])
    """
    _check_num_frames(num_frames)
    if num_sampled < 0:
        raise ValueError(f"num_sampled must be at least 0, got {num_sampled}")
    if num_sampled <= num_frames:
        return list(range(num_sampled))
    # cut down, not rounded, as CLIP4Clip does: the published numbers are of these very frames
    return [int(place) for place in np.linspace(0, num_sampled - 1, num_frames, dtype=int)]


def index_times(info: VideoInfo, *, rate: float = 1.0, min_frames: int = 8) -> Iterator[float]:
    """The times at which a library looks at a video.

    ``rate`` frames a second, each at the centre of its part of a second; a video too short to give ``min_frames``
    that way is cut into ``min_frames`` equal bins. Without a known length: ``rate`` a second without end.

    >>> info = VideoInfo("mp4", "h264", 640, 360, 0, 2.0, 25.0)
    >>> list(index_times(info, min_frames=4)), list(index_times(info, rate=3.0, min_frames=1))[:2]
    ([0.25, 0.75, 1.25, 1.75], [0.16666666666666666, 0.5])
    """
    _check_num_frames(min_frames)
    # centres, not starts: the first and last frame of a video are often black, or the title of something else
    duration = info.duration_seconds
    if duration is not None and duration * rate < min_frames:
        return iter(uniform(0.0, duration, min_frames))
    return per_second(rate, 0.5 / rate, duration)


def _check_span(start_seconds: float, end_seconds: float) -> None:
    if not (math.isfinite(end_seconds) and 0 <= start_seconds <= end_seconds):
        raise ValueError(f"the span must have 0 <= start <= end, got [{start_seconds}, {end_seconds}) seconds")


def _check_num_frames(num_frames: int) -> None:
    if num_frames < 1:
        raise ValueError(f"the number of frames must be at least 1, got {num_frames}")
