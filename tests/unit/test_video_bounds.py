"""What one file may cost: pictures that stay for hours, headers that claim years, and honest files that are long."""

from __future__ import annotations

import contextlib
import itertools
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.colours import ColourEncoder
from tests.videos import write_video
from wordframe.errors import VideoError
from wordframe.extraction import Chunk, Job, extract
from wordframe.video import MAX_REPEATS, cut_segments, index_times, open_frames, open_keyframes
from wordframe.video import _limits as limits
from wordframe.video import decode as decode_module


def read(path: Path) -> tuple[int, str | None]:
    with open_frames(path, index_times, max_repeats=MAX_REPEATS) as frames:
        return sum(1 for _ in frames), frames.problem


def test_a_picture_that_stays_is_given_a_few_times_from_its_start_to_its_end(tmp_path: Path) -> None:
    path = write_video(tmp_path / "slides.mkv", seconds=[0.0, 600.0, 605.0, 1205.0], rate=1.0)
    with open_frames(path, itertools.count(), max_repeats=4) as frames:
        given = list(frames)
    assert [frame.seconds for frame in given][:9] == [0, 199, 399, 599, 600, 601, 602, 604, 605]
    assert len({id(frame.rgb) for frame in given}) == 4
    with open_frames(path, itertools.count()) as frames:
        assert sum(1 for _ in frames) >= 1205
    with pytest.raises(ValueError, match="max_repeats must be at least 1 or None, got 0"):
        open_frames(path, [], max_repeats=0)


def test_pictures_that_stay_for_an_hour_cost_once(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "hours.mkv",
        seconds=[3599.0 * number for number in range(40)],
        rate=1.0,
        container_options={"live": "1"},
    )
    started = time.monotonic()
    chunks = list(extract([Job("hours", str(path))], ColourEncoder(), times=index_times, reuse=True))
    assert time.monotonic() - started < 20
    assert all(isinstance(chunk, Chunk) for chunk in chunks)
    frames = sum(len(chunk.seconds) for chunk in chunks if isinstance(chunk, Chunk))
    reused = sum(chunk.num_reused for chunk in chunks if isinstance(chunk, Chunk))
    assert frames <= 40 * MAX_REPEATS
    assert frames - reused <= 40


def test_each_slide_of_a_talk_of_two_hours_is_a_moment(tmp_path: Path) -> None:
    path = write_video(tmp_path / "talk.mp4", seconds=[600.0 * number for number in range(13)], rate=1.0)
    with open_frames(path, index_times, max_repeats=MAX_REPEATS) as frames:
        given = [frame for frame in frames if frame.seconds < 7200]
    pictures = list(dict.fromkeys(id(frame.rgb) for frame in given))
    assert len(pictures) == 12
    features = np.eye(12)[[pictures.index(id(frame.rgb)) for frame in given]]
    seconds = np.array([frame.seconds for frame in given])
    for segment in cut_segments(seconds, features, 7200.0):
        slides = set(features[segment.first_frame : segment.last_frame_exclusive].argmax(axis=1).tolist())
        (slide,) = slides
        assert slide * 600 <= segment.start_seconds < segment.end_seconds <= (slide + 1) * 600


def test_a_day_of_a_camera_is_far_from_the_bounds() -> None:
    a_day = 24 * 3600
    assert a_day * 2 < limits.MAX_FRAMES
    assert a_day < limits.MAX_DURATION_SECONDS
    # at 25 kB a second of video, as fast as it plays
    assert limits.Allowance(a_day * 25_000).seconds > 2 * a_day


def test_the_most_frames_of_a_video_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_module, "MAX_FRAMES", 5)
    path = write_video(tmp_path / "clip.mp4", num_frames=100)
    assert read(path) == (5, "at the limit of 5 frames a video: the rest was not looked at")
    with open_frames(path, [0.0, 1.0, 2.0, 3.0, 4.0]) as frames:
        assert sum(1 for _ in frames) == 5
    assert frames.problem is None


