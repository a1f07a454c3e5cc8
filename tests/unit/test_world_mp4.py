"""Writing videos: what comes back from the decoder, determinism, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from world.mp4 import write_video

from wordframe.video import open_frames


def pictures(count: int, height: int = 32, width: int = 48) -> list[np.ndarray]:
    return [np.full((height, width, 3), (10 * number, 200 - 10 * number, 90), np.uint8) for number in range(count)]


def test_the_decoder_sees_what_was_written(tmp_path: Path) -> None:
    assert write_video(tmp_path / "a.mp4", pictures(10), frame_rate=5) == 10
    with open_frames(tmp_path / "a.mp4", [0.0, 1.0, 1.9]) as stream:
        frames = list(stream)
    info = stream.info
    assert (info.width, info.height, info.codec, info.frame_rate, info.duration_seconds) == (48, 32, "h264", 5.0, 2.0)
    for number, frame in zip((0, 5, 9), frames, strict=True):
        assert np.abs(frame.rgb.astype(int) - pictures(10)[number]).max() <= 6


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([], "pictures is empty; a video needs at least one"),
        (pictures(1, height=31), "even sides for H.264 at half colour resolution, got 31 × 48"),
        ([np.zeros((32, 48, 3))], r"must be \(h, w, 3\) uint8, got \(32, 48, 3\) float64"),
        (pictures(1) + pictures(1, width=64), r"picture 1 has shape \(32, 64, 3\), the first has \(32, 48, 3\)"),
    ],
)
def test_bad_pictures_are_refused_and_leave_nothing(tmp_path: Path, bad: list[np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / "a.mp4", bad, frame_rate=8)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_file_that_was_there(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", pictures(3), frame_rate=8)
    before = (tmp_path / "a.mp4").read_bytes()
    with pytest.raises(ValueError, match="give one size"):
        write_video(tmp_path / "a.mp4", pictures(1) + pictures(1, width=64), frame_rate=8)
    assert (tmp_path / "a.mp4").read_bytes() == before


@pytest.mark.parametrize(("frame_rate", "quality"), [(0, 18), (8, 52)])
def test_settings_out_of_range(tmp_path: Path, frame_rate: int, quality: int) -> None:
    with pytest.raises(ValueError, match="frame_rate must be at least 1 and quality 0 to 51"):
        write_video(tmp_path / "a.mp4", pictures(1), frame_rate=frame_rate, quality=quality)
