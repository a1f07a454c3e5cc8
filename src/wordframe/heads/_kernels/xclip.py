"""X-CLIP's similarity of a tile of texts and videos from products alone: one compiled loop for one text, many videos.

What ``heads/xclip.py`` writes as tensor operations: AOSM ``agg(x, M) = Σ (softmax(x / τ) M) · x`` over words, over
frames, and over both in both orders (Ma et al., arXiv 2207.07285). ``heads/_fused.py`` cuts the tiles.

Axes: ``N`` columns (a text's words, then its sentence), ``C`` groups of videos, ``F`` frames; the last axis is
``LANES`` videos. Frames may be missing in some lanes only, hence ``real``; words are there in all or in none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wordframe.heads._kernels import LANES, compiled
from wordframe.heads._kernels.lanes import LOWEST, exponential, largest, load, spread, store

ZERO, ONE = np.float32(0.0), np.float32(1.0)
_LOWEST = np.float32(LOWEST)


@compiled
def aggregate(x: Any, there: Any, size: int, matrix: Any, sharpness: Any, weights: Any) -> Any:
    """AOSM of ``x[:size]`` among the entries that are ``there (size, lanes)``; entries that are not must be finite."""
    top = spread(_LOWEST)
    for r in range(size):
        top = largest(top, load(x, (r,)) * load(there, (r,)) + (load(there, (r,)) - ONE) * (-_LOWEST))
    total = spread(ZERO)
    for r in range(size):
        # The mask twice: inside, so that no absent entry overflows; outside, so that it weighs nothing.
        e = exponential((load(x, (r,)) - top) * sharpness * load(there, (r,))) * load(there, (r,))
        store(weights, (r,), e)
        total = total + e
    mean = spread(ZERO)
    for c in range(0, size - 3, 4):  # four at a time: each weight is read once for four columns
        y0, y1, y2, y3 = spread(ZERO), spread(ZERO), spread(ZERO), spread(ZERO)
        for r in range(size):
            e = load(weights, (r,))
            y0 = y0 + e * matrix[r, c]
            y1 = y1 + e * matrix[r, c + 1]
            y2 = y2 + e * matrix[r, c + 2]
            y3 = y3 + e * matrix[r, c + 3]
        mean = mean + y0 * (load(x, (c,)) * load(there, (c,)))
        mean = mean + y1 * (load(x, (c + 1,)) * load(there, (c + 1,)))
        mean = mean + y2 * (load(x, (c + 2,)) * load(there, (c + 2,)))
        mean = mean + y3 * (load(x, (c + 3,)) * load(there, (c + 3,)))
    for c in range(size - size % 4, size):
        y = spread(ZERO)
        for r in range(size):
            y = y + load(weights, (r,)) * matrix[r, c]
        mean = mean + y * (load(x, (c,)) * load(there, (c,)))
    return mean / total


@compiled
def score_tile(
    frames: Any,
    vectors: Any,
    starts: Any,
    real: Any,
    word_matrices: Any,
    frame_matrices: Any,
    sharpness: Any,
    scale: Any,
    out: Any,
) -> None:
    """Logits and parts ``out (5, T, C, lanes)`` of the texts whose columns are ``starts[t] : starts[t + 1]``.

    frames ``(N, C, F, lanes)``: words through ``W_l``, and the sentence, with each frame; vectors ``(N, C, lanes)``:
    words, and the sentence through ``W_g``, with the video; real ``(C, F, lanes)``; the matrices in the order video
    alone, first step, second step: ``(3, W, W)`` and ``(3, F, F)``.
    """
    num_frames, longest = frames.shape[2], 0
    for t in range(len(starts) - 1):
        longest = max(longest, starts[t + 1] - starts[t])
    size = max(longest, num_frames)
    every = np.ones((size, LANES), np.float32)
    line = np.empty((size, LANES), np.float32)
    second = np.empty((size, LANES), np.float32)
    weights = np.empty((size, LANES), np.float32)
    for c in range(frames.shape[1]):
        there = real[c]
        for t in range(len(starts) - 1):
            first, sentence = starts[t], starts[t + 1] - 1
            count = sentence - first
            whole = load(vectors, (sentence, c))
            for w in range(count):
                store(line, (w,), load(vectors, (first + w, c)))
            words = aggregate(line, every, count, word_matrices[0], sharpness, weights)
            seen = aggregate(frames[sentence, c], there, num_frames, frame_matrices[0], sharpness, weights)
            for f in range(num_frames):
                for w in range(count):
                    store(line, (w,), load(frames, (first + w, c, f)))
                store(second, (f,), aggregate(line, every, count, word_matrices[1], sharpness, weights))
            both = aggregate(second, there, num_frames, frame_matrices[2], sharpness, weights)
            for w in range(count):
                x = frames[first + w, c]
                store(second, (w,), aggregate(x, there, num_frames, frame_matrices[1], sharpness, weights))
            both = both + aggregate(second, every, count, word_matrices[2], sharpness, weights)
            both = both * np.float32(0.5)
            store(out, (1, t, c), whole * scale)
            store(out, (2, t, c), words * scale)
            store(out, (3, t, c), seen * scale)
            store(out, (4, t, c), both * scale)
            store(out, (0, t, c), (whole + words + seen + both) * (scale * np.float32(0.25)))
