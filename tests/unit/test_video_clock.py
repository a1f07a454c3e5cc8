"""Times that a format does not store, or withholds: AVI and ASF with B-frames, Matroska files that start before 0."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.videos import plain_frames, write_video
from wordframe.video import open_frames
from wordframe.video._clock import Clock, clock_of

B_FRAMES: dict[str, dict[str, object]] = {
    "mpeg4_b1.avi": {"codec": "mpeg4", "codec_options": {"bf": "1"}},
    "mpeg4_b2.avi": {"codec": "mpeg4", "codec_options": {"bf": "2"}},
    "mpeg2_b2.avi": {"codec": "mpeg2video", "codec_options": {"bf": "2"}},
    "h264_b3.avi": {"codec_options": {"bf": "3", "b-pyramid": "normal"}},
    "mpeg4_b2.wmv": {"codec": "mpeg4", "codec_options": {"bf": "2"}, "container": "asf"},
}


@pytest.mark.parametrize("name", B_FRAMES)
@pytest.mark.parametrize("threads", [1, 2])
def test_no_picture_is_late_where_only_decoding_times_are_stored(tmp_path: Path, name: str, threads: int) -> None:
    path = write_video(tmp_path / name, num_frames=50, rate=25.0, keyframe_interval=12, **B_FRAMES[name])  # type: ignore[arg-type]
    pictures = [rgb for _, rgb in plain_frames(path)]
    assert len(pictures) == 50
    with open_frames(path, [(number + 0.5) / 25 for number in range(50)], threads=threads) as frames:
        given = list(frames)
    for number, (frame, expected) in enumerate(zip(given, pictures, strict=True)):
        np.testing.assert_array_equal(frame.rgb, expected, err_msg=f"picture {number}")


@pytest.mark.parametrize("codec", ["libvpx", "ffv1", "libx264"])
def test_a_matroska_file_that_starts_before_zero_is_read_from_its_start(tmp_path: Path, codec: str) -> None:
    """Of H.264 the library withholds the negative times; the clock then starts at 0, and 5 pictures lie before it."""
    path = write_video(
        tmp_path / "early.mkv",
        num_frames=60,
        codec=codec,
        start_seconds=-0.5,
        keyframe_interval=20,
        codec_options={"bf": "0"} if codec == "libx264" else {},
        container_options={"avoid_negative_ts": "disabled"},
    )
    pictures = [rgb for _, rgb in plain_frames(path)]
    before = 5 if codec == "libx264" else 0
    times = [(number + 0.5) / 10 for number in range(60 - before)]
    with open_frames(path, times) as frames:
        given = list(frames)
        assert frames.problem is None
        assert frames.info.duration_seconds == pytest.approx(len(times) / 10)
    assert len(given) == len(times)
    for frame, expected in zip(given, pictures[before:], strict=True):
        np.testing.assert_array_equal(frame.rgb, expected)


class TestClock:
    def shifts(self, clock: Clock, packets: list[tuple[int | None, int | None]]) -> list[int]:
        return [clock.shift_of(dts, pts)[0] for dts, pts in packets]

    def test_reordered_display_is_no_jump(self) -> None:
        clock = Clock(longest_gap=10, back=4)
        assert self.shifts(clock, [(0, 1), (1, 4), (2, 2), (3, 3), (4, 7), (5, 5)]) == [0] * 6

    def test_one_wrong_time_leaves_the_rest_where_it_was(self) -> None:
        clock = Clock(longest_gap=10, back=1)
        shifts = self.shifts(clock, [(number, number) for number in (0, 1, 2, 900_000, 4, 5)])
        assert shifts == [0, 0, 0, 3 - 900_000, 0, 0]

    def test_parts_that_wait_differently_for_their_display_are_joined_at_their_pictures(self) -> None:
        clock = Clock(longest_gap=10, back=1)
        assert self.shifts(clock, [(0, 2), (1, 3), (2, 4), (0, 0), (1, 1)]) == [0, 0, 0, 5, 5]

    def test_packets_without_a_time_follow_the_others(self) -> None:
        clock = Clock(longest_gap=10, back=1)
        assert self.shifts(clock, [(None, None), (5, 5), (6, None), (None, None), (0, 0), (None, None)]) == [
            *(0, 0, 0, 0),
            *(7, 7),
        ]

    def test_formats_with_an_index_are_believed(self) -> None:
        assert clock_of("mov,mp4,m4a,3gp,3g2,mj2", 90_000, has_index=True) is None
        assert clock_of("matroska,webm", 1000, has_index=True) is None
        assert clock_of("avi", 25, has_index=True) is None
        assert clock_of("matroska,webm", 1000, has_index=False) is not None
        assert clock_of("mpegts", 90_000, has_index=True) is not None
