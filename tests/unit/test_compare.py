"""Paired comparison: against exact enumeration and plain versions, honest under "no difference", refusals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from wordframe.evaluate import compare, compare_runs, permutation, summarize_seeds
from wordframe.evaluate.compare import (
    COMPARED,
    MEANS,
    numbers,
    paired_intervals,
    paired_permutation,
    seed_permutation,
)
from wordframe.evaluate.intervals import student_quantile
from wordframe.evaluate.permutation import smallest_p


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


def test_p_of_a_recall_is_that_of_the_sign_test() -> None:
    """McNemar's exact test: of 7 queries that changed 6 gained, P = 2 · (C(7, 6) + C(7, 7)) / 2^7 = 16/128."""
    first = np.array([1] * 1 + [2] * 6 + [1] * 20)
    second = np.array([2] * 1 + [1] * 6 + [1] * 20)
    assert paired_permutation(first, second)["recall_at_1"] == pytest.approx(16 / 128)
    assert paired_permutation(second, first)["recall_at_1"] == pytest.approx(16 / 128)
    assert paired_permutation(first, second)["recall_at_5"] == 1.0  # nothing moved across that border


def test_all_swaps_are_tried_up_to_the_number_of_samples() -> None:
    first, second = np.full(4, 2), np.full(4, 1)
    assert paired_permutation(first, second, samples=16)["recall_at_1"] == 2 / 16
    drawn = paired_permutation(first, second, samples=14)["recall_at_1"]
    assert drawn * 15 == pytest.approx(round(drawn * 15))  # (1 + as extreme ones) / (1 + 14)
    assert drawn >= 1 / 15


def test_blocks_of_draws_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = random_ranks(30, seed=3), random_ranks(30, seed=4)
    clusters = np.repeat(np.arange(15), 2)
    whole = paired_permutation(first, second, clusters=clusters, samples=1000)
    intervals = paired_intervals(first, second, clusters=clusters, samples=100)
    monkeypatch.setattr(compare, "_BLOCK_NUMBERS", 210)
    cut = paired_permutation(first, second, clusters=clusters, samples=1000)
    for name in MEANS:
        assert cut[name] == pytest.approx(whole[name], abs=0.02)
    again = paired_intervals(first, second, clusters=clusters, samples=100)
    for name in COMPARED:
        assert again[name] == pytest.approx(intervals[name])


def test_the_sides_may_be_changed_over() -> None:
    first, second = random_ranks(3, 40, seed=1), random_ranks(2, 40, seed=2)
    there, back = compare_runs(first, second), compare_runs(second, first)
    for name in COMPARED:
        assert there[name].difference == pytest.approx(-back[name].difference)
        assert (there[name].low, there[name].high) == pytest.approx((-back[name].high, -back[name].low))
        assert (there[name].p_queries, there[name].p_seeds) == (back[name].p_queries, back[name].p_seeds)
        assert there[name].first == back[name].second == numbers(first)[name]


def test_a_median_of_an_even_number_is_the_mean_of_two() -> None:
    """Drawn numbers, too: of ranks 1 and 4 the draws have medians 1, 2.5 and 4, a quarter, a half and a quarter."""
    (found,) = compare._drawn_numbers((np.array([[4, 1]]),), np.array([0, 1]), 4000, 0)
    values, counts = np.unique(found[:, 0, COMPARED.index("median_rank")], return_counts=True)
    assert values.tolist() == [1.0, 2.5, 4.0]
    assert (counts / 4000).tolist() == pytest.approx([0.25, 0.5, 0.25], abs=0.03)
    for at, border in enumerate((1, 5, 10)):
        (found,) = compare._drawn_numbers((np.array([[border + 1, border]]),), np.array([0, 1]), 400, 0)
        assert sorted(set(found[:, 0, at].tolist())) == [0.0, 50.0, 100.0], (
            "a rank of K is a hit at K, one of K + 1 not"
        )


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


