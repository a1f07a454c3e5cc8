"""Bootstrap intervals: seeded, equal to a slow plain version, clusters drawn whole, about right in width."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wordframe.evaluate.bootstrap import NAMES

from wordframe.evaluate import bootstrap, bootstrap_intervals


def plain_numbers(ranks: np.ndarray) -> list[float]:
    recalls = [100.0 * float(np.mean(ranks <= k)) for k in (1, 5, 10)]
    return [*recalls, float(np.median(ranks)), float(np.mean(ranks))]


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 4)), min_size=1, max_size=12), st.integers(0, 3))
@settings(max_examples=30)
def test_equal_to_repeating_the_ranks(queries: list[tuple[int, int]], seed: int) -> None:
    ranks, clusters = (np.array(column) for column in zip(*queries, strict=True))
    order = np.argsort(ranks, kind="stable")
    group = np.unique(clusters[order], return_inverse=True)[1]
    drawn = [
        plain_numbers(np.repeat(ranks[order], times))
        for weights in bootstrap.draws(group, 50, np.random.default_rng(seed))
        for times in weights
    ]
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    found = bootstrap_intervals(ranks, clusters=clusters, samples=50, seed=seed)
    assert list(found) == list(NAMES)
    np.testing.assert_allclose([found[name] for name in NAMES], np.stack([low, high], axis=1))


def test_captions_of_a_video_are_drawn_together() -> None:
    clusters = np.repeat(np.arange(5), [1, 2, 3, 4, 5])
    for weights in bootstrap.draws(clusters, 20, np.random.default_rng(0)):
        for video in range(5):
            times = weights[:, clusters == video]
            assert (times == times[:, :1]).all()


def test_sharing_videos_widens_the_interval() -> None:
    """Twenty captions of a video that all do alike hold no more than one."""
    ranks = np.repeat(np.array([1, 2] * 25), 20)
    low, high = bootstrap_intervals(ranks)["recall_at_1"]
    shared_low, shared_high = bootstrap_intervals(ranks, clusters=np.repeat(np.arange(50), 20))["recall_at_1"]
    assert shared_high - shared_low > 3 * (high - low)


def test_width_is_that_of_the_binomial() -> None:
    """R@1 of 50 % on 400 queries has a standard error of 2.5 points."""
    low, high = bootstrap_intervals(np.array([1, 2] * 200))["recall_at_1"]
    assert low == pytest.approx(50 - 1.96 * 2.5, abs=0.6)
    assert high == pytest.approx(50 + 1.96 * 2.5, abs=0.6)


def test_a_seed_repeats_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = np.random.default_rng(0).integers(1, 30, size=40)
    first = bootstrap_intervals(ranks, seed=3)
    assert first == bootstrap_intervals(ranks, seed=3)
    assert first != bootstrap_intervals(ranks, seed=4)
    monkeypatch.setattr(bootstrap, "_BLOCK_NUMBERS", 400)
    assert first == bootstrap_intervals(ranks, seed=3)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="Q at least 1"):
        bootstrap_intervals(np.array([], dtype=int))
    with pytest.raises(ValueError, match=r"clusters must have the shape \(2,\)"):
        bootstrap_intervals(np.array([1, 2]), clusters=np.array([0]))
    with pytest.raises(ValueError, match="samples is at least 1, level between 0 and 1"):
        bootstrap_intervals(np.array([1, 2]), samples=0)
