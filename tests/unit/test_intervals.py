"""Intervals of one run: published values, exact probabilities, simulated coverage, captions of one video."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from wordframe.evaluate import intervals, rank_intervals
from wordframe.evaluate.intervals import NAMES, recall_curve, student_quantile, wilson

GALLERY = 1000


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_values(hits: int, count: int, low: float, high: float) -> None:
    """Newcombe (1998), table I, method 3."""
    assert wilson(hits / count, count, 1.959964) == pytest.approx((low, high), abs=5e-5)
    ranks = np.array([1] * hits + [2] * (count - hits))
    found = rank_intervals(ranks, gallery=GALLERY)
    assert found["recall_at_1"] == pytest.approx((100 * low, 100 * high), abs=5e-3)
    assert found["recall_at_5"][1] == 100.0
    # all hits mirror none
    assert wilson(1 - hits / count, count, 1.959964) == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_every_recall_has_its_own_hits() -> None:
    """Ranks 1, 5, 6, 10 and 11 lie on both sides of every border: 1, 2 and 4 of 5 are hits."""
    found = rank_intervals(np.array([11, 6, 1, 10, 5]), gallery=GALLERY)
    for name, hits in (("recall_at_1", 1), ("recall_at_5", 2), ("recall_at_10", 4)):
        assert found[name] == pytest.approx([100 * end for end in wilson(hits / 5, 5, 1.959964)])
    assert list(found) == list(NAMES)


def test_another_level_is_another_quantile() -> None:
    """Wilson's interval at 90 % has z = 1.644854."""
    found = rank_intervals(np.array([1, 1, 2, 2, 2]), gallery=GALLERY, level=0.9)
    assert found["recall_at_1"] == pytest.approx([100 * end for end in wilson(0.4, 5, 1.644854)])


@pytest.mark.parametrize(
    ("level", "degrees", "expected"),
    [
        (0.95, 1, 12.7062),
        (0.95, 2, 4.30265),
        (0.95, 4, 2.77645),
        (0.95, 30, 2.04227),
        (0.95, 1e9, 1.95996),
        (0.99, 3, 5.84091),
        (0.9, 10, 1.81246),
    ],
)
def test_students_quantile_is_that_of_the_tables(level: float, degrees: float, expected: float) -> None:
    assert student_quantile(level, degrees) == pytest.approx(expected, rel=1e-4)


def test_the_medians_ranks_enclose_it_with_the_stated_probability() -> None:
    """A distribution-free interval of the k-th ranks from both ends covers 1 - 2 · P(Binomial(n, 1/2) < k)."""
    for count in (*range(6, 60), 100, 1001):
        low, high = rank_intervals(np.arange(1, count + 1), gallery=GALLERY + 1)["median_rank"]
        place = round(low)
        assert high == count + 1 - place, "as many ranks are left out above as below"
        missed = 2 * sum(math.comb(count, k) for k in range(place)) / 2**count
        assert missed <= 0.0525, count
        one_more = missed + 2 * math.comb(count, place) / 2**count
        assert one_more > 0.04, f"{count}: a narrower interval would do"


def test_few_queries_bound_neither_median_nor_mean() -> None:
    """Five ranks enclose the median with probability 1 - 2/32 < 95 % at most; one rank says nothing of the mean."""
    assert rank_intervals(np.array([3, 4, 5, 6, 7]), gallery=50)["median_rank"] == (1.0, 50.0)
    assert rank_intervals(np.array([3, 4, 5, 6, 7, 8]), gallery=50)["median_rank"] == (3.0, 8.0)
    assert rank_intervals(np.array([3]), gallery=50)["mean_rank"] == (1.0, 50.0)
    low, high = rank_intervals(np.array([2, 2, 9]), gallery=50)["mean_rank"]
    assert 1.0 <= low < 13 / 3 < high <= 50.0
    assert rank_intervals(np.array([7, 7, 7]), gallery=50)["mean_rank"] == (7.0, 7.0)
    low, high = rank_intervals(np.array([1] * 30 + [2] * 10), gallery=50)["mean_rank"]
    assert (low, high) == pytest.approx((1.13, 1.43), abs=0.03)  # 1.25 and two standard errors of 0.069


