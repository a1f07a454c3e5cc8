"""Is one run better than another, or was it luck? Paired tests on ranks of the same queries on the same gallery.

Plain functions on arrays of ranks, one row a run (a seed of training), one column a query. Two kinds of luck:

- **queries**: would it hold for other queries? ``paired_permutation`` swaps the sides of each video's captions at
  random: under "no difference" any such swap is as likely as what was seen.
- **seeds of training**: would it hold for other seeds? ``seed_permutation`` deals all runs out anew to the two sides.
  Few runs can be dealt out in few ways: 3 against 3 never give less than 0.1, 4 against 4 can give 0.029.

``paired_intervals`` is about both at once: other queries and other seeds. Its variance is that over queries plus that
over seeds less what is in both, as for any numbers that are crossed two ways (Cameron, Gelbach and Miller, Journal
of Business & Economic Statistics 29, 2011). Drawing queries *and* seeds anew in one bootstrap counts the luck of a
seed on a query three times (Owen, Annals of Applied Statistics 1, 2007): such an interval is up to 1.7 times too wide.

Differences are second minus first. p-values are two-sided and not corrected for the number of comparisons made.
Recalls and the reciprocal rank are means over queries and have both; the median rank has an interval only: swaps move
it by halves of a rank or not at all.
Neighbours: ``intervals.py`` (those of one run), ``permutation.py`` (swaps and deals), ``paired_values.py`` (the same
for numbers that are no ranks), ``runs.py`` (from folders to tables).
Axes: ``S`` runs of a side, ``Q`` queries, ``C`` clusters of queries (videos), ``B`` draws.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from wordframe.evaluate.intervals import crossed_half_width, drawn
from wordframe.evaluate.permutation import cluster_sums, dealt_out, sign_flips

RankRows = NDArray[np.integer]
"""``(Q,)`` of one run, or ``(S, Q)`` of several, from 1."""

MEANS = ("recall_at_1", "recall_at_5", "recall_at_10", "mean_reciprocal_rank")
COMPARED = ("recall_at_1", "recall_at_5", "recall_at_10", "median_rank", "mean_reciprocal_rank")
"""Numbers that are compared: recalls in percent, the mean reciprocal rank between 0 and 1."""

_BLOCK_NUMBERS = 4_000_000
"""Of one block of draws: 32 MB, however many queries there are."""


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


def values_of(ranks: RankRows) -> dict[str, NDArray[np.float64]]:
    """Each query's share in the numbers that are means, ``(S, Q)``: 100 or 0 for a recall, 1 / rank.

    >>> {name: values.tolist() for name, values in values_of(np.array([1, 8])).items()}["recall_at_5"]
    [[100.0, 0.0]]
    """
    rows = _rows("ranks", ranks)
    found = {f"recall_at_{k}": np.where(rows <= k, 100.0, 0.0) for k in (1, 5, 10)}
    found["mean_reciprocal_rank"] = 1.0 / rows.astype(np.float64)
    return found


def numbers(ranks: RankRows) -> dict[str, float]:
    """The compared numbers, each the mean over the runs.

    >>> numbers(np.array([[1, 2], [1, 4]]))["median_rank"]
    2.0
    """
    found = {name: float(values.mean()) for name, values in values_of(ranks).items()}
    return {**found, "median_rank": float(np.median(_rows("ranks", ranks), axis=1).mean())}


def summarize_seeds(ranks: RankRows) -> dict[str, Spread]:
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


def paired_intervals(
    first: RankRows,
    second: RankRows,
    *,
    clusters: NDArray[np.integer] | None = None,
    samples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Where each difference may lie for other queries, and for other seeds of the sides that have several runs.

    The difference ± t · its standard error, with Satterthwaite's degrees of freedom: few runs make it wide where seeds
    matter, and leave it alone where they do not. In simulations 95 % intervals cover 93 to 97 % with three seeds a
    side, 91 to 97 % with two, and 89 % at the least with 5 against 2. Variances over queries come from a bootstrap of
    whole clusters, the same ones for both sides, since a median has no simpler one. The luck of a side's only run
    cannot be seen and does not count.

    Args:
        first, second: ranks of the same queries, ``(Q,)`` or ``(S, Q)``; ``S`` may differ.
        clusters: ``(Q,)`` which queries belong together (a caption's video); each is alone by default.

    Raises:
        ValueError: the sides are not pairs, or there is a single cluster, which does not vary.
    """
    one, two, group = _pair(first, second, clusters)
    num_clusters = int(group.max()) + 1
    if samples < 2 or not 0 < level < 1:
        raise ValueError(f"samples = {samples}, level = {level}; samples is at least 2, level between 0 and 1")
    if num_clusters < 2:
        raise ValueError("an interval needs queries of at least 2 videos; a single one does not vary")
    correction = num_clusters / (num_clusters - 1)  # a bootstrap's variance is that over n, not over n - 1
    drawn_one, drawn_two = _drawn_numbers((one, two), group, samples, seed)  # (B, S, 5)
    change = drawn_two.mean(axis=1) - drawn_one.mean(axis=1)  # (B, 5)
    by_queries = correction * change.var(axis=0)  # (5,)
    by_seeds, in_both, seed_weight = np.zeros((3, len(COMPARED)))
    for side, drawn_side in ((one, drawn_one), (two, drawn_two)):
        if len(side) < 2:
            continue
        seeds = _per_run(side).var(axis=0, ddof=1) / len(side)  # (5,)
        by_seeds += seeds
        seed_weight += np.square(seeds) / (len(side) - 1)
        # the luck of a seed on a query: how runs of a side move apart when queries are drawn
        apart = drawn_side - drawn_side.mean(axis=1, keepdims=True)
        in_both += correction * apart.var(axis=0).sum(axis=0) / (len(side) - 1) / len(side)
    observed = _per_run(two).mean(axis=0) - _per_run(one).mean(axis=0)
    found = {}
    for at, name in enumerate(COMPARED):
        half = crossed_half_width(
            by_queries[at], by_seeds[at], in_both[at], seed_weight[at], num_clusters=num_clusters, level=level
        )
        found[name] = (float(observed[at]) - half, float(observed[at]) + half)
    return found


