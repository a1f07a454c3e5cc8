"""How sure the numbers of one evaluation are: 95 % intervals over queries.

Other queries on this gallery would give other numbers; an interval says how far off they may be. It does not speak of
another gallery, another seed of training, or fewer candidates. Each number has the interval that covers for it, also
in a folder of forty videos, where the plain percentile bootstrap of a recall of 5 % covers 85 % instead of 95 %:

- **recalls**: Wilson's score interval (1927; Newcombe, Statistics in Medicine 17, 1998). It has a width where all
  queries succeed or all fail, too.
- **median rank**: order statistics at Wilson's limits for one half (Woodruff, JASA 47, 1952); no shape is assumed. With
  fewer than six independent queries no two ranks enclose the median that often, and it may lie anywhere.
- **mean rank**: bootstrap-t (Efron, 1982), which follows the long tail that ranks have. Where all ranks are equal it
  has no width: they say nothing about the ranks that did not come up.

Captions of one video are not independent: a video counts with all its captions (``clusters``). Recalls and the median
then rest on the effective number of queries, and on Student's t of the number of videos (Korn and Graubard, Survey
Methodology 24, 1998); the bootstrap draws whole videos.
Neighbours: ``metrics.py`` calls it, ``report.py`` prints and draws it, ``compare.py`` has the intervals of differences.
Axes: ``Q`` queries, ``C`` clusters, ``B`` draws.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Intervals = dict[str, tuple[float, float]]
"""``{"recall_at_1": (low, high), …}``, recalls in percent."""

NAMES = ("recall_at_1", "recall_at_5", "recall_at_10", "median_rank", "mean_rank")
METHODS = {
    "recall": "Wilson score interval; with several captions a video on the effective number of queries",
    "median_rank": "order statistics at the limits of Wilson's interval for one half (Woodruff)",
    "mean_rank": "bootstrap-t over videos",
}
"""What each kind of number has, as reports name it."""

_PSEUDO_WEIGHT = 0.5
_BLOCK_NUMBERS = 4_000_000
"""Numbers of one block ``(B, C)`` of draws: 32 MB in int64, however many clusters there are."""
_LEAST_ERROR = 1e-9
"""Stands for a standard error of zero, so that a draw of equal ranks gives a huge t and no NaN."""
_ANGLES = 20_001


def rank_intervals(
    ranks: NDArray[np.integer],
    *,
    gallery: int,
    clusters: NDArray[np.integer] | None = None,
    samples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Intervals:
    """An interval for each of ``NAMES``, by the methods that the module's docstring names.

    Args:
        ranks: ``(Q,)`` from 1.
        gallery: the number of candidates, which no rank exceeds.
        clusters: ``(Q,)`` which queries belong together (a caption's video); each is alone by default.
        samples: draws for the mean rank.
        seed: of these draws; the same seed gives the same interval.

    >>> low, high = rank_intervals(np.array([1, 1, 1, 1]), gallery=9)["recall_at_1"]
    >>> f"{low:.1f} to {high:.1f}"
    '51.0 to 100.0'
    """
    if ranks.ndim != 1 or not ranks.size:
        raise ValueError(f"ranks must be one number a query (Q,), Q at least 1; got shape {ranks.shape}")
    if clusters is not None and clusters.shape != ranks.shape:
        raise ValueError(f"clusters must have the shape {ranks.shape} of ranks, got {clusters.shape}")
    if samples < 1 or not 0 < level < 1:
        raise ValueError(f"samples = {samples}, level = {level}; samples is at least 1, level between 0 and 1")
    grouping = _Grouping.of(ranks.size, clusters)
    found = {f"recall_at_{k}": _recall(ranks <= k, grouping, level) for k in (1, 5, 10)}
    found["median_rank"] = _median(np.sort(ranks), ranks <= np.median(ranks), grouping, gallery, level)
    found["mean_rank"] = _mean(ranks, grouping, (1.0, float(gallery)), samples, seed, level)
    return found


def recall_curve(
    ranks: NDArray[np.integer],
    places: Sequence[int],
    *,
    clusters: NDArray[np.integer] | None = None,
    level: float = 0.95,
) -> NDArray[np.float64]:
    """``(3, K)``: recall in percent at each of ``places``, the low and the high end of its interval.

    >>> recall_curve(np.array([1, 3]), [1, 3])[0]
    array([ 50., 100.])
    """
    grouping = _Grouping.of(ranks.size, clusters)
    columns = [(100.0 * float(np.mean(ranks <= k)), *_recall(ranks <= k, grouping, level)) for k in places]
    return np.array(columns).T


def share_interval(
    hits: NDArray[np.bool_], *, clusters: NDArray[np.integer] | None = None, level: float = 0.95
) -> tuple[float, float]:
    """In percent, of the share of ``hits (Q,)``: as a recall's."""
    return _recall(hits, _Grouping.of(hits.size, clusters), level)


def mean_interval(
    values: NDArray[np.floating],
    *,
    lowest: float,
    highest: float,
    clusters: NDArray[np.integer] | None = None,
    samples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Of the mean of ``values (Q,)``, which lie between ``lowest`` and ``highest``: the bootstrap-t over clusters."""
    return _mean(values, _Grouping.of(values.size, clusters), (lowest, highest), samples, seed, level)


def wilson(share: float, count: float, quantile: float) -> tuple[float, float]:
    """Wilson's interval of a share in 0 to 1 seen in ``count`` independent trials (which need not be a whole number).

    >>> [round(end, 4) for end in wilson(81 / 263, 263, 1.959964)]
    [0.2553, 0.3662]
    """
    square = quantile * quantile
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = quantile * math.sqrt(share * (1 - share) / count + square / (4 * count * count)) / (1 + square / count)
    # at shares of 0 and 1 an end is the share itself; rounding would put it just outside
    return max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))


@functools.lru_cache(maxsize=64)
def student_quantile(level: float, degrees: float) -> float:
    """The t that Student's distribution stays within, ``[-t, t]``, with probability ``level``; 1 degree or more.

    >>> round(student_quantile(0.95, 4), 3)
    2.776
    """
    degrees = min(degrees, 1e5)  # it is normal by then, and narrower than the grid
    # t = sqrt(degrees) · tan(angle) turns the density into a power of a cosine on a finite range
    angles = np.linspace(0.0, math.pi / 2, _ANGLES)
    density = np.cos(angles) ** (degrees - 1)
    covered = np.cumsum(density[1:] + density[:-1])
    angle = np.interp(level, np.concatenate([[0.0], covered / covered[-1]]), angles)
    return math.sqrt(degrees) * math.tan(angle)


@dataclass(frozen=True)
class _Grouping:
    """Which queries belong together. group: ``(Q,)`` from 0 on; sizes: ``(C,)`` queries of each cluster."""

    group: NDArray[np.int64]
    sizes: NDArray[np.float64]

    @classmethod
    def of(cls, num_queries: int, clusters: NDArray[np.integer] | None) -> _Grouping:
        group = np.arange(num_queries) if clusters is None else np.unique(clusters, return_inverse=True)[1]
        return cls(group, np.bincount(group).astype(np.float64))

    @property
    def independent(self) -> bool:
        return len(self.sizes) == len(self.group)

    def sums(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Sum of the values ``(Q,)`` in each cluster, ``(C,)``."""
        found: NDArray[np.float64] = np.bincount(self.group, weights=values).astype(np.float64)
        return found

    def quantile(self, level: float) -> float:
        """Normal for independent queries, else Student's with the clusters' degrees of freedom."""
        if self.independent:
            return NormalDist().inv_cdf(0.5 + level / 2)
        return student_quantile(level, max(len(self.sizes) - 1, 1))

    def effective_count(self, hits: NDArray[np.bool_]) -> float:
        """How many independent queries would tell as much as these do about the share of ``hits (Q,)``.

        The number of queries by the design effect: how much the share varies over clusters against how much it would
        over as many independent queries (Kish, Survey Sampling, 1965). A few hits in one cluster out of many show no
        sign of how alike its queries are. So half a cluster of hits and half a cluster of misses are added in
        estimating the effect: with few hits it leans towards queries that are alike, with many it does not matter.
        """
        if self.independent:
            return float(len(hits))
        part = _PSEUDO_WEIGHT * self.sizes.mean()
        sizes, found = np.append(self.sizes, [part, part]), np.append(self.sums(hits), [part, 0.0])
        total, share = sizes.sum(), found.sum() / sizes.sum()
        variance = len(sizes) / (len(sizes) - 1) * np.square(found - share * sizes).sum() / total**2
        effect = variance / (share * (1 - share) / total)
        return len(hits) / max(float(effect), 1.0)


def _recall(hits: NDArray[np.bool_], grouping: _Grouping, level: float) -> tuple[float, float]:
    """In percent, of the share of ``hits (Q,)``."""
    low, high = wilson(float(hits.mean()), grouping.effective_count(hits), grouping.quantile(level))
    return 100.0 * low, 100.0 * high


def _median(
    ascending: NDArray[np.integer], lower_half: NDArray[np.bool_], grouping: _Grouping, gallery: int, level: float
) -> tuple[float, float]:
    """Of ranks ``(Q,)``; ``lower_half (Q,)`` says, in the clusters' order, which are at most the median."""
    count = grouping.effective_count(lower_half)
    low = wilson(0.5, count, grouping.quantile(level))[0]
    if low * count < 1:  # not even the lowest and the highest rank would enclose the median often enough
        return 1.0, float(gallery)
    place = int(low * len(ascending))
    # the place-th from below and from above, counted from 1
    return float(ascending[place - 1]), float(ascending[len(ascending) - place])


def _mean(
    values: NDArray[Any], grouping: _Grouping, limits: tuple[float, float], samples: int, seed: int, level: float
) -> tuple[float, float]:
    """Of values ``(Q,)`` that lie within ``limits``: the error of a mean over its standard error, drawing clusters."""
    sizes, sums = grouping.sizes, grouping.sums(values)  # (C,), (C,)
    if len(sizes) < 2:
        return limits
    mean = float(values.mean())
    error = float(clustered_error(np.ones((1, len(sizes))), sums, sizes)[1][0])
    scores = []
    random = np.random.default_rng(seed)
    block = max(1, _BLOCK_NUMBERS // len(sizes))
    for start in range(0, samples, block):
        weights = drawn(len(sizes), min(block, samples - start), random)  # (B, C)
        means, errors = clustered_error(weights, sums, sizes)
        scores.append((means - mean) / np.maximum(errors, _LEAST_ERROR))
    tail = 50.0 * (1.0 - level)
    low, high = np.percentile(np.concatenate(scores), [tail, 100.0 - tail])
    # the upper tail of the error bounds the mean from below: where a draw is too high, the truth is lower
    return max(limits[0], mean - float(high) * error), min(limits[1], mean - float(low) * error)


def clustered_error(
    weights: NDArray[Any], sums: NDArray[np.float64], sizes: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard error ``(B,)`` each of clusters counted ``weights (B, C)`` times; a ratio, linearised."""
    counts = weights @ sizes  # (B,)
    means = weights @ sums / counts
    squares = weights @ (sums * sums) - 2 * means * (weights @ (sums * sizes)) + means**2 * (weights @ (sizes * sizes))
    correction = len(sizes) / (len(sizes) - 1)
    return means, np.sqrt(correction * np.maximum(squares, 0.0)) / counts


def crossed_half_width(
    by_queries: float, by_seeds: float, in_both: float, seed_weight: float, *, num_clusters: int, level: float
) -> float:
    """Half the width of the interval of a difference that is subject to the luck of queries and of seeds.

    Student's t times the standard error, with Satterthwaite's degrees of freedom.

    Args:
        by_queries: variance over clusters of queries; by_seeds: over seeds, of both sides together; in_both: what is in
            either; seed_weight: sum over the sides of the squared variance over seeds by its degrees of freedom.
    """
    # the estimate of what seeds add can be negative, the truth cannot
    added = max(by_seeds - in_both, 0.0)
    variance = by_queries + added
    if variance <= 0:
        return 0.0
    # Few seeds leave few degrees of freedom, but only to the share of their variance that queries do not explain:
    # counted in full they widen the interval by half where seeds do not matter at all.
    share = added / by_seeds if by_seeds > 0 else 0.0
    weight = by_queries**2 / (num_clusters - 1) + share * seed_weight
    return student_quantile(level, max(1.0, variance**2 / weight)) * math.sqrt(variance)


def drawn(num_clusters: int, samples: int, random: np.random.Generator) -> NDArray[np.int64]:
    """``(B, C)``: how often each cluster comes up when as many as there are are drawn with replacement."""
    chosen = random.integers(num_clusters, size=(samples, num_clusters)) + num_clusters * np.arange(samples)[:, None]
    return np.bincount(chosen.ravel(), minlength=samples * num_clusters).reshape(samples, num_clusters)