def test_the_mean_leans_towards_the_long_tail() -> None:
    """Against Student's interval (mean ± 2.0227 · 1.6227) both ends lie higher, the upper one more."""
    ranks = np.array([1] * 20 + [2] * 10 + [5] * 6 + [20] * 3 + [60])
    mean, error = float(ranks.mean()), float(ranks.std(ddof=1)) / math.sqrt(40)
    low, high = rank_intervals(ranks, gallery=GALLERY)["mean_rank"]
    assert (mean, error) == pytest.approx((4.75, 1.6227), abs=1e-3)
    assert mean - 2.0227 * error < low < mean
    assert high > mean + 1.3 * 2.0227 * error


# Coverage: the share of worlds whose interval holds the truth --------------------------------------------------------


World = tuple[NDArray[np.int64], NDArray[np.int64] | None]
"""Ranks and their clusters."""


def coverage(truth: dict[str, float], worlds: Sequence[World]) -> dict[str, float]:
    held = dict.fromkeys(truth, 0)
    for ranks, clusters in worlds:
        found = rank_intervals(ranks, gallery=GALLERY, clusters=clusters, samples=200)
        for name, value in truth.items():
            held[name] += found[name][0] - 1e-9 <= value <= found[name][1] + 1e-9
    return {name: count / len(worlds) for name, count in held.items()}


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_intervals_of_forty_queries_cover(share: float) -> None:
    """Geometric ranks with R@1 of ``share``. The percentile bootstrap covers R@1 of 5 % in 85 % of the worlds."""
    random = np.random.default_rng(1)
    worlds = [(np.minimum(random.geometric(share, size=40), GALLERY), None) for _ in range(500)]
    miss = 1 - share
    median = math.ceil(math.log(0.5) / math.log(miss))
    truth = {f"recall_at_{k}": 100 * (1 - miss**k) for k in (1, 5, 10)}
    found = coverage({**truth, "median_rank": float(median), "mean_rank": 1 / share}, worlds)
    for name, held in found.items():
        assert held >= 0.92, (name, held)
    assert found["recall_at_1"] <= 0.975, "no wider than needed"


@pytest.mark.parametrize(("videos", "alike"), [(40, 0.3), (40, 0.9), (10, 0.3)])
def test_intervals_of_few_videos_with_captions_alike_cover(videos: int, alike: float) -> None:
    """One to twenty captions a video, whose hits at 1 correlate by ``alike`` (beta-binomial), R@1 = 20 %."""
    random = np.random.default_rng(2)
    share, left = 0.2, (1 - alike) / alike
    worlds = []
    for _ in range(400):
        clusters = np.repeat(np.arange(videos), random.integers(1, 21, size=videos))
        chance = random.beta(share * left, (1 - share) * left, size=videos)[clusters]
        worlds.append((np.where(random.random(len(clusters)) < chance, 1, 2), random.permutation(videos)[clusters]))
    held = coverage({"recall_at_1": 100 * share}, worlds)["recall_at_1"]
    assert held >= 0.92, held


def test_the_means_interval_draws_whole_videos() -> None:
    """Ten captions of each of 40 videos, all of one rank: as wide as 40 captions, not as 400."""
    random = np.random.default_rng(3)
    alone = random.geometric(0.2, size=40)
    clusters = np.repeat(np.arange(40), 10)
    one = rank_intervals(alone, gallery=GALLERY)["mean_rank"]
    ten = rank_intervals(np.repeat(alone, 10), gallery=GALLERY, clusters=clusters)["mean_rank"]
    loose = rank_intervals(np.repeat(alone, 10), gallery=GALLERY)["mean_rank"]
    assert ten == pytest.approx(one)
    assert loose[1] - loose[0] < 0.5 * (ten[1] - ten[0])


