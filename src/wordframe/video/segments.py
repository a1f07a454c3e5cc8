"""Cutting a video into segments, the units of search: at most 12 sampled frames, with the seconds they stand for.

Axes: ``N`` sampled frames of one video, ``D`` feature size. Each frame stands for the time around it, up to the
midpoints between it and its neighbours; a segment is a run of frames and spans their times. A keyframe stands for the
time up to the next one instead (``leading``): encoders put one where a shot begins, and rarely another in it.

- ``windows``: runs of about ``length_seconds``, each overlapping the one before it.
- ``shots``: the partition whose segments are as uniform as can be. Kernel temporal segmentation (Potapov et al., ECCV
  2014) with a bounded segment length, which makes it linear in ``N``: a segment costs the scatter of its normalised
  features around their mean, ``sum |x_i - mean|²``, plus ``penalty`` times the mean of ``|x_i - x_(i+1)|²`` over the
  video. A still picture with noise is thus never cut for penalties above 1/2, however strong the noise. Shots longer
  than ``max_seconds`` come out as several segments, shots shorter than ``min_seconds`` join their neighbours.

``cut_segments``, the default, uses shots: in ``benchmarks/segments.py`` they find known moments better than windows of
any length and overlap, by every similarity, over a wide range of penalties, with fewer segments.

Neighbours: ``sampling.py`` chooses the frames, encoders give their features, the library stores the segments.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_FRAMES = 12
"""The most frames of a segment: what the published models take."""


@dataclass(frozen=True)
class Segment:
    """A part ``[start, end)`` of a video, in seconds, and its sampled frames ``[first, last)``."""

    start_seconds: float
    end_seconds: float
    first_frame: int
    last_frame_exclusive: int

    def __post_init__(self) -> None:
        if not 0 <= self.start_seconds < self.end_seconds:
            raise ValueError(
                f"a segment needs 0 <= start < end, got [{self.start_seconds}, {self.end_seconds}) seconds"
            )
        if not 0 <= self.first_frame < self.last_frame_exclusive:
            raise ValueError(
                f"a segment needs 0 <= first < last frame, got [{self.first_frame}, {self.last_frame_exclusive})"
            )

    @property
    def num_frames(self) -> int:
        """How many sampled frames the segment has."""
        return self.last_frame_exclusive - self.first_frame


def frame_edges(
    seconds: NDArray[np.floating], duration_seconds: float, *, leading: bool = False
) -> NDArray[np.float64]:
    """Where the time of each frame begins and ends: ``(N + 1,)``, from 0 to the video's end.

    >>> frame_edges(np.array([0.0, 2.0, 3.5]), 4.0, leading=True).tolist()
    [0.0, 2.0, 3.5, 4.0]
    >>> frame_edges(np.array([0.5, 1.5, 3.5]), 4.0).tolist()
    [0.0, 1.0, 2.5, 4.0]
    """
    times = np.asarray(seconds, np.float64)
    if times.ndim != 1 or not len(times) or not np.isfinite(times).all() or times[0] < 0 or (np.diff(times) <= 0).any():
        raise ValueError(f"seconds must be (N,), N at least 1, from 0 on and ascending, got {times.tolist()[:8]}")
    if not (math.isfinite(duration_seconds) and duration_seconds > 0):
        raise ValueError(f"duration_seconds must be a positive number, got {duration_seconds}")
    # a header's length may end before the last frame that was found, and a segment needs a length
    last = max(duration_seconds, float(np.nextafter(times[-1], math.inf)))
    inner = times[1:] if leading else (times[:-1] + times[1:]) / 2
    return np.concatenate([[0.0], inner, [last]])


def windows(
    seconds: NDArray[np.floating],
    duration_seconds: float,
    *,
    length_seconds: float = 5.0,
    overlap: float = 0.5,
    max_frames: int = MAX_FRAMES,
) -> list[Segment]:
    """Runs of about ``length_seconds``, each sharing the part ``overlap`` with the one before; the last ends the video.

    >>> [(s.start_seconds, s.end_seconds) for s in windows(np.arange(7) + 0.5, 7.0, length_seconds=4.0)]
    [(0.0, 4.0), (2.0, 6.0), (3.0, 7.0)]
    """
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap must be in [0, 1), got {overlap}")
    edges = frame_edges(seconds, duration_seconds)
    _check_lengths(length_seconds, max_frames)
    return [_segment(edges, *run) for run in _window_runs(edges, length_seconds, overlap, max_frames)]


def shots(
    seconds: NDArray[np.floating],
    features: NDArray[np.floating],
    duration_seconds: float,
    *,
    penalty: float = 1.5,
    min_seconds: float = 2.0,
    max_seconds: float = 12.0,
    max_frames: int = MAX_FRAMES,
    leading: bool = False,
) -> list[Segment]:
    """The most uniform segments between ``min_seconds`` and ``max_seconds`` (a whole video may be shorter).

    seconds: ``(N,)``; features: ``(N, D)``. A larger ``penalty`` gives fewer segments.

    >>> features = np.repeat(np.eye(2), [3, 4], axis=0)
    >>> [(s.first_frame, s.last_frame_exclusive) for s in shots(np.arange(7) + 0.5, features, 7.0)]
    [(0, 3), (3, 7)]
    """
    edges = frame_edges(seconds, duration_seconds, leading=leading)
    _check_lengths(max_seconds, max_frames)
    if not (math.isfinite(penalty) and penalty >= 0 and 0 <= min_seconds <= max_seconds):
        given = f"penalty = {penalty}, min_seconds = {min_seconds}, max_seconds = {max_seconds}"
        raise ValueError(f"penalty must be finite and at least 0, and 0 <= min_seconds <= max_seconds, got {given}")
    units = _unit_rows(features, len(edges) - 1)
    return [
        _segment(edges, *run) for run in _best_partition(units, edges, penalty, min_seconds, max_seconds, max_frames)
    ]


def _check_lengths(length_seconds: float, max_frames: int) -> None:
    if not (math.isfinite(length_seconds) and length_seconds > 0):
        raise ValueError(f"the length of a segment must be a positive number of seconds, got {length_seconds}")
    if max_frames < 1:
        raise ValueError(f"max_frames must be at least 1, got {max_frames}")


def _segment(edges: NDArray[np.float64], first: int, last: int) -> Segment:
    return Segment(float(edges[first]), float(edges[last]), first, last)


def _window_runs(
    edges: NDArray[np.float64], length_seconds: float, overlap: float, max_frames: int
) -> list[tuple[int, int]]:
    """Runs ``[first, last)`` of frames; a window may be up to half a frame longer than ``length_seconds``."""
    first, stop = 0, len(edges) - 1
    runs: list[tuple[int, int]] = []
    while True:
        longest = length_seconds + (edges[first + 1] - edges[first]) / 2
        last = int(np.searchsorted(edges, edges[first] + longest, side="right")) - 1
        last = min(max(last, first + 1), first + max_frames, stop)
        if last == stop and runs:  # as long as the others: it starts earlier
            earlier = int(np.searchsorted(edges, edges[stop] - longest, side="left"))
            first = max(min(earlier, first), stop - max_frames, runs[-1][0] + 1)
        runs.append((first, last))
        if last == stop:
            return runs
        step = (edges[last] - edges[first]) * (1 - overlap)
        # the small number keeps a sum such as 0.1 + 0.2 from passing over the edge that it means
        next_first = int(np.searchsorted(edges, edges[first] + step - 1e-9, side="left"))
        first = min(max(first + 1, next_first), last)


def _unit_rows(features: NDArray[np.floating], num_frames: int) -> NDArray[np.float64]:
    rows = np.asarray(features, np.float64)  # sums over hours of frames are subtracted below: float32 would leave noise
    if rows.ndim != 2 or len(rows) != num_frames or not np.isfinite(rows).all():
        raise ValueError(f"features must be finite, (N, D) with N = {num_frames}, got shape {rows.shape}")
    units: NDArray[np.float64] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return units


def _best_partition(
    units: NDArray[np.float64],
    edges: NDArray[np.float64],
    penalty: float,
    min_seconds: float,
    max_seconds: float,
    max_frames: int,
) -> list[tuple[int, int]]:
    """Dynamic program over the ends of segments: ``cost[b] = min over a of cost[a] + scatter(a, b) + price``."""
    num_frames = len(units)
    sums = np.concatenate([np.zeros((1, units.shape[1])), np.cumsum(units, axis=0)])  # (N + 1, D)
    jumps = np.sum(np.diff(units, axis=0) ** 2, axis=1)
    price = penalty * float(jumps.mean()) if len(jumps) else 0.0
    too_short = 1e3 * num_frames  # more than all scatter: short segments only where nothing else fits
    cost = np.zeros(num_frames + 1)
    came_from = np.zeros(num_frames + 1, np.int64)
    for last in range(1, num_frames + 1):
        firsts = np.arange(max(0, last - max_frames), last)
        lengths = edges[last] - edges[firsts]
        fits = lengths <= max_seconds + 1e-9
        fits[-1] = True  # one frame always is a segment
        firsts, lengths = firsts[fits], lengths[fits]
        # of unit vectors: sum |x - mean|² = n - |sum x|² / n, so that a segment costs one difference of running sums
        scatter = (last - firsts) - np.sum((sums[last] - sums[firsts]) ** 2, axis=1) / (last - firsts)
        totals = cost[firsts] + scatter + price + too_short * (lengths < min_seconds - 1e-9)
        best = int(np.argmin(totals))
        cost[last], came_from[last] = totals[best], firsts[best]
    runs = []
    last = num_frames
    while last:
        runs.append((int(came_from[last]), last))
        last = int(came_from[last])
    return runs[::-1]


def cut_segments(
    seconds: NDArray[np.floating], features: NDArray[np.floating], duration_seconds: float, *, leading: bool = False
) -> list[Segment]:
    """The library's rule.

    >>> len(cut_segments(np.arange(8) / 4 + 0.125, np.ones((8, 2)), 2.0))
    1
    """
    return shots(seconds, features, duration_seconds, leading=leading)
