"""TC-MGC's similarity of a tile of texts and videos from products alone: one compiled loop, nothing of size ``D``.

What ``tcmgc/span.py`` and ``tcmgc/head.py`` write as tensor operations, for one text and ``LANES`` videos at a time:
attention and its coefficients in the span, the four similarities, SR and Bi-SR by insertion into short sorted lists,
ISA and Bi-ISA, LSA (Jing et al., arXiv 2504.04707; METHODS sections 5 and 6). Every pair is computed alike, whatever
stands beside it. ``heads/_fused.py`` makes the products and
calls ``score_tile``.

Axes: ``N`` columns (a text's words, then its sentence), ``C`` groups of videos, ``H`` heads, ``F`` frames, ``R`` rows
of a video's span (``H · F``, one more for projections' biases), ``K`` kept words; the last axis is ``LANES`` videos.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wordframe.heads._kernels import LANES, compiled
from wordframe.heads._kernels.lanes import LOWEST, exponential, largest, load, smallest, spread, square_root, store

ZERO, ONE = np.float32(0.0), np.float32(1.0)
_LOWEST, _TINY = np.float32(LOWEST), np.float32(np.finfo(np.float32).tiny)
EPSILON2 = EPSILON3 = np.float32(1e-5)
LOGITS, PLAIN, TURNED = 0, 1, 2
"""The three products of a column, see ``score_tile``."""


@compiled
def attend(products: Any, n: int, c: int, real: Any, alpha: Any) -> None:
    """Softmax of a column's logits over the real frames of each head, into ``alpha (R, lanes)``."""
    frames = real.shape[1]
    heads = products.shape[3] // frames
    for h in range(heads):
        top = spread(_LOWEST)
        for f in range(frames):
            there = load(real, (c, f))
            # A choice by arithmetic, since lanes cannot branch: the logit where the frame is real, else the lowest.
            x = load(products, (n, LOGITS, c, h * frames + f)) * there + (there - ONE) * (-_LOWEST)
            store(alpha, (h * frames + f,), x)
            top = largest(top, x)
        total = spread(ZERO)
        for f in range(frames):
            e = exponential(load(alpha, (h * frames + f,)) - top) * load(real, (c, f))
            store(alpha, (h * frames + f,), e)
            total = total + e
        total = ONE / total
        for f in range(frames):
            store(alpha, (h * frames + f,), load(alpha, (h * frames + f,)) * total)
    for r in range(heads * frames, len(alpha)):
        store(alpha, (r,), spread(ONE))  # the projections' bias counts once


@compiled
def coefficients(alpha: Any, c: int, statistics: Any, constants: Any, z: Any, n: int) -> None:
    """Attention into the coefficients ``z[n] (R + 2, lanes)`` of the normalised conditioned vector.

    With ``q`` quadratic forms and ``l`` linear ones in α: ``σ2² = q0 + ε``, ``σ3² = q1/σ2² + l0/σ2 + g0 + ε``, and the
    squared length of the vector before its normalisation likewise. ``statistics``: their factors, ``tcmgc/span.py``.
    """
    rows = len(alpha)
    q0, q1, q2 = spread(ZERO), spread(ZERO), spread(ZERO)
    l0, l1, l2 = spread(ZERO), spread(ZERO), spread(ZERO)
    # The Gram matrices are symmetric: only their lower triangles are stored and read, off the diagonal twice as large.
    place = 0
    pairs = rows * (rows + 1) // 2
    for i in range(rows):
        s0, s1, s2 = spread(ZERO), spread(ZERO), spread(ZERO)
        for j in range(i + 1):
            a = load(alpha, (j,))
            s0 = s0 + a * load(statistics, (c, place, 0))
            s1 = s1 + a * load(statistics, (c, place, 1))
            s2 = s2 + a * load(statistics, (c, place, 2))
            place += 1
        a = load(alpha, (i,))
        q0, q1, q2 = q0 + a * s0, q1 + a * s1, q2 + a * s2
        l0 = l0 + a * load(statistics, (c, pairs + i, 0))
        l1 = l1 + a * load(statistics, (c, pairs + i, 1))
        l2 = l2 + a * load(statistics, (c, pairs + i, 2))
    i2 = ONE / square_root(q0 + EPSILON2)
    i3 = ONE / square_root((q1 * i2 + l0) * i2 + (constants[0] + EPSILON3))
    a = i2 * i3
    length2 = (q2 * a + l1 * i3 + l2) * a + (constants[1] * i3 + constants[2]) * i3
    # The length comes from sums that may cancel, so rounding can leave 0 or less of it.
    inverse = ONE / square_root(largest(length2 + constants[3], spread(_TINY)))
    a = a * inverse
    for r in range(rows):
        store(z, (n, r), load(alpha, (r,)) * a)
    store(z, (n, rows), i3 * inverse)
    store(z, (n, rows + 1), inverse)