def test_the_interval_of_single_runs_is_students() -> None:
    """Ten queries, R@1 gained on four and lost on one: 30 ± t(9) · 67.5/√10, with t(9) = 2.26216."""
    first = np.array([2, 2, 2, 2, 1, 1, 1, 1, 3, 3])
    second = np.array([1, 1, 1, 1, 2, 1, 1, 1, 3, 3])
    low, high = paired_intervals(first, second, samples=40_000)["recall_at_1"]
    half = 2.26216 * np.std([100] * 4 + [-100] + [0] * 5, ddof=1) / np.sqrt(10)
    assert (low + high) / 2 == pytest.approx(30.0)
    assert (high - low) / 2 == pytest.approx(half, rel=0.02)  # the variance is drawn


def test_captions_of_a_video_vary_together() -> None:
    """Each video's captions change alike: four videos are four observations, t(3) = 3.18245."""
    clusters = np.repeat([5, 2, 9, 4], 25)
    first, second = np.full(100, 2), np.repeat([1, 1, 2, 1], 25)
    low, high = paired_intervals(first, second, clusters=clusters, samples=40_000)["recall_at_1"]
    assert (low + high) / 2 == pytest.approx(75.0)
    assert (high - low) / 2 == pytest.approx(3.18245 * 50 / 2, rel=0.02)


def test_the_interval_of_seeds_is_students_where_queries_are_all_alike() -> None:
    """Runs that rank every query alike differ by their seeds alone: Welch's interval of 2, 4, 9 against 1, 3."""
    reciprocals = [1 / np.array([2, 4, 9]), 1 / np.array([1, 3])]
    first, second = (np.repeat(np.array(ranks)[:, None], 30, axis=1) for ranks in ([2, 4, 9], [1, 3]))
    found = paired_intervals(first, second)["mean_reciprocal_rank"]
    parts = [each.var(ddof=1) / len(each) for each in reciprocals]
    degrees = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 1)
    difference = reciprocals[1].mean() - reciprocals[0].mean()
    half = student_quantile(0.95, degrees) * np.sqrt(sum(parts))
    assert found == pytest.approx((difference - half, difference + half))


def world(random: np.random.Generator, runs: int, base: np.ndarray, seeds: float, chance: float) -> np.ndarray:
    """Ranks ``(S, Q)`` of runs of one worth: ``base (Q,)`` how hard a query is, luck of each run and of each pair."""
    run, pair = random.normal(0, seeds, (runs, 1)), random.normal(0, chance, (runs, len(base)))
    return np.maximum(1, np.ceil(np.exp(base + run + pair))).astype(int)


@pytest.mark.parametrize(("runs", "seeds"), [(1, 0.0), (3, 0.0), (3, 0.15), (5, 0.3)])
def test_intervals_cover_no_difference_over_other_queries_and_seeds(runs: int, seeds: float) -> None:
    """Two sides of equal worth: 95 % of the intervals should hold 0.

    Drawing queries and seeds in one bootstrap, with no luck of a seed but on single queries, let go of 0 in none to 1 %
    of the worlds, at 1.7 times the width.
    """
    random, worlds = np.random.default_rng(7), 300
    held, widths, spread = dict.fromkeys(COMPARED, 0), [], []
    for number in range(worlds):
        base = random.normal(1, 1, 60)
        one, two = (world(random, runs, base, seeds, 1.0) for _ in range(2))
        found = paired_intervals(one, two, samples=100, seed=number)
        for name in COMPARED:
            held[name] += found[name][0] <= 0 <= found[name][1]
        widths.append(np.subtract(*found["recall_at_5"][::-1]))
        spread.append(numbers(two)["recall_at_5"] - numbers(one)["recall_at_5"])
    shares = {name: count / worlds for name, count in held.items()}
    assert min(shares.values()) >= 0.9, shares
    assert 0.925 <= np.mean(list(shares.values())) <= 0.98, shares
    if seeds == 0.0:  # 2 · 1.96 standard deviations of what was really seen hold 95 %
        assert np.median(widths) < 1.3 * 2 * 1.96 * np.std(spread)


