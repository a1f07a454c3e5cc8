"""Weighted token-wise interaction of a tile of texts and videos, from the products of words and frames.

What ``heads/wti.py`` writes as tensor operations (Wang et al., arXiv 2203.07111): both directions' maxima in one pass
over a pair's matrix, each weighed as soon as it is known. ``heads/_fused.py`` cuts the tiles.

Axes: ``N`` columns (words), ``C`` groups of videos, ``F`` frames; the last axis is ``LANES`` videos. Frames may be
missing in some lanes only, hence ``real``; words are there in all or in none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wordframe.heads._kernels import LANES, compiled
from wordframe.heads._kernels.lanes import LOWEST, largest, load, spread, store

ZERO, ONE, HALF = np.float32(0.0), np.float32(1.0), np.float32(0.5)
_LOWEST = np.float32(LOWEST)


@compiled
def score_tile(
    products: Any, starts: Any, real: Any, word_weights: Any, frame_weights: Any, scale: Any, out: Any
) -> None:
    """Logits, twice, ``out (2, T, C, lanes)`` of the texts whose columns are ``starts[t] : starts[t + 1]``: they are
    the one part, too.

    products ``(N, C, F, lanes)``; real ``(C, F, lanes)``, 1 or 0; word_weights ``(N,)``; frame_weights ``(C, F,
    lanes)``, 0 where padded.
    """
    num_frames = products.shape[2]
    best_words = np.empty((num_frames, LANES), np.float32)
    for c in range(products.shape[1]):
        for t in range(len(starts) - 1):
            for f in range(num_frames):
                store(best_words, (f,), spread(_LOWEST))
            total = spread(ZERO)
            for n in range(starts[t], starts[t + 1]):
                best_frame = spread(_LOWEST)
                for f in range(num_frames):
                    x, there = load(products, (n, c, f)), load(real, (c, f))
                    store(best_words, (f,), largest(load(best_words, (f,)), x))
                    # A choice by arithmetic, since lanes cannot branch: the cosine where the frame is real.
                    best_frame = largest(best_frame, x * there + (there - ONE) * (-_LOWEST))
                total = total + best_frame * word_weights[n]
            for f in range(num_frames):
                total = total + load(best_words, (f,)) * load(frame_weights, (c, f))
            total = total * (scale * HALF)
            store(out, (0, t, c), total)
            store(out, (1, t, c), total)
