"""From a chunk of frame features to the segments that the library stores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wordframe.extraction import Chunk
from wordframe.library.store import Segment
from wordframe.video.segments import cut_segments


def mean_vector(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """The one vector ``(D,)`` that stands for frames ``(F, D)`` in the vector index: ``n(mean of n(frames))``.

    This is CLIP4Clip's mean pooling (arXiv 2104.08860, section 3.3).
    """
    mean: NDArray[np.float32] = _normalised(_normalised(frames).mean(axis=0))
    return mean


def _normalised(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    normalised: NDArray[np.float32] = vectors / np.maximum(lengths, 1e-12)
    return normalised


def segments_of_chunk(chunk: Chunk) -> list[Segment]:
    """Cut a chunk of a video into segments; each one's thumbnail is the frame nearest to its mean vector."""
    start, end = _span(chunk)
    cuts = cut_segments(chunk.seconds - start, chunk.features, end - start)
    return [
        _segment(
            chunk,
            slice(cut.first_frame, cut.last_frame_exclusive),
            start + cut.start_seconds,
            start + cut.end_seconds,
        )
        for cut in cuts
    ]


def _segment(chunk: Chunk, rows: slice, start_seconds: float, end_seconds: float) -> Segment:
    frames = chunk.features[rows]
    mean = mean_vector(frames)
    return Segment(
        start_seconds=start_seconds,
        end_seconds=end_seconds,
        frames=frames.astype(np.float16),
        seconds=chunk.seconds[rows].astype(np.float32),
        mean=mean,
        thumbnail=chunk.keepsakes[rows][int(np.argmax(_normalised(frames) @ mean))],
    )


def _span(chunk: Chunk) -> tuple[float, float]:
    """The seconds ``[start, end)`` that a chunk's frames stand for.

    Inside a video each frame stands for the time around it, half the distance of two frames to either side; the first
    chunk starts with the video and the last one ends with it, or where the file breaks off.
    """
    half = float(np.median(np.diff(chunk.seconds))) / 2 if len(chunk.seconds) > 1 else 0.5
    first, last = float(chunk.seconds[0]), float(chunk.seconds[-1])
    duration = chunk.info.duration_seconds
    start = 0.0 if chunk.index == 0 else first - half
    if chunk.last and chunk.problem is None and duration is not None:
        return start, max(duration, last)
    end = last + half
    return start, end if duration is None else min(end, max(duration, last))
