"""Which times of a video to look at: pure functions that give ascending seconds, or indices of frames.

Two rules matter. ``index_times`` is the library's: one frame a second, and at least a few for a short video.
``benchmark_indices`` is the one of CLIP4Clip (Luo et al., 2021), which all papers of the family follow: one
frame a second, then, if there are more than ``num_frames``, that many of them spread uniformly.
Neighbours: ``decode.py`` gives the frames at these times, ``segments.py`` groups them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from wordframe.video._picture import VideoInfo


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