def test_seeds_that_agree_leave_the_interval_of_the_queries() -> None:
    """Four copies of a run are that run: there is no luck of seeds to widen it."""
    first, second = random_ranks(80, seed=1), random_ranks(80, seed=2)
    single = paired_intervals(first, second)
    copies = paired_intervals(np.tile(first, (4, 1)), np.tile(second, (4, 1)))
    for name in COMPARED:
        assert copies[name] == pytest.approx(single[name])


def test_one_side_may_have_several_seeds() -> None:
    """Its luck counts, that of the single run cannot: 100 and 0 against 50 lie anywhere by t(1) = 12.7062."""
    single = np.array([1, 9] * 20)
    low, high = paired_intervals(single, np.stack([np.full(40, 1), np.full(40, 9)]))["recall_at_1"]
    assert (low + high) / 2 == pytest.approx(0.0)
    assert high > 0.9 * 12.7062 * 50


def test_pairing_narrows_the_interval() -> None:
    """Runs that share their luck differ less than two runs on queries of their own."""
    first = random_ranks(400, top=8)
    second = np.where(np.arange(400) % 10 == 0, 1, first)
    low, high = paired_intervals(first, second)["recall_at_1"]
    shuffled = np.random.default_rng(0).permutation(second)
    loose_low, loose_high = paired_intervals(first, shuffled)["recall_at_1"]
    assert high - low < 0.6 * (loose_high - loose_low)


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


@pytest.mark.parametrize(("ones", "twos", "least"), [(5, 5, 2 / 252), (2, 5, 1 / 21), (4, 4, 2 / 70), (3, 3, 2 / 20)])
def test_the_least_p_is_reached_where_all_runs_of_a_side_are_better(ones: int, twos: int, least: float) -> None:
    """Three seeds against three can never give p below 0.05, however much better they are."""
    first, second = np.full((ones, 30), 4), np.full((twos, 30), 1)
    assert seed_permutation(first, second)["recall_at_1"] == pytest.approx(least)
    assert smallest_p(ones, twos) == pytest.approx(least)


def test_very_many_ways_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = random_ranks(4, 20, seed=1), random_ranks(4, 20, seed=2)
    exact = seed_permutation(first, second)
    monkeypatch.setattr(permutation, "_MAX_DEALS", 69)  # one fewer than there are
    drawn = seed_permutation(first, second)
    assert drawn != exact
    for name in COMPARED:
        assert drawn[name] == pytest.approx(exact[name], abs=0.2)
        assert drawn[name] * 70 == pytest.approx(round(drawn[name] * 70))  # (1 + as extreme ones) / (1 + 69)
    monkeypatch.setattr(permutation, "_MAX_DEALS", 70)
    assert seed_permutation(first, second) == exact


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
        paired_intervals(one, one, clusters=np.array([0]))
    with pytest.raises(ValueError, match="second holds the rank 0; ranks count from 1"):
        paired_permutation(one, np.array([0, 1]))
    with pytest.raises(ValueError, match=r"must be ranks \(Q,\) or \(S, Q\), at least one; got shape \(0,\)"):
        compare_runs(np.array([], dtype=int), one)
    with pytest.raises(ValueError, match="each side has at least 2 runs, got 1 and 2"):
        seed_permutation(one, np.stack([one, one]))
    with pytest.raises(ValueError, match="samples = 0; at least 1"):
        paired_permutation(one, one, samples=0)
    with pytest.raises(ValueError, match=r"samples = 1, level = 0\.95; samples is at least 2"):
        paired_intervals(one, one, samples=1)
    for level in (0.0, 1.0):
        with pytest.raises(ValueError, match=f"level = {level}; samples is at least 2"):
            paired_intervals(one, one, level=level)
    with pytest.raises(ValueError, match="queries of at least 2 videos; a single one does not vary"):
        paired_intervals(one, one, clusters=np.array([4, 4]))