def test_twenty_captions_that_do_alike_are_one_observation() -> None:
    ranks = np.repeat(np.array([1, 7] * 25), 20)
    clusters = np.repeat(np.arange(50), 20)
    found, loose = (rank_intervals(ranks, gallery=GALLERY, clusters=each) for each in (clusters, None))
    expected = wilson(0.5, 50, 2.0096)  # Student's t with 49 degrees of freedom
    assert found["recall_at_1"] == pytest.approx([100 * end for end in expected], abs=0.5)
    assert loose["recall_at_1"] == pytest.approx([100 * end for end in wilson(0.5, 1000, 1.959964)])
    assert found["median_rank"] == (1.0, 7.0)


def test_captions_that_are_not_alike_count_one_by_one() -> None:
    """Every video has one hit and one miss: the share varies less over videos than chance, and no more is claimed."""
    ranks = np.array([1, 2] * 100)
    found = rank_intervals(ranks, gallery=GALLERY, clusters=np.repeat(np.arange(100), 2))
    assert found["recall_at_1"] == pytest.approx([100 * end for end in wilson(0.5, 200, 1.98422)], abs=1e-3)


def test_one_video_says_next_to_nothing() -> None:
    found = rank_intervals(np.array([1, 1, 4, 4]), gallery=9, clusters=np.zeros(4, dtype=int))
    low, high = found["recall_at_1"]
    assert low < 1.0
    assert high > 99.0
    assert (found["median_rank"], found["mean_rank"]) == ((1.0, 9.0), (1.0, 9.0))


def test_names_of_clusters_do_not_matter() -> None:
    ranks, clusters = np.array([1, 9, 2, 1, 3, 30]), np.array([7, 7, 3, 100, 3, 100])
    renamed = np.array([0, 0, 2, 1, 2, 1])
    one, two = (rank_intervals(ranks, gallery=40, clusters=each) for each in (clusters, renamed))
    assert one["recall_at_1"] == two["recall_at_1"]
    alone = rank_intervals(ranks, gallery=40, clusters=np.array([5, 4, 3, 2, 1, 0]))
    assert alone["recall_at_1"] == rank_intervals(ranks, gallery=40)["recall_at_1"]


def test_a_seed_repeats_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = np.random.default_rng(0).integers(1, 30, size=40)
    first = rank_intervals(ranks, gallery=GALLERY, seed=3)
    assert first == rank_intervals(ranks, gallery=GALLERY, seed=3)
    assert first["mean_rank"] != rank_intervals(ranks, gallery=GALLERY, seed=4)["mean_rank"]
    monkeypatch.setattr(intervals, "_BLOCK_NUMBERS", 280)  # seven draws at a time, the last block smaller
    again = rank_intervals(ranks, gallery=GALLERY, seed=3)
    assert again["mean_rank"] == pytest.approx(first["mean_rank"])


def test_the_curve_has_the_recalls_and_their_intervals() -> None:
    ranks, clusters = np.array([1, 3, 3, 8]), np.array([0, 0, 1, 2])
    curve = recall_curve(ranks, [1, 2, 3, 5, 8], clusters=clusters)
    assert curve[0].tolist() == [25.0, 25.0, 75.0, 75.0, 100.0]
    whole = rank_intervals(ranks, gallery=9, clusters=clusters)
    assert tuple(curve[1:, 0]) == whole["recall_at_1"]
    assert tuple(curve[1:, 3]) == whole["recall_at_5"]


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="Q at least 1"):
        rank_intervals(np.array([], dtype=int), gallery=3)
    with pytest.raises(ValueError, match=r"got shape \(1, 2\)"):
        rank_intervals(np.array([[1, 2]]), gallery=3)
    with pytest.raises(ValueError, match=r"clusters must have the shape \(2,\)"):
        rank_intervals(np.array([1, 2]), gallery=3, clusters=np.array([0]))
    with pytest.raises(ValueError, match="samples is at least 1, level between 0 and 1"):
        rank_intervals(np.array([1, 2]), gallery=3, samples=0)
    for level in (0.0, 1.0):
        with pytest.raises(ValueError, match=f"level = {level}; samples is at least 1"):
            rank_intervals(np.array([1, 2]), gallery=3, level=level)
