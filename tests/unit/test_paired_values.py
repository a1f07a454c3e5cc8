"""Paired tests of means that are no ranks: by hand, against those of ranks, and what their intervals cover."""

from __future__ import annotations

import numpy as np
import pytest

from wordframe.evaluate import compare_runs, compare_values
from wordframe.evaluate.compare import MEANS, values_of


def test_paired_values_by_hand() -> None:
    first, second = np.array([10.0, 20.0, 30.0, 40.0]), np.array([12.0, 26.0, 33.0, 45.0])
    found = compare_values(first, second)
    assert (found.first, found.second, found.difference) == (25.0, 29.0, 4.0)
    error = np.std(second - first, ddof=1) / 2  # Student, three degrees of freedom: t = 3.182
    assert (found.low, found.high) == pytest.approx((4 - 3.182 * error, 4 + 3.182 * error), abs=1e-2)
    assert found.p_queries == 2 / 16  # of all 16 ways to swap sides, two are as far from nought


def test_values_of_a_video_are_swapped_together() -> None:
    first, second = np.zeros(6), np.array([1.0, 2.0, 3.0, 1.0, 2.0, 3.0])
    assert compare_values(first, second, clusters=np.array([0, 0, 0, 1, 1, 1])).p_queries == 2 / 4
    with pytest.raises(ValueError, match="at least 2 videos"):
        compare_values(first, second, clusters=np.zeros(6, int))
    with pytest.raises(ValueError, match="as many queries on both sides"):
        compare_values(first, second[:4])


def test_intervals_of_paired_values_cover() -> None:
    chance = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        videos = np.repeat(np.arange(15), 3)
        shared = np.repeat(chance.normal(0.3, 0.5, 15), 3)  # what sentences of a video have in common
        found = compare_values(np.zeros(45), shared + chance.normal(0, 1, 45), clusters=videos)
        covered += found.low <= 0.3 <= found.high
    assert 0.92 <= covered / 400 <= 0.98


def test_runs_are_compared_as_ranks_are() -> None:
    """The same numbers through either door: bounds by a bootstrap there, by a formula here, p to the last digit."""
    chance = np.random.default_rng(3)
    first, second = chance.integers(1, 15, (3, 200)), chance.integers(1, 12, (4, 200))
    videos = chance.integers(0, 80, 200)
    ranks = compare_runs(first, second, clusters=videos, samples=4000)
    for name in MEANS:
        found = compare_values(values_of(first)[name], values_of(second)[name], clusters=videos)
        wanted = ranks[name]
        assert (found.first, found.second) == pytest.approx((wanted.first, wanted.second))
        assert (found.p_queries, found.p_seeds) == pytest.approx((wanted.p_queries, wanted.p_seeds))
        assert (found.low, found.high) == pytest.approx(
            (wanted.low, wanted.high), abs=0.05 * (wanted.high - wanted.low)
        )


@pytest.mark.parametrize("seeds", [0.0, 0.5])
def test_intervals_over_several_runs_cover(seeds: float) -> None:
    """Three runs a side that differ in luck alone: as wholes by ``seeds``, and on each query."""
    chance, covered = np.random.default_rng(1), 0
    for _ in range(400):
        base = chance.normal(0, 1, 60)
        one, two = (base + chance.normal(0, 1, (3, 60)) + chance.normal(0, seeds, (3, 1)) for _ in range(2))
        found = compare_values(one, two)
        covered += found.low <= 0 <= found.high
    assert 0.92 <= covered / 400 <= 0.985


def test_copies_of_a_run_are_that_run() -> None:
    chance = np.random.default_rng(2)
    first, second = chance.normal(size=(2, 40))
    single, copies = compare_values(first, second), compare_values(np.tile(first, (4, 1)), np.tile(second, (4, 1)))
    assert (copies.low, copies.high, copies.p_queries) == pytest.approx((single.low, single.high, single.p_queries))
    assert single.p_seeds is None
