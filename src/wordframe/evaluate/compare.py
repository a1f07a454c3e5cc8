"""Is one run better than another, or was it luck? Paired tests on ranks of the same queries on the same gallery.

Plain functions on arrays of ranks, one row a run (a seed of training), one column a query. Two kinds of luck, kept
apart:

- **queries**: would it hold for other queries? ``paired_bootstrap`` draws videos, each with all its captions, the same
  ones for both sides (and, where a side has several seeds, its seeds, independently); ``paired_permutation`` swaps the
  sides of each video's captions at random: under "no difference" any such swap is as likely as what was seen.
- **seeds of training**: would it hold for other seeds? ``seed_permutation`` deals all runs out anew to the two sides.

Differences are second minus first. p-values are two-sided and not corrected for the number of comparisons made.
Recalls and the reciprocal rank are means over queries and have both; the median rank has an interval only: swaps move
it by halves of a rank or not at all.
Neighbours: ``bootstrap.py`` (draws, and the intervals of one run), ``comparison.py`` (from folders to tables).
Axes: ``S`` runs of a side, ``Q`` queries.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from wordframe.evaluate.bootstrap import draws, numbers_of

Ranks = NDArray[np.integer]
"""``(Q,)`` of one run, or ``(S, Q)`` of several, from 1."""

MEANS = ("recall_at_1", "recall_at_5", "recall_at_10", "mean_reciprocal_rank")
COMPARED = ("recall_at_1", "recall_at_5", "recall_at_10", "median_rank", "mean_reciprocal_rank")
"""Numbers that are compared: recalls in percent, the mean reciprocal rank between 0 and 1."""

_BLOCK_NUMBERS = 4_000_000
_MAX_DEALS = 100_000
_SIDES = np.array([1.0, -1.0])
_ROUNDING = 1e-9
"""Sums of the same numbers in another order must count as equal."""


@dataclass(frozen=True)
class Spread:
    """A number over several runs. std: of a sample (n - 1), None for one run; values: run by run."""

    mean: float
    std: float | None
    low: float
    high: float
    values: tuple[float, ...]


@dataclass(frozen=True)
class Difference:
    """Second minus first. p_queries: by swapping sides; p_seeds: by dealing runs out anew, None for single runs."""

    first: float
    second: float
    difference: float
    low: float
    high: float
    p_queries: float | None
    p_seeds: float | None

    def to_json(self) -> dict[str, float | None]:
        """The fields by name."""
        return asdict(self)


def values_of(ranks: Ranks) -> dict[str, NDArray[np.float64]]:
    """Each query's share in the numbers that are means, ``(S, Q)``: 100 or 0 for a recall, 1 / rank.

    >>> {name: values.tolist() for name, values in values_of(np.array([1, 8])).items()}["recall_at_5"]
    [[100.0, 0.0]]
    """
    rows = _rows("ranks", ranks)
    found = {f"recall_at_{k}": np.where(rows <= k, 100.0, 0.0) for k in (1, 5, 10)}
    found["mean_reciprocal_rank"] = 1.0 / rows.astype(np.float64)
    return found


def numbers(ranks: Ranks) -> dict[str, float]:
    """The compared numbers, each the mean over the runs.

    >>> numbers(np.array([[1, 2], [1, 4]]))["median_rank"]
    2.0
    """
    found = {name: float(values.mean()) for name, values in values_of(ranks).items()}
    return {**found, "median_rank": float(np.median(_rows("ranks", ranks), axis=1).mean())}


def summarize_seeds(ranks: Ranks) -> dict[str, Spread]:
    """Mean and spread of each compared number over the runs of ``ranks (S, Q)``."""
    found = {}
    runs = [numbers(run) for run in _rows("ranks", ranks)]
    for name in COMPARED:
        values = np.array([run[name] for run in runs])
        std = float(values.std(ddof=1)) if len(values) > 1 else None
        found[name] = Spread(
            float(values.mean()), std, float(values.min()), float(values.max()), tuple(values.tolist())
        )
    return found


def paired_bootstrap(
    first: Ranks,
    second: Ranks,
    *,
    clusters: NDArray[np.integer] | None = None,
    samples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """The middle ``level`` of each difference over ``samples`` draws of the queries, and of the seeds.

    Args:
        first, second: ranks of the same queries, ``(Q,)`` or ``(S, Q)``; ``S`` may differ.
        clusters: ``(Q,)`` which queries are drawn together (a caption's video); each alone by default.
    """
    one, two, group = _pair(first, second, clusters)
    if samples < 1 or not 0 < level < 1:
        raise ValueError(f"samples = {samples}, level = {level}; samples is at least 1, level between 0 and 1")
    random = np.random.default_rng(seed)
    drawn = []
    for weights in draws(group, samples, random):  # (B, Q)
        sides = [_drawn(side, weights, random) for side in (one, two)]  # (B, 5)
        drawn.append(sides[1] - sides[0])
    tail = 50.0 * (1.0 - level)
    low, high = np.percentile(np.concatenate(drawn), [tail, 100.0 - tail], axis=0)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(COMPARED)}


def paired_permutation(
    first: Ranks,
    second: Ranks,
    *,
    clusters: NDArray[np.integer] | None = None,
    samples: int = 10_000,
    seed: int = 0,
) -> dict[str, float]:
    """Two-sided p-values of "no difference on these queries", by swapping the two sides of a cluster's queries.

    A query counts with its mean over a side's runs. Where few clusters differ, all swaps are tried and p is exact;
    else ``samples`` random ones, and p = (1 + as extreme ones) / (1 + samples), which never claims too much.
    """
    one, two, group = _pair(first, second, clusters)
    if samples < 1:
        raise ValueError(f"samples = {samples}; at least 1")
    before, after = values_of(one), values_of(two)
    return {
        name: _sign_flips(_sums(after[name].mean(axis=0) - before[name].mean(axis=0), group), samples, seed)
        for name in MEANS
    }


def seed_permutation(first: Ranks, second: Ranks) -> dict[str, float]:
    """Two-sided p-values of "no difference between the ways of training", by dealing the runs out anew.

    The numbers are those of whole runs. All ways of choosing which of them are ``first`` are tried: with 5 and 5 runs
    there are 252, so p is at least 2 / 252 (``smallest_p``). Of more than 100,000 ways as many random ones are tried.
    """
    one, two = _rows("first", first), _rows("second", second)
    if len(one) < 2 or len(two) < 2:
        raise ValueError(f"seeds are compared where each side has at least 2 runs, got {len(one)} and {len(two)}")
    runs = [numbers(run) for run in (*one, *two)]
    values = np.array([[run[name] for name in COMPARED] for run in runs])  # (S1 + S2, 5)
    chosen, exact = _deals(len(one), len(two))  # (N, S1 + S2)
    observed = np.abs(values[len(one) :].mean(axis=0) - values[: len(one)].mean(axis=0))  # (5,)
    dealt = np.abs((1.0 - chosen) @ values / len(two) - chosen @ values / len(one))  # (N, 5)
    extreme = (dealt >= observed - _ROUNDING).sum(axis=0)
    shares = extreme / len(chosen) if exact else (1 + extreme) / (1 + len(chosen))
    return dict(zip(COMPARED, shares.tolist(), strict=True))


def compare_runs(
    first: Ranks,
    second: Ranks,
    *,
    clusters: NDArray[np.integer] | None = None,
    samples: int = 2000,
    permutations: int = 10_000,
    seed: int = 0,
) -> dict[str, Difference]:
    """Everything above for two sides of one or several runs, by the compared number's name."""
    before, after = numbers(first), numbers(second)
    intervals = paired_bootstrap(first, second, clusters=clusters, samples=samples, seed=seed)
    by_query = paired_permutation(first, second, clusters=clusters, samples=permutations, seed=seed)
    several = min(len(_rows("first", first)), len(_rows("second", second))) > 1
    by_seed = seed_permutation(first, second) if several else {}
    return {
        name: Difference(
            before[name],
            after[name],
            after[name] - before[name],
            *intervals[name],
            p_queries=by_query.get(name),
            p_seeds=by_seed.get(name),
        )
        for name in COMPARED
    }


def _rows(name: str, ranks: Ranks) -> NDArray[np.integer]:
    """``(S, Q)``, checked."""
    rows = np.atleast_2d(ranks)
    if rows.ndim != 2 or not rows.size:
        raise ValueError(f"{name} must be ranks (Q,) or (S, Q), at least one; got shape {np.shape(ranks)}")
    if rows.min() < 1:
        raise ValueError(f"{name} holds the rank {rows.min()}; ranks count from 1")
    return rows


def _pair(
    first: Ranks, second: Ranks, clusters: NDArray[np.integer] | None
) -> tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.int64]]:
    """Both sides as ``(S, Q)``, and each query's cluster ``(Q,)`` from 0 on."""
    one, two = _rows("first", first), _rows("second", second)
    if one.shape[1] != two.shape[1]:
        raise ValueError(f"first has {one.shape[1]} queries, second {two.shape[1]}; pairs need the same queries")
    if clusters is not None and clusters.shape != one.shape[1:]:
        raise ValueError(f"clusters must have the shape {one.shape[1:]} of the queries, got {clusters.shape}")
    group = np.arange(one.shape[1]) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    return one, two, group.astype(np.int64)


