"""From a chunk of frame features to the segments that the library stores."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from wordframe.extraction import Chunk
from wordframe.library._rows import CENTROIDS, SegmentEntry
from wordframe.video import cut_segments


def run_centroids(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors ``(N, K, D)``, ``K = min(3, F)``, of length 1 by which segments ``(N, F, D)`` are shortlisted.

    The normalised frames are cut into ``K`` runs with the least scatter around their means; a run's vector is the
    direction of its mean. A run ``[a, b)`` of unit frames explains ``|sum|² / (b − a)``, a sum over the frames' Gram
    matrix, so the best of all ways to cut is found without another look at ``D``.
    """
    units = _normalised(frames)
    N, F, _ = frames.shape
    cuts = list(itertools.combinations(range(1, F), min(CENTROIDS, F) - 1))
    edges = np.array([(0, *cut, F) for cut in cuts])  # (ways to cut, K + 1)
    first, stop = edges[:, :-1], edges[:, 1:]  # (ways to cut, K)
    sums = np.zeros((N, F + 1, F + 1), np.float32)  # of the Gram matrix, from its corner
    sums[:, 1:, 1:] = (units @ units.swapaxes(1, 2)).cumsum(axis=1).cumsum(axis=2)
    blocks = sums[:, stop, stop] - sums[:, first, stop] - sums[:, stop, first] + sums[:, first, first]
    best = (blocks / (stop - first)).sum(axis=-1).argmax(axis=1)  # (N,)
    totals = np.concatenate([np.zeros_like(units[:, :1]), units.cumsum(axis=1)], axis=1)  # (N, F + 1, D)
    rows = np.arange(N)[:, None]
    return _normalised(totals[rows, stop[best]] - totals[rows, first[best]])


def _normalised(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    normalised: NDArray[np.float32] = vectors / np.maximum(lengths, 1e-12)
    return normalised


def segments_of_chunk(chunk: Chunk, *, keyframes: bool = False) -> list[SegmentEntry]:
    """Cut a chunk of a video into segments; each one's thumbnail is the frame nearest to its frames' mean.

    ``keyframes``: its frames are the file's keyframes, so that each stands for the time behind it.
    """
    start, end = _span(chunk, keyframes=keyframes)
    cuts = cut_segments(chunk.seconds - start, chunk.features, end - start, leading=keyframes)
    return [
        _segment(
            chunk,
            slice(cut.first_frame, cut.last_frame_exclusive),
            start + cut.start_seconds,
            start + cut.end_seconds,
        )
        for cut in cuts
    ]


def _segment(chunk: Chunk, rows: slice, start_seconds: float, end_seconds: float) -> SegmentEntry:
    frames = chunk.features[rows]
    units = _normalised(frames)
    return SegmentEntry(
        start_seconds=start_seconds,
        end_seconds=end_seconds,
        frames=frames.astype(np.float16),
        seconds=chunk.seconds[rows].astype(np.float32),
        centroids=run_centroids(frames[None])[0],
        thumbnail=chunk.keepsakes[rows][int(np.argmax(units @ units.sum(axis=0)))],
    )


def _span(chunk: Chunk, *, keyframes: bool) -> tuple[float, float]:
    """The seconds ``[start, end)`` that a chunk's frames stand for.

    Inside a video each frame stands for the time around it, half the distance of two frames to either side, a keyframe
    for that behind it; the first chunk starts with the video and the last one ends with it, or where the file breaks
    off.
    """
    apart = float(np.median(np.diff(chunk.seconds))) if len(chunk.seconds) > 1 else 1.0
    before, behind = (0.0, apart) if keyframes else (apart / 2, apart / 2)
    first, last = float(chunk.seconds[0]), float(chunk.seconds[-1])
    duration = chunk.info.duration_seconds
    start = 0.0 if chunk.index == 0 else first - before
    if chunk.last and chunk.problem is None and duration is not None:
        return start, max(duration, last)
    end = last + behind
    return start, end if duration is None else min(end, max(duration, last))