@compiled
def cosine(z: Any, n: int, products: Any, kind: int, fixed: Any, m: int, c: int) -> Any:
    """``z[n] · (B w)`` for the plain or turned vector of column ``m``."""
    rows = products.shape[3]
    total = load(z, (n, rows)) * fixed[m, kind, 0]
    for r in range(1, fixed.shape[2]):
        total = total + load(z, (n, rows + r)) * fixed[m, kind, r]
    for r in range(rows):
        total = total + load(z, (n, r)) * load(products, (m, kind, c, r))
    return total


@compiled
def insert(x: Any, kept: Any, row: int, size: int) -> Any:
    """Put ``x`` into the list ``kept[row, :size]``, sorted downwards; gives what falls out at its end."""
    # No branch: each lane has a list of its own. Lists are short (k = 3 as released), so this beats any sort.
    for r in range(size):
        y = load(kept, (row, r))
        store(kept, (row, r), largest(y, x))
        x = smallest(y, x)
    return x


@compiled
def aggregate(x: Any, row: int, size: int, matrix: Any, sharpness: Any, weights: Any) -> Any:
    """ISA of ``x[row, :size]``: ``Σ softmax(λ (softmax(λ x) M)) x``."""
    top = load(x, (row, 0))
    for r in range(1, size):
        top = largest(top, load(x, (row, r)))
    total = spread(ZERO)
    for r in range(size):
        # The largest is taken off before λ = 100 multiplies: the exponent stays at 0 or below, and keeps its digits.
        e = exponential((load(x, (row, r)) - top) * sharpness)
        store(weights, (0, r), e)
        total = total + e
    factor = sharpness / total
    top = spread(_LOWEST)
    for c in range(size):
        y = spread(ZERO)
        for r in range(size):
            y = y + load(weights, (0, r)) * matrix[r, c]
        y = y * factor
        store(weights, (1, c), y)
        top = largest(top, y)
    total, mean = spread(ZERO), spread(ZERO)
    for c in range(size):
        e = exponential(load(weights, (1, c)) - top)
        total = total + e
        mean = mean + e * load(x, (row, c))
    return mean / total


@compiled
def aggregate_both(block: Any, size: int, matrices: Any, sharpness: Any, lines: Any, weights: Any) -> Any:
    """Bi-ISA of ``block (K words, K frames)``: over words then frames, and over frames then words, averaged."""
    for f in range(size):
        for w in range(size):
            store(lines, (0, w), load(block, (w, f)))
        store(lines, (1, f), aggregate(lines, 0, size, matrices[0], sharpness, weights))
    total = aggregate(lines, 1, size, matrices[1], sharpness, weights)
    for w in range(size):
        store(lines, (1, w), aggregate(block, w, size, matrices[2], sharpness, weights))
    return (total + aggregate(lines, 1, size, matrices[3], sharpness, weights)) * np.float32(0.5)


@compiled
def clear(kept: Any, size: int) -> None:
    """Empty the first ``size`` lists."""
    for row in range(size):
        for r in range(size):
            store(kept, (row, r), spread(_LOWEST))


@compiled
def keep_rows(z: Any, products: Any, fixed: Any, first: int, count: int, c: int, m: int, kept: Any) -> None:
    """SR: the top ``m`` words against the conditioned video into ``kept[0]``, and the top ``m`` conditioned frames
    against the sentence into ``kept[1]``, with the fused entry behind them where some are left."""
    for r in range(m):
        store(kept, (0, r), spread(_LOWEST))
        store(kept, (1, r), spread(_LOWEST))
    total, mean = spread(ZERO), spread(ZERO)
    for n in range(count):
        insert(cosine(z, count, products, PLAIN, fixed, first + n, c), kept, 0, m)
        rest = insert(cosine(z, n, products, PLAIN, fixed, first + count, c), kept, 1, m)
        # What falls out of a full list is not among the k largest: it goes into the fused entry's softmax, which has
        # temperature 1 over cosines and so needs no largest taken off.
        if n >= m:
            e = exponential(rest)
            total = total + e
            mean = mean + e * rest
    if count > m:
        store(kept, (1, m), mean / total)