def _drawn(side: NDArray[np.integer], weights: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.float64]:
    """``(B, 5)`` the compared numbers of ``side (S, Q)`` in each draw of queries; its runs are drawn here."""
    by_run = []
    for ranks in side:
        order = np.argsort(ranks, kind="stable")
        recalls_and_ranks = numbers_of(ranks[order], weights[:, order])  # (B, 5): R@1, R@5, R@10, MdR, MnR
        reciprocal = weights @ (1.0 / ranks) / weights.sum(axis=1)
        by_run.append(np.column_stack([recalls_and_ranks[:, :4], reciprocal]))
    runs = random.multinomial(len(side), np.full(len(side), 1.0 / len(side)), size=len(weights))  # (B, S)
    found: NDArray[np.float64] = np.einsum("bs,sbn->bn", runs / len(side), np.stack(by_run))
    return found


def _sums(values: NDArray[np.float64], group: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum of the values of each cluster, ``(Q,)`` into ``(G,)``."""
    found: NDArray[np.float64] = np.bincount(group, weights=values).astype(np.float64)
    return found


def _deals(first: int, second: int) -> tuple[NDArray[np.float64], bool]:
    """``(N, first + second)``, 1 for the runs that become first; and whether these are all ways."""
    total = first + second
    exact = math.comb(total, first) <= _MAX_DEALS
    if exact:
        ways = np.array(list(itertools.combinations(range(total), first)))
    else:
        ways = np.argsort(np.random.default_rng(0).random((_MAX_DEALS, total)), axis=1)[:, :first]
    chosen = np.zeros((len(ways), total))
    np.put_along_axis(chosen, ways, 1.0, axis=1)
    return chosen, exact


def _sign_flips(differences: NDArray[np.float64], samples: int, seed: int) -> float:
    """p-value of a sum of ``differences (G,)`` under random signs."""
    moving = differences[np.abs(differences) > _ROUNDING]
    if not moving.size:
        return 1.0
    observed = abs(moving.sum()) - _ROUNDING * moving.size
    exact = 2.0**moving.size <= samples
    extreme = sum(
        int((np.abs(signs @ moving) >= observed).sum()) for signs in _signs(moving.size, samples, exact, seed)
    )
    return extreme / 2**moving.size if exact else (1 + extreme) / (1 + samples)


def _signs(count: int, samples: int, exact: bool, seed: int) -> Iterator[NDArray[np.float64]]:
    """Blocks ``(B, count)`` of signs: all of them if ``exact``, else ``samples`` random rows."""
    if exact:
        yield np.array(list(itertools.product((1.0, -1.0), repeat=count)), dtype=np.float64)
        return
    random = np.random.default_rng(seed)
    block = max(1, _BLOCK_NUMBERS // count)
    for start in range(0, samples, block):
        rows = min(block, samples - start)
        yield random.choice(_SIDES, size=(rows, count))


def smallest_p(first: Ranks, second: Ranks) -> float:
    """The least p that ``seed_permutation`` can give with so many runs.

    >>> smallest_p(np.ones((5, 9), int), np.ones((5, 9), int))
    0.007936507936507936
    """
    one, two = len(_rows("first", first)), len(_rows("second", second))
    return (2 if one == two else 1) / math.comb(one + two, one)