def paired_permutation(
    first: RankRows,
    second: RankRows,
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
        name: sign_flips(cluster_sums(after[name].mean(axis=0) - before[name].mean(axis=0), group), samples, seed)
        for name in MEANS
    }


def seed_permutation(first: RankRows, second: RankRows) -> dict[str, float]:
    """Two-sided p-values of "no difference between the ways of training", by dealing the runs out anew.

    The numbers are those of whole runs. All ways of choosing which of them are ``first`` are tried: with 5 and 5 runs
    there are 252, so p is at least 2 / 252 (``smallest_p``). Of more than 100,000 ways as many random ones are tried.
    """
    one, two = _rows("first", first), _rows("second", second)
    if len(one) < 2 or len(two) < 2:
        raise ValueError(f"seeds are compared where each side has at least 2 runs, got {len(one)} and {len(two)}")
    return dict(zip(COMPARED, dealt_out(_per_run(one), _per_run(two)).tolist(), strict=True))


def compare_runs(
    first: RankRows,
    second: RankRows,
    *,
    clusters: NDArray[np.integer] | None = None,
    samples: int = 2000,
    permutations: int = 10_000,
    seed: int = 0,
) -> dict[str, Difference]:
    """Everything above for two sides of one or several runs, by the compared number's name."""
    before, after = numbers(first), numbers(second)
    intervals = paired_intervals(first, second, clusters=clusters, samples=samples, seed=seed)
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


def _rows(name: str, ranks: RankRows) -> NDArray[np.integer]:
    """``(S, Q)``, checked."""
    rows = np.atleast_2d(ranks)
    if rows.ndim != 2 or not rows.size:
        raise ValueError(f"{name} must be ranks (Q,) or (S, Q), at least one; got shape {np.shape(ranks)}")
    if rows.min() < 1:
        raise ValueError(f"{name} holds the rank {rows.min()}; ranks count from 1")
    return rows


def _pair(
    first: RankRows, second: RankRows, clusters: NDArray[np.integer] | None
) -> tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.int64]]:
    """Both sides as ``(S, Q)``, and each query's cluster ``(Q,)`` from 0 on."""
    one, two = _rows("first", first), _rows("second", second)
    if one.shape[1] != two.shape[1]:
        raise ValueError(f"first has {one.shape[1]} queries, second {two.shape[1]}; pairs need the same queries")
    if clusters is not None and clusters.shape != one.shape[1:]:
        raise ValueError(f"clusters must have the shape {one.shape[1:]} of the queries, got {clusters.shape}")
    group = np.arange(one.shape[1]) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    return one, two, group.astype(np.int64)


def _per_run(side: NDArray[np.integer]) -> NDArray[np.float64]:
    """``(S, 5)`` the compared numbers of each run."""
    return np.array([[found[name] for name in COMPARED] for found in (numbers(run) for run in side)])


def _drawn_numbers(
    sides: tuple[NDArray[np.integer], ...], group: NDArray[np.int64], samples: int, seed: int
) -> list[NDArray[np.float64]]:
    """``(B, S, 5)`` the compared numbers of each run of each side, in the same draws of clusters."""
    num_clusters = int(group.max()) + 1
    random = np.random.default_rng(seed)
    block = max(1, _BLOCK_NUMBERS // len(group))
    found: list[list[NDArray[np.float64]]] = [[] for _ in sides]
    for start in range(0, samples, block):
        weights = drawn(num_clusters, min(block, samples - start), random)[:, group]  # (B, Q)
        for side, blocks in zip(sides, found, strict=True):
            blocks.append(np.stack([_weighted_numbers(run, weights) for run in side], axis=1))
    return [np.concatenate(blocks) for blocks in found]


def _weighted_numbers(ranks: NDArray[np.integer], weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """``(B, 5)`` the compared numbers of ranks ``(Q,)``, each counted ``weights (B, Q)`` times."""
    order = np.argsort(ranks, kind="stable")
    ascending, counted = ranks[order], weights[:, order].cumsum(axis=1)  # (Q,), (B, Q)
    total = counted[:, -1]  # (B,)
    columns = []
    for k in (1, 5, 10):
        stop = int(np.searchsorted(ascending, k, side="right"))
        columns.append(100.0 * counted[:, stop - 1] / total if stop else np.zeros(len(total)))
    lower = ascending[(counted <= ((total - 1) // 2)[:, None]).sum(axis=1)]
    upper = ascending[(counted <= (total // 2)[:, None]).sum(axis=1)]
    columns += [(lower + upper) / 2.0, weights @ (1.0 / ranks) / total]
    return np.stack(columns, axis=1)
