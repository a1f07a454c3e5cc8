"""Which seconds are looked at: bin centres, whole seconds, the benchmark's and the library's rule."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wordframe.video import VideoInfo, benchmark_indices, index_times, per_second, uniform


def info(duration_seconds: float | None) -> VideoInfo:
    return VideoInfo("mp4", "h264", 64, 48, 0, duration_seconds, 25.0)


@given(st.floats(0, 1e4), st.floats(0.01, 1e4), st.integers(1, 50))
def test_uniform_centres_equal_bins(start: float, length: float, num_frames: int) -> None:
    times = uniform(start, start + length, num_frames)
    assert len(times) == num_frames
    assert all(start < time < start + length for time in times)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(gap == pytest.approx(length / num_frames, rel=1e-6, abs=1e-9) for gap in gaps)


def test_per_second_does_not_drift() -> None:
    times = list(itertools.islice(per_second(3.0), 30_001))
    assert times[-1] == 10_000.0
    assert list(per_second(1.0, 5.0, 5.0)) == []


@given(st.integers(0, 500), st.integers(1, 64))
def test_benchmark_indices(num_sampled: int, num_frames: int) -> None:
    indices = benchmark_indices(num_sampled, num_frames)
    assert len(indices) == min(num_sampled, num_frames)
    assert indices == sorted(set(indices))
    if indices and num_frames > 1:
        assert (indices[0], indices[-1]) == (0, num_sampled - 1)


@given(st.floats(0.05, 20_000), st.sampled_from([0.5, 1.0, 2.0]), st.integers(1, 12))
def test_the_library_looks_at_all_of_a_video(duration: float, rate: float, min_frames: int) -> None:
    times = list(index_times(info(duration), rate=rate, min_frames=min_frames))
    assert len(times) >= min_frames
    assert all(0 < time < duration for time in times)
    edges = [0.0, *times, duration]
    assert max(later - earlier for earlier, later in itertools.pairwise(edges)) <= 1.0 / rate + 1e-6


def test_the_library_on_short_long_and_endless_videos() -> None:
    assert list(index_times(info(2.0))) == [0.125, 0.375, 0.625, 0.875, 1.125, 1.375, 1.625, 1.875]
    assert list(index_times(info(8.0))) == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5]
    assert len(list(index_times(info(3 * 3600.0)))) == 10_800
    assert list(itertools.islice(index_times(info(None)), 3)) == [0.5, 1.5, 2.5]


def test_wrong_values() -> None:
    with pytest.raises(ValueError, match="the number of frames must be at least 1, got 0"):
        uniform(0.0, 1.0, 0)
    with pytest.raises(ValueError, match=r"the span must have 0 <= start <= end, got \[2.0, 1.0\) seconds"):
        uniform(2.0, 1.0, 3)
    with pytest.raises(ValueError, match="rate must be a positive number of frames a second, got 0"):
        per_second(0)
    with pytest.raises(ValueError, match="num_sampled must be at least 0, got -1"):
        benchmark_indices(-1, 3)
