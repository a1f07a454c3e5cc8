"""From chunks of frames to stored segments: the vector that stands for one, and where chunks begin and end."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from wordframe.extraction import Chunk
from wordframe.library import run_centroids
from wordframe.library._segmenting import segments_of_chunk
from wordframe.video import VideoInfo


def chunk(
    seconds: list[float], *, index: int = 0, last: bool = True, length: float | None = None, problem: str = ""
) -> Chunk:
    info = VideoInfo("mp4", "h264", 64, 48, 0, length, 25.0)
    features = np.random.default_rng(0).standard_normal((len(seconds), 8)).astype(np.float32)
    pictures = [bytes([number]) for number in range(len(seconds))]
    return Chunk("a", index, last, info, np.array(seconds), features, pictures, problem or None)


def test_centroids_are_the_directions_of_the_scenes() -> None:
    red, green, blue = np.eye(3, dtype=np.float32)
    frames = np.stack([red, red, 2 * red, green, blue, blue, blue, blue])
    np.testing.assert_allclose(run_centroids(frames[None])[0], np.eye(3), atol=1e-6)


@pytest.mark.parametrize("num_frames", [1, 2, 3, 5, 12])
def test_centroids_are_those_of_the_best_of_all_cuts(num_frames: int) -> None:
    frames = np.random.default_rng(num_frames).standard_normal((4, num_frames, 6)).astype(np.float32)
    found = run_centroids(frames)
    assert found.shape == (4, min(3, num_frames), 6)
    for video, vectors in zip(frames, found, strict=True):
        units = video / np.linalg.norm(video, axis=1, keepdims=True)
        scatters = {}
        for cut in itertools.combinations(range(1, num_frames), min(3, num_frames) - 1):
            runs = np.split(units, cut)
            scatters[cut] = sum(((run - run.mean(axis=0)) ** 2).sum() for run in runs)
        best = min(scatters, key=lambda cut: scatters[cut])
        means = np.stack([run.mean(axis=0) for run in np.split(units, best)])
        np.testing.assert_allclose(vectors, means / np.linalg.norm(means, axis=1, keepdims=True), atol=1e-5)


def test_featureless_frames_have_no_direction() -> None:
    np.testing.assert_array_equal(run_centroids(np.zeros((1, 2, 3), np.float32)), np.zeros((1, 2, 3)))


def test_segments_tile_the_video_and_keep_every_frame() -> None:
    parts = segments_of_chunk(chunk([0.5 + i for i in range(30)], length=30.0))
    assert (parts[0].start_seconds, parts[-1].end_seconds) == (0.0, 30.0)
    assert all(a.end_seconds == b.start_seconds for a, b in itertools.pairwise(parts))
    assert np.concatenate([part.seconds for part in parts]).tolist() == [0.5 + i for i in range(30)]
    assert all(len(part.frames) <= 12 for part in parts)


@pytest.mark.parametrize(
    ("options", "end"),
    [
        ({"length": 10.0}, 10.0),
        ({"length": None}, 4.0),
        ({"length": 10.0, "problem": "ends early"}, 4.0),
        ({"length": 10.0, "last": False}, 4.0),
        ({"length": 3.7}, 3.7),
    ],
)
def test_where_a_chunk_ends(options: dict[str, object], end: float) -> None:
    assert segments_of_chunk(chunk([0.5, 1.5, 2.5, 3.5], **options))[-1].end_seconds == end  # type: ignore[arg-type]


def test_later_chunks_go_on_where_the_one_before_ended() -> None:
    first = segments_of_chunk(chunk([0.5, 1.5, 2.5], last=False, length=6.0))
    second = segments_of_chunk(chunk([3.5, 4.5, 5.5], index=1, length=6.0))
    assert first[-1].end_seconds == second[0].start_seconds == 3.0
    assert second[-1].end_seconds == 6.0


def test_a_keyframe_stands_for_the_time_behind_it() -> None:
    """Two shots of 10 s with a keyframe where each begins and two within: the cut is where the second begins."""
    seconds = [0.0, 4.0, 8.0, 10.0, 14.0, 18.0]
    features = np.repeat(np.eye(2, 4, dtype=np.float32), 3, axis=0)
    parts = segments_of_chunk(replace(chunk(seconds, length=20.0), features=features), keyframes=True)
    assert [(part.start_seconds, part.end_seconds) for part in parts] == [(0.0, 10.0), (10.0, 20.0)]
    later = segments_of_chunk(chunk(seconds, index=1, last=False, length=60.0), keyframes=True)
    assert (later[0].start_seconds, later[-1].end_seconds) == (0.0, 22.0)
