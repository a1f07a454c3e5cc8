"""Keyframes alone: the very pictures of plain decoding at their own times, about one a second, nothing else decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.videos import write_video
from wordframe.video import FrameStream, open_frames, open_keyframes

CODECS = [("libx264", ".mp4"), ("libx264", ".mkv"), ("libx265", ".mp4"), ("mpeg4", ".avi"), ("libvpx-vp9", ".webm")]


def write(path: Path, *, codec: str = "libx264", **options: Any) -> Path:
    """A video whose keyframes stand where they are wanted: x264 would add one at each of the test pictures' jumps."""
    fixed = {"libx264": {"sc_threshold": "0"}, "libx265": {"x265-params": "scenecut=0:log-level=none"}}
    return write_video(path, codec=codec, codec_options=fixed.get(codec), **options)


@pytest.mark.parametrize(("codec", "suffix"), CODECS)
@pytest.mark.parametrize(("interval", "apart"), [(20, 2.5), (8, 1.0), (5, 1.25), (1, 1.0)])
def test_pictures_and_times_are_those_of_the_file(
    tmp_path: Path, codec: str, suffix: str, interval: int, apart: float
) -> None:
    path = write(tmp_path / f"v{suffix}", num_frames=48, rate=8.0, codec=codec, keyframe_interval=interval)
    with open_keyframes(path) as stream:
        found = list(stream)
        assert stream.problem is None
    seconds = [frame.seconds for frame in found]
    np.testing.assert_allclose(seconds, apart * np.arange(len(seconds)), atol=0.002)
    assert len(seconds) == int(np.ceil(6.0 / apart - 1e-6))
    with open_frames(path, [second + 0.01 for second in seconds]) as plain:
        for frame, expected in zip(found, plain, strict=True):
            np.testing.assert_array_equal(frame.rgb, expected.rgb)


def test_nothing_else_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "v.mp4", num_frames=100, rate=10.0, keyframe_interval=50)
    sent: list[Any] = []
    send = FrameStream._send
    monkeypatch.setattr(FrameStream, "_send", lambda stream, step: sent.append(step) or send(stream, step))
    with open_keyframes(path) as stream:
        assert [frame.seconds for frame in stream] == [0.0, 5.0]
    assert [step and step.planned.seconds for step in sent] == [0.0, 5.0, None]


def test_a_file_with_one_keyframe_gives_one_frame(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mp4", num_frames=60, rate=10.0, keyframe_interval=1000)
    with open_keyframes(path, short_side=36) as stream:
        (frame,) = stream
    assert (frame.seconds, frame.rgb.shape) == (0.0, (36, 64, 3))


def test_a_raw_stream_without_times_gives_its_keyframes_by_their_places(tmp_path: Path) -> None:
    path = write(tmp_path / "v.h264", num_frames=120, rate=30.0, keyframe_interval=40)
    with open_keyframes(path) as stream:
        found = list(stream)
    assert [frame.seconds for frame in found] == pytest.approx([0, 4 / 3, 8 / 3], abs=1e-4)
    with open_frames(path, [0.01, 1.34, 2.67]) as plain:
        for frame, expected in zip(found, plain, strict=True):
            np.testing.assert_array_equal(frame.rgb, expected.rgb)


def test_a_file_that_ends_early_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mkv", num_frames=200, rate=10.0, keyframe_interval=10)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with open_keyframes(path) as stream:
        seconds = [frame.seconds for frame in stream]
        assert stream.problem is not None
    assert seconds == [float(number) for number in range(len(seconds))]
    assert 5 <= len(seconds) < 15
