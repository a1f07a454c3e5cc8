"""Paired comparison: against exact enumeration and plain versions, honest under "no difference", refusals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from wordframe.evaluate.bootstrap import draws

from wordframe.evaluate import compare, compare_runs, summarize_seeds
from wordframe.evaluate.compare import (
    COMPARED,
    MEANS,
    numbers,
    paired_bootstrap,
    paired_permutation,
    seed_permutation,
    smallest_p,
)


def random_ranks(*shape: int, seed: int = 0, top: int = 15) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, top, size=shape)


def plain_numbers(ranks: np.ndarray) -> list[float]:
    recalls = [100.0 * float(np.mean(ranks <= k)) for k in (1, 5, 10)]
    return [*recalls, float(np.median(ranks)), float(np.mean(1.0 / ranks))]


def test_numbers_are_means_over_runs() -> None:
    ranks = random_ranks(3, 20)
    expected = np.mean([plain_numbers(run) for run in ranks], axis=0)
    found = numbers(ranks)
    np.testing.assert_allclose([found[name] for name in COMPARED], expected)


def test_p_is_that_of_all_swaps() -> None:
    """Five videos with one to three captions: 32 ways of swapping the sides, tried one by one."""
    clusters = np.repeat(np.arange(5), [1, 2, 3, 2, 1])
    first, second = random_ranks(9, seed=1), random_ranks(9, seed=2)
    found = paired_permutation(first, second, clusters=clusters)
    for at, name in enumerate(COMPARED):
        if name not in MEANS:
            continue
        observed = plain_numbers(second)[at] - plain_numbers(first)[at]
        extreme = 0
        for swapped in itertools.product([False, True], repeat=5):
            swap = np.array(swapped)[clusters]
            one, two = np.where(swap, second, first), np.where(swap, first, second)
            extreme += abs(plain_numbers(two)[at] - plain_numbers(one)[at]) >= abs(observed) - 1e-9
        assert found[name] == pytest.approx(extreme / 32)


def test_random_swaps_come_near_all_of_them() -> None:
    first, second = random_ranks(12, seed=3), random_ranks(12, seed=4)
    exact = paired_permutation(first, second, samples=4096)
    drawn = paired_permutation(first, second, samples=4000)
    for name in MEANS:
        assert drawn[name] == pytest.approx(exact[name], abs=0.03)
        assert drawn[name] >= 1 / 4001


def test_captions_of_a_video_are_swapped_together() -> None:
    """Twenty captions that all change alike are one observation, not twenty."""
    first, second = np.full(60, 2), np.full(60, 1)
    assert paired_permutation(first, second)["recall_at_1"] < 0.001
    clusters = np.repeat(np.arange(3), 20)
    assert paired_permutation(first, second, clusters=clusters)["recall_at_1"] == pytest.approx(2 / 8)


def test_p_is_uniform_where_nothing_differs() -> None:
    """Two runs of equal worth: p below 0.1 in about a tenth of all worlds, never much more."""
    random = np.random.default_rng(5)
    ps = [
        paired_permutation(*random.geometric(0.2, size=(2, 60)), samples=199, seed=world)["mean_reciprocal_rank"]
        for world in range(300)
    ]
    for level in (0.1, 0.5):
        share = float(np.mean(np.array(ps) <= level))
        assert abs(share - level) < 4 * np.sqrt(level * (1 - level) / 300)


def test_a_real_difference_is_found() -> None:
    random = np.random.default_rng(6)
    first = random.geometric(0.2, size=300)
    second = np.maximum(first - random.integers(0, 3, size=300), 1)
    found = compare_runs(first, second)
    for name in ("recall_at_1", "recall_at_5", "mean_reciprocal_rank"):
        assert found[name].difference > 0
        assert found[name].p_queries is not None
        assert found[name].p_queries < 0.001
        assert found[name].low > 0
    assert found["median_rank"].p_queries is None


def test_the_same_run_twice_differs_in_nothing() -> None:
    ranks = random_ranks(30)
    for name, found in compare_runs(ranks, ranks).items():
        assert (found.difference, found.low, found.high, found.p_seeds) == (0, 0, 0, None)
        assert found.p_queries == (1.0 if name in MEANS else None)


def test_intervals_are_those_of_drawing_by_hand() -> None:
    clusters = np.array([0, 0, 1, 2, 2, 2, 3])
    first, second = random_ranks(7, seed=7), random_ranks(7, seed=8)
    drawn = []
    for weights in draws(clusters, 200, np.random.default_rng(9)):
        for times in weights:
            sides = [plain_numbers(np.repeat(ranks, times)) for ranks in (first, second)]
            drawn.append(np.array(sides[1]) - sides[0])
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    found = paired_bootstrap(first, second, clusters=clusters, samples=200, seed=9)
    np.testing.assert_allclose([found[name] for name in COMPARED], np.stack([low, high], axis=1))


def test_pairing_narrows_the_interval() -> None:
    """Runs that share their luck differ less than two runs on queries of their own."""
    first = random_ranks(400, top=8)
    second = np.where(np.arange(400) % 10 == 0, 1, first)
    low, high = paired_bootstrap(first, second)["recall_at_1"]
    shuffled = np.random.default_rng(0).permutation(second)
    loose_low, loose_high = paired_bootstrap(first, shuffled)["recall_at_1"]
    assert high - low < 0.6 * (loose_high - loose_low)


def test_drawing_seeds_too_widens_the_interval() -> None:
    good, bad = np.full(200, 1), np.full(200, 30)
    steady = paired_bootstrap(np.full((4, 200), 20), np.stack([good, good, good, good]))["recall_at_1"]
    shaky = paired_bootstrap(np.full((4, 200), 20), np.stack([good, good, bad, bad]))["recall_at_1"]
    assert steady == (100.0, 100.0)
    assert shaky == (0.0, 100.0)


def test_seeds_are_dealt_out_in_all_ways() -> None:
    first, second = random_ranks(3, 20, seed=1), random_ranks(2, 20, seed=2)
    runs = [*first, *second]
    found = seed_permutation(first, second)
    for at, name in enumerate(COMPARED):
        values = np.array([plain_numbers(run)[at] for run in runs])

        def gap(chosen: tuple[int, ...], values: np.ndarray = values) -> float:
            rest = [run for run in range(5) if run not in chosen]
            return abs(float(values[rest].mean() - values[list(chosen)].mean()))

        ways = list(itertools.combinations(range(5), 3))
        expected = sum(gap(chosen) >= gap((0, 1, 2)) - 1e-9 for chosen in ways) / len(ways)
        assert found[name] == pytest.approx(expected)


def test_the_least_p_is_reached_where_all_runs_of_a_side_are_better() -> None:
    first, second = np.full((5, 30), 4), np.full((5, 30), 1)
    assert seed_permutation(first, second)["recall_at_1"] == pytest.approx(smallest_p(first, second))
    assert smallest_p(first, second) == pytest.approx(2 / 252)
    assert smallest_p(first[:2], second) == pytest.approx(1 / 21)


def test_very_many_ways_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = random_ranks(4, 20, seed=1), random_ranks(4, 20, seed=2)
    exact = seed_permutation(first, second)
    monkeypatch.setattr(compare, "_MAX_DEALS", 69)
    drawn = seed_permutation(first, second)
    for name in COMPARED:
        assert drawn[name] == pytest.approx(exact[name], abs=0.2)


def test_mean_and_spread_over_seeds() -> None:
    found = summarize_seeds(np.array([[1, 2], [1, 1], [3, 3]]))["recall_at_1"]
    assert (found.mean, found.std, found.low, found.high) == (50.0, 50.0, 0.0, 100.0)
    assert found.values == (50.0, 100.0, 0.0)
    assert summarize_seeds(np.array([1, 2]))["recall_at_1"].std is None


def test_wrong_input_is_refused() -> None:
    one = np.array([1, 2])
    with pytest.raises(ValueError, match="first has 2 queries, second 3; pairs need the same queries"):
        paired_permutation(one, np.array([1, 2, 3]))
    with pytest.raises(ValueError, match=r"clusters must have the shape \(2,\) of the queries, got \(1,\)"):
        paired_bootstrap(one, one, clusters=np.array([0]))
    with pytest.raises(ValueError, match="second holds the rank 0; ranks count from 1"):
        paired_permutation(one, np.array([0, 1]))
    with pytest.raises(ValueError, match=r"must be ranks \(Q,\) or \(S, Q\), at least one; got shape \(0,\)"):
        compare_runs(np.array([], dtype=int), one)
    with pytest.raises(ValueError, match="each side has at least 2 runs, got 1 and 2"):
        seed_permutation(one, np.stack([one, one]))
    with pytest.raises(ValueError, match="samples = 0; at least 1"):
        paired_permutation(one, one, samples=0)
    with pytest.raises(ValueError, match=r"samples = 0, level = 0\.95; samples is at least 1"):
        paired_bootstrap(one, one, samples=0)
