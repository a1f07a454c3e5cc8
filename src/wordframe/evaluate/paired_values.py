"""The paired tests of ``compare.py`` for means over queries that are no ranks, such as the numbers of ``moments.py``.

Axes: ``S`` runs of a side, ``Q`` queries, ``G`` clusters of queries (videos).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wordframe.evaluate.compare import Difference, Spread
from wordframe.evaluate.intervals import clustered_error, crossed_half_width
from wordframe.evaluate.permutation import cluster_sums, dealt_out, sign_flips

Values = NDArray[np.floating]
"""``(Q,)`` of one run, or ``(S, Q)`` of several."""


def spread_of(values: Values) -> Spread:
    """Mean and spread over the runs of their means.

    >>> spread_of(np.array([[0.0, 1.0], [1.0, 1.0]])).values
    (0.5, 1.0)
    """
    runs = np.atleast_2d(values).mean(axis=1, dtype=np.float64)
    std = float(runs.std(ddof=1)) if len(runs) > 1 else None
    return Spread(float(runs.mean()), std, float(runs.min()), float(runs.max()), tuple(runs.tolist()))


def compare_values(
    first: Values,
    second: Values,
    *,
    clusters: NDArray[np.integer] | None = None,
    permutations: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Difference:
    """Two means of numbers of the same queries, ``(Q,)`` or ``(S, Q)`` each; ``S`` may differ.

    The interval is that of ``paired_intervals``, with the variance of means over whole clusters instead of a bootstrap;
    p by swapping the sides of a cluster, and, where both sides have several runs, by dealing these out anew.

    Raises:
        ValueError: the sides are not pairs, or there is a single cluster, which does not vary.

    >>> compare_values(np.array([0.0, 1.0]), np.array([1.0, 1.0])).difference
    0.5
    """
    one, two = (np.atleast_2d(side).astype(np.float64) for side in (first, second))
    if one.shape[1:] != two.shape[1:] or one.ndim != 2 or (clusters is not None and clusters.shape != one.shape[1:]):
        raise ValueError(f"pairs need as many queries on both sides, got {first.shape} and {second.shape}")
    group = np.arange(one.shape[1]) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    num_clusters = int(group.max()) + 1
    if num_clusters < 2:
        raise ValueError("an interval needs queries of at least 2 videos; a single one does not vary")
    change = two.mean(axis=0) - one.mean(axis=0)  # (Q,)
    sizes = np.bincount(group).astype(np.float64)  # (G,)

    def variance(values: NDArray[np.float64]) -> float:
        """Of the mean of ``values (Q,)``, over clusters."""
        return float(clustered_error(np.ones((1, num_clusters)), cluster_sums(values, group), sizes)[1][0]) ** 2

    by_seeds, in_both, seed_weight = 0.0, 0.0, 0.0
    for side in (one, two):
        if len(side) > 1:
            seeds = float(side.mean(axis=1).var(ddof=1)) / len(side)
            by_seeds += seeds
            seed_weight += seeds**2 / (len(side) - 1)
            # the luck of a seed on a query
            in_both += sum(map(variance, side - side.mean(axis=0))) / (len(side) - 1) / len(side)
    half = crossed_half_width(variance(change), by_seeds, in_both, seed_weight, num_clusters=num_clusters, level=level)
    difference, several = float(change.mean()), min(len(one), len(two)) > 1
    return Difference(
        float(one.mean()),
        float(two.mean()),
        difference,
        difference - half,
        difference + half,
        p_queries=sign_flips(cluster_sums(change, group), permutations, seed),
        p_seeds=float(dealt_out(one.mean(axis=1)[:, None], two.mean(axis=1)[:, None])[0]) if several else None,
    )