@pytest.mark.parametrize("suffix", ["mp4", "ts"])
def test_the_most_work_of_a_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    path = write_video(tmp_path / f"clip.{suffix}", num_frames=200)
    calls = itertools.count()
    monkeypatch.setattr(limits, "perf_counter", lambda: 10.0 * next(calls))  # each look at the clock takes 10 s
    with open_frames(path, itertools.count()) as frames:
        given = list(frames)
    assert 1 <= len(given) < 15
    assert frames.problem is not None
    assert "stopped after 6" in frames.problem  # 600 s, and one for each 10 kB
    assert "s of work, the limit for a file of its size; ends early: decoded until" in frames.problem


def test_only_the_work_of_reading_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(limits, "perf_counter", lambda: now[0])
    allowance = limits.Allowance(num_bytes=0)
    with allowance:
        now[0] += 500
        assert not allowance.is_spent()
    now[0] += 1e6  # the caller's
    with allowance:
        now[0] += 99
        assert not allowance.is_spent()
        now[0] += 2
        assert allowance.is_spent()
    assert allowance.is_spent()


def big(value: int) -> bytes:
    return struct.pack(">I", value)


CLAIMS: dict[str, tuple[str, bytes, int, bytes]] = {
    "a film of years": ("mp4", b"mvhd", 20, big(0xFFFFFFF0)),
    "a stream of years": ("mp4", b"mdhd", 20, big(0xFFFFFFF0)),
    "30,000 pixels a side": ("mp4", b"avc1", 28, struct.pack(">HH", 30_000, 30_000)),
    "two thousand million frames": ("mp4", b"stts", 12, big(0x7FFFFFFF)),
    "frames of hours": ("mp4", b"stts", 16, big(0x7FFFFFFF)),
    "frames of a tick": ("mp4", b"stts", 16, big(1)),
    "two thousand million sizes": ("mp4", b"stsz", 12, big(0x7FFFFFFF)),
    "a film of ages": ("mkv", b"\x44\x89\x88", 3, struct.pack(">d", 1e15)),
    "a film of no length": ("mkv", b"\x44\x89\x88", 3, struct.pack(">d", float("nan"))),
    "sixty million frames": ("avi", b"strh", 40, struct.pack("<I", 60_000_000)),
    "a million frames a second": ("avi", b"strh", 28, struct.pack("<II", 1, 1_000_000)),
    "a frame an hour": ("avi", b"strh", 28, struct.pack("<II", 3600, 1)),
    "30,000 pixels in an avi": ("avi", b"strf", 12, struct.pack("<ii", 30_000, 30_000)),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_a_header_claims_costs_nothing(tmp_path: Path, claim: str) -> None:
    suffix, box, offset, value = CLAIMS[claim]
    codec = "mpeg4" if suffix == "avi" else "libx264"
    path = write_video(tmp_path / f"claims.{suffix}", num_frames=30, codec=codec)
    data = bytearray(path.read_bytes())
    at = data.index(box) + offset
    data[at : at + len(value)] = value
    path.write_bytes(data)
    started = time.monotonic()
    for open_file in (lambda: open_frames(path, index_times, max_repeats=MAX_REPEATS), lambda: open_keyframes(path)):
        check_cheap(open_file)
    assert time.monotonic() - started < 10


def check_cheap(open_file: Callable[[], decode_module.FrameStream]) -> None:
    with contextlib.suppress(VideoError), open_file() as frames:
        assert 1 <= sum(1 for _ in frames) <= 30 * MAX_REPEATS


def test_a_shared_file_of_hours_long_pictures(shared: Path) -> None:
    path = shared / "hard_files" / "shown_for_an_hour_each.mkv"
    with open_frames(path, index_times, short_side=224, max_repeats=MAX_REPEATS) as frames:
        pictures = [id(frame.rgb) for frame in frames]
    assert len(pictures) <= 1000 * MAX_REPEATS
    assert max(len(list(group)) for _, group in itertools.groupby(pictures)) <= MAX_REPEATS