@compiled
def keep_block(
    z: Any, products: Any, fixed: Any, first: int, count: int, c: int, m: int, column: Any, block: Any
) -> None:
    """Bi-SR: the top ``m`` words of each conditioned frame, and of each such rank the top ``m`` frames."""
    rows = products.shape[3]
    clear(block, m)
    for j in range(count):
        for r in range(m):
            store(column, (0, r), spread(_LOWEST))
        for i in range(0, count - 3, 4):  # four at a time: each coefficient is read once for four words
            n = first + i
            x0, x1, x2, x3 = spread(ZERO), spread(ZERO), spread(ZERO), spread(ZERO)
            for r in range(fixed.shape[2]):
                a = load(z, (j, rows + r))
                x0 = x0 + a * fixed[n, TURNED, r]
                x1 = x1 + a * fixed[n + 1, TURNED, r]
                x2 = x2 + a * fixed[n + 2, TURNED, r]
                x3 = x3 + a * fixed[n + 3, TURNED, r]
            for r in range(rows):
                a = load(z, (j, r))
                x0 = x0 + a * load(products, (n, TURNED, c, r))
                x1 = x1 + a * load(products, (n + 1, TURNED, c, r))
                x2 = x2 + a * load(products, (n + 2, TURNED, c, r))
                x3 = x3 + a * load(products, (n + 3, TURNED, c, r))
            insert(x0, column, 0, m)
            insert(x1, column, 0, m)
            insert(x2, column, 0, m)
            insert(x3, column, 0, m)
        for i in range(count - count % 4, count):
            insert(cosine(z, j, products, TURNED, fixed, first + i, c), column, 0, m)
        for r in range(m):
            insert(load(column, (0, r)), block, r, m)


@compiled
def join(parts: Any, matrix: Any, scale: Any, out: Any, t: int, c: int) -> None:
    """LSA: scale the four parts, weigh them by their own size, and write logits and parts of one text."""
    top = spread(_LOWEST)
    for p in range(4):
        store(parts, (p,), load(parts, (p,)) * scale)
    for q in range(4):
        y = spread(ZERO)
        for p in range(4):
            y = y + load(parts, (p,)) * matrix[p, q]
        store(parts, (4 + q,), y)
        top = largest(top, y)
    total, mean = spread(ZERO), spread(ZERO)
    for p in range(4):
        e = exponential(load(parts, (4 + p,)) - top)
        total = total + e
        mean = mean + e * load(parts, (p,))
        store(out, (1 + p, t, c), load(parts, (p,)))
    store(out, (0, t, c), mean / total)


@compiled
def score_tile(
    products: Any,
    fixed: Any,
    starts: Any,
    real: Any,
    statistics: Any,
    constants: Any,
    over_words: Any,
    over_frames: Any,
    over_both: Any,
    over_parts: Any,
    sharpness: Any,
    scale: Any,
    always_fuse: bool,
    out: Any,
) -> None:
    """Logits and parts ``out (5, T, C, lanes)`` of the texts whose columns are ``starts[t] : starts[t + 1]``.

    products ``(N, 3, C, H · F, lanes)``: attention logits, and ``B w`` for the normalised columns and for the columns
    times their matrix (``W_l`` for words, ``W_g`` for the sentence); fixed ``(N, 3, 2 or 3)``: the same for the last
    rows of ``B``, which all videos share (logits have none); real ``(C, F, lanes)``; statistics, constants:
    ``tcmgc/span.py``.
    """
    keep, columns = over_words.shape[0], products.shape[3] + fixed.shape[2]
    longest = 0
    for t in range(len(starts) - 1):
        longest = max(longest, starts[t + 1] - starts[t])
    alpha = np.empty((columns - 2, LANES), np.float32)
    z = np.empty((longest, columns, LANES), np.float32)
    kept = np.empty((2, keep + 1, LANES), np.float32)
    weights = np.empty((2, keep + 1, LANES), np.float32)
    lines = np.empty((2, keep, LANES), np.float32)
    block = np.empty((keep, keep, LANES), np.float32)
    parts = np.empty((8, LANES), np.float32)
    # Buffers of the size of one text and one group: what a pair needs stays in the nearest caches.
    for c in range(products.shape[2]):
        for t in range(len(starts) - 1):
            first, sentence = starts[t], starts[t + 1] - 1
            count = sentence - first
            m = min(keep, count)
            for n in range(count + 1):
                attend(products, first + n, c, real, alpha)
                coefficients(alpha, c, statistics, constants, z, n)
            store(parts, (0,), cosine(z, count, products, TURNED, fixed, sentence, c))
            keep_rows(z, products, fixed, first, count, c, m, kept)
            store(parts, (1,), aggregate(kept, 0, m, over_words, sharpness, weights))
            size = m
            if count > keep:
                size = m + 1
            elif always_fuse:  # as released: with nothing left to fuse an empty sum, 0, takes part all the same
                store(kept, (1, m), spread(ZERO))
                size = m + 1
            store(parts, (2,), aggregate(kept, 1, size, over_frames, sharpness, weights))
            keep_block(z, products, fixed, first, count, c, m, lines, block)
            store(parts, (3,), aggregate_both(block, m, over_both, sharpness, lines, weights))
            join(parts, over_parts, scale, out, t, c)
