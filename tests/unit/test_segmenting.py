"""From chunks of frames to stored segments: the vector that stands for one, and where chunks begin and end."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from wordframe.extraction import Chunk
from wordframe.library.segmenting import mean_vector, segments_of_chunk
from wordframe.video.frame import VideoInfo


def chunk(
    seconds: list[float], *, index: int = 0, last: bool = True, length: float | None = None, problem: str = ""
) -> Chunk:
    info = VideoInfo("mp4", "h264", 64, 48, 0, length, 25.0)
    features = np.random.default_rng(0).standard_normal((len(seconds), 8)).astype(np.float32)
    pictures = [bytes([number]) for number in range(len(seconds))]
    return Chunk("a", index, last, info, np.array(seconds), features, pictures, problem or None)


def test_the_mean_vector_is_the_direction_of_the_mean_of_unit_frames() -> None:
    frames = np.array([[3.0, 4.0], [0.0, 2.0]], np.float32)
    np.testing.assert_allclose(mean_vector(frames), np.array([0.3, 0.9]) / np.hypot(0.3, 0.9), rtol=1e-6)


def test_featureless_frames_have_no_direction() -> None:
    np.testing.assert_array_equal(mean_vector(np.zeros((2, 3), np.float32)), np.zeros(3))


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
