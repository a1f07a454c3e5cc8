"""Segments: they cover the video, stay within their bounds, and shots end where the picture changes."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wordframe.video import Segment, cut_segments, shots, windows
from wordframe.video.segments import frame_edges

videos = st.tuples(st.integers(1, 60), st.sampled_from([0.25, 1.0, 3.0]), st.integers(0, 2**32 - 1))


def sampled(num_frames: int, step: float) -> tuple[NDArray[np.float64], float]:
    return (np.arange(num_frames) + 0.5) * step, num_frames * step


def check_bounds(segments: list[Segment], seconds: NDArray[np.float64], duration: float, max_frames: int) -> None:
    edges = frame_edges(seconds, duration)
    assert (segments[0].first_frame, segments[-1].last_frame_exclusive) == (0, len(seconds))
    for segment in segments:
        assert 1 <= segment.num_frames <= max_frames
        assert segment.start_seconds == edges[segment.first_frame]
        assert segment.end_seconds == edges[segment.last_frame_exclusive]
    for before, after in itertools.pairwise(segments):
        assert before.first_frame < after.first_frame <= before.last_frame_exclusive < after.last_frame_exclusive


@settings(deadline=None)
@given(videos, st.floats(0.1, 20), st.floats(0, 0.9), st.integers(1, 12))
def test_windows_cover_the_video(video: tuple[int, float, int], length: float, overlap: float, max_frames: int) -> None:
    seconds, duration = sampled(*video[:2])
    segments = windows(seconds, duration, length_seconds=length, overlap=overlap, max_frames=max_frames)
    check_bounds(segments, seconds, duration, max_frames)
    assert all(segment.num_frames <= max(1, length / video[1] + 0.6) for segment in segments)


@settings(deadline=None)
@given(videos, st.floats(0, 3))
def test_shots_are_a_partition(video: tuple[int, float, int], penalty: float) -> None:
    seconds, duration = sampled(*video[:2])
    features = np.random.default_rng(video[2]).normal(size=(video[0], 6))
    segments = shots(seconds, features, duration, penalty=penalty)
    check_bounds(segments, seconds, duration, 12)
    assert all(before.last_frame_exclusive == after.first_frame for before, after in itertools.pairwise(segments))
    assert all(segment.end_seconds - segment.start_seconds <= max(12.0, video[1]) + 1e-9 for segment in segments)


@settings(deadline=None)
@given(st.integers(1, 11), st.integers(0, 2**32 - 1), st.floats(0, 3))
def test_shots_are_the_best_of_all_partitions(num_frames: int, seed: int, penalty: float) -> None:
    """The slow plain version: try every set of boundaries."""
    seconds, duration = sampled(num_frames, 1.0)
    features = np.random.default_rng(seed).normal(size=(num_frames, 3))
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    jumps = [float(np.sum((a - b) ** 2)) for a, b in itertools.pairwise(units)]
    price = penalty * float(np.mean(jumps)) if jumps else 0.0

    def cost(bounds: tuple[int, ...]) -> float:
        total = 0.0
        for first, last in itertools.pairwise((0, *bounds, num_frames)):
            part = units[first:last]
            total += float(np.sum((part - part.mean(axis=0)) ** 2)) + price
            total += 1000 * (last - first > 4) + 100 * (last - first < 2)
        return total

    inner = range(1, num_frames)
    every = [bounds for count in range(num_frames) for bounds in itertools.combinations(inner, count)]
    segments = shots(seconds, features, duration, penalty=penalty, min_seconds=2.0, max_seconds=4.0)
    assert cost(tuple(segment.first_frame for segment in segments[1:])) == pytest.approx(min(map(cost, every)))


def test_shots_end_where_the_picture_changes() -> None:
    chance = np.random.default_rng(0)
    lengths = [5, 9, 3, 7, 4]
    features = np.repeat(chance.normal(size=(5, 64)), lengths, axis=0) + 0.3 * chance.normal(size=(28, 64))
    segments = shots(*_with(features), 28.0)
    assert [segment.num_frames for segment in segments] == lengths


def test_a_still_picture_is_cut_by_length_alone() -> None:
    chance = np.random.default_rng(0)
    for noise in (0.0, 0.01, 0.5):
        features = np.ones((48, 64)) + noise * chance.normal(size=(48, 64))
        assert len(shots(*_with(features), 48.0)) == 4


def _with(features: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.arange(len(features)) + 0.5, features


def test_a_video_of_two_seconds_is_one_segment() -> None:
    seconds, duration = sampled(8, 0.25)
    features = np.random.default_rng(0).normal(size=(8, 16)).astype(np.float32)
    assert cut_segments(seconds, features, duration) == [Segment(0.0, 2.0, 0, 8)]
    assert cut_segments(np.array([0.0]), features[:1], 0.04) == [Segment(0.0, 0.04, 0, 1)]


def test_a_video_of_three_hours_takes_little_time() -> None:
    seconds, duration = sampled(3 * 3600, 1.0)
    features = np.random.default_rng(0).normal(size=(len(seconds), 384)).astype(np.float32)
    started = time.perf_counter()
    segments = cut_segments(seconds, features, duration)
    assert time.perf_counter() - started < 20
    check_bounds(segments, seconds, duration, 12)
    assert 900 <= len(segments) <= 5400


def test_windows_by_hand() -> None:
    seconds, duration = sampled(10, 1.0)
    assert [(s.start_seconds, s.end_seconds) for s in windows(seconds, duration, length_seconds=4.0, overlap=0.5)] == [
        (0.0, 4.0),
        (2.0, 6.0),
        (4.0, 8.0),
        (6.0, 10.0),
    ]
    assert [(s.start_seconds, s.end_seconds) for s in windows(seconds, duration, length_seconds=4.0, overlap=0.0)] == [
        (0.0, 4.0),
        (4.0, 8.0),
        (6.0, 10.0),
    ]


def test_frames_beyond_the_told_end_still_have_time() -> None:
    edges = frame_edges(np.array([0.5, 1.5]), 1.2)
    assert edges[-1] > 1.5


def test_wrong_values() -> None:
    good = np.array([0.5, 1.5])
    with pytest.raises(
        ValueError, match=r"seconds must be \(N,\), N at least 1, from 0 on and ascending, got \[1.5, 0"
    ):
        windows(good[::-1], 2.0)
    with pytest.raises(ValueError, match="duration_seconds must be a positive number, got nan"):
        windows(good, float("nan"))
    with pytest.raises(ValueError, match=r"overlap must be in \[0, 1\), got 1"):
        windows(good, 2.0, overlap=1.0)
    with pytest.raises(ValueError, match="max_frames must be at least 1, got 0"):
        windows(good, 2.0, max_frames=0)
    with pytest.raises(ValueError, match="the length of a segment must be a positive number of seconds, got 0"):
        windows(good, 2.0, length_seconds=0.0)
    with pytest.raises(ValueError, match=r"features must be finite, \(N, D\) with N = 2, got shape \(3, 4\)"):
        shots(good, np.ones((3, 4)), 2.0)
    with pytest.raises(ValueError, match="penalty must be finite and at least 0"):
        shots(good, np.ones((2, 4)), 2.0, penalty=-1.0)
    with pytest.raises(ValueError, match=r"a segment needs 0 <= start < end, got \[2.0, 1.0\) seconds"):
        Segment(2.0, 1.0, 0, 1)
    with pytest.raises(ValueError, match=r"a segment needs 0 <= first < last frame, got \[1, 1\)"):
        Segment(0.0, 1.0, 1, 1)
