"""How sure a recall is: 95 % bootstrap intervals over queries (Efron, 1979; percentile method).

Queries are drawn anew with replacement and the number is computed again, ``samples`` times; the interval holds the
middle 95 %. Captions of one video are not independent, so videos are drawn, each with all its captions (``clusters``).
The gallery stays as it is: an interval tells how far a number would move with other queries on this gallery, not with
another gallery, another seed of training, or fewer candidates. Where all queries succeed, or all fail, it has no width.
Neighbours: ``metrics.py`` calls it, ``report.py`` prints it, ``figure.py`` draws it, ``compare.py`` draws pairs alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Intervals = dict[str, tuple[float, float]]
"""``{"recall_at_1": (low, high), …}``, recalls in percent."""

NAMES = ("recall_at_1", "recall_at_5", "recall_at_10", "median_rank", "mean_rank")
_BLOCK_NUMBERS = 4_000_000
"""Numbers of one block ``(B, Q)`` of draws: 32 MB in int64, however many queries there are."""


def bootstrap_intervals(
    ranks: NDArray[np.integer],
    *,
    clusters: NDArray[np.integer] | None = None,
    samples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Intervals:
    """The middle ``level`` of each number over ``samples`` draws of the queries.

    Args:
        ranks: ``(Q,)`` from 1.
        clusters: ``(Q,)`` which queries are drawn together (a caption's video); each alone by default.
        seed: the same seed gives the same intervals.

    >>> bootstrap_intervals(np.array([1, 1, 1]))["recall_at_1"]
    (100.0, 100.0)
    """
    if ranks.ndim != 1 or not ranks.size:
        raise ValueError(f"ranks must be one number a query (Q,), Q at least 1; got shape {ranks.shape}")
    if clusters is not None and clusters.shape != ranks.shape:
        raise ValueError(f"clusters must have the shape {ranks.shape} of ranks, got {clusters.shape}")
    if samples < 1 or not 0 < level < 1:
        raise ValueError(f"samples = {samples}, level = {level}; samples is at least 1, level between 0 and 1")
    order = np.argsort(ranks, kind="stable")
    ascending = ranks[order]  # (Q,)
    group = np.arange(ranks.size) if clusters is None else np.unique(clusters[order], return_inverse=True)[1]
    drawn = [numbers_of(ascending, weights) for weights in draws(group, samples, np.random.default_rng(seed))]
    tail = 50.0 * (1.0 - level)
    low, high = np.percentile(np.concatenate(drawn), [tail, 100.0 - tail], axis=0)  # (5,), (5,)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(NAMES)}


def recall_curve(
    ranks: NDArray[np.integer],
    places: Sequence[int],
    *,
    clusters: NDArray[np.integer] | None = None,
    samples: int = 500,
    seed: int = 0,
    level: float = 0.95,
) -> NDArray[np.float64]:
    """``(3, K)``: recall in percent at each of ``places``, the low and the high end of its interval.

    >>> recall_curve(np.array([1, 3]), [1, 3])[0]
    array([ 50., 100.])
    """
    order = np.argsort(ranks, kind="stable")
    stops = np.searchsorted(ranks[order], places, side="right")  # (K,)
    group = np.arange(ranks.size) if clusters is None else np.unique(clusters[order], return_inverse=True)[1]
    drawn = []
    for weights in draws(group, samples, np.random.default_rng(seed)):
        counted = np.pad(weights.cumsum(axis=1), ((0, 0), (1, 0)))  # (B, Q + 1)
        drawn.append(100.0 * counted[:, stops] / counted[:, -1:])
    tail = 50.0 * (1.0 - level)
    low, high = np.percentile(np.concatenate(drawn), [tail, 100.0 - tail], axis=0)
    return np.stack([100.0 * stops / ranks.size, low, high])


def draws(group: NDArray[np.integer], samples: int, random: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Blocks ``(B, Q)`` of how often each query was drawn, ``samples`` rows in all."""
    num_groups = int(group.max()) + 1
    block = max(1, _BLOCK_NUMBERS // group.size)
    for start in range(0, samples, block):
        rows = min(block, samples - start)
        chosen = random.integers(num_groups, size=(rows, num_groups)) + num_groups * np.arange(rows)[:, None]
        times = np.bincount(chosen.ravel(), minlength=rows * num_groups).reshape(rows, num_groups)
        yield times[:, group]  # (B, Q)


def numbers_of(ascending: NDArray[np.integer], weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """``(B, 5)``, the five ``NAMES`` of ranks ``(Q,)`` in ascending order, each counted ``weights (B, Q)`` times."""
    counted = weights.cumsum(axis=1)  # (B, Q)
    total = counted[:, -1]  # (B,)
    columns = []
    for k in (1, 5, 10):
        stop = int(np.searchsorted(ascending, k, side="right"))
        columns.append(100.0 * counted[:, stop - 1] / total if stop else np.zeros(len(total)))
    lower = ascending[(counted <= ((total - 1) // 2)[:, None]).sum(axis=1)]
    upper = ascending[(counted <= (total // 2)[:, None]).sum(axis=1)]
    columns += [(lower + upper) / 2.0, weights @ ascending.astype(np.float64) / total]
    return np.stack(columns, axis=1)
