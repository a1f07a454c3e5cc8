"""Videos by the benchmarks' rule: one frame a second, spread evenly, also where a file's header is wrong."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.videos import plain_frames, shown_at, write_video
from wordframe.data import SampledFrames, VideoFiles, in_order, read_sampled
from wordframe.errors import VideoError


@pytest.mark.parametrize(("num_frames", "seconds"), [(12, [0, 1, 2, 3, 4]), (3, [0, 2, 4]), (1, [0])])
def test_the_frames_are_those_of_plain_decoding(tmp_path: Path, num_frames: int, seconds: list[int]) -> None:
    path = write_video(tmp_path / "five.mp4", num_frames=50, rate=10.0)
    sampled = read_sampled(path, num_frames=num_frames, short_side=None)
    assert sampled.seconds.tolist() == seconds
    np.testing.assert_array_equal(sampled.rgb, shown_at(plain_frames(path), [float(second) for second in seconds]))
    assert sampled.problem is None


def test_a_video_shorter_than_a_second_gives_one_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "blink.mp4", num_frames=3, rate=10.0)
    assert read_sampled(path, num_frames=12, short_side=None).seconds.tolist() == [0.0]


def test_a_file_that_ends_early_is_sampled_over_what_is_there(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mkv", num_frames=200, rate=10.0, keyframe_interval=10)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: int(0.45 * whole.stat().st_size)])
    sampled = read_sampled(cut, num_frames=4, short_side=None)
    there = len(plain_frames(cut)) / 10
    assert 5 < there < 12
    last = int(np.ceil(there)) - 1
    assert sampled.seconds.tolist() == [float(int(second)) for second in np.linspace(0, last, 4)]
    assert sampled.problem is not None
    assert "ends early" in sampled.problem


def test_a_file_that_does_not_tell_its_length_is_counted(tmp_path: Path) -> None:
    path = write_video(tmp_path / "raw.h264", num_frames=70, rate=10.0, container="h264")
    sampled = read_sampled(path, num_frames=3, short_side=None)
    assert len(sampled.rgb) == 3
    assert sampled.seconds[0] == 0.0
    assert sampled.seconds[-1] == int(sampled.seconds[-1]) > 1


def test_unreadable_and_missing_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    source = VideoFiles({"bad": tmp_path / "bad.mp4", "gone": tmp_path / "gone.mp4"}, short_side=16)
    with pytest.raises(VideoError, match=r"bad\.mp4"):
        source.read("bad", 4)
    with pytest.raises(VideoError, match=r"gone\.mp4: no such file"):
        source.stamp("gone")
    with pytest.raises(VideoError, match="there is no file of the video 'never'"):
        source.read("never", 4)


def test_larger_frames_than_the_source_gives_are_refused() -> None:
    with pytest.raises(ValueError, match="short_side=16 is too small, frames of 32 pixels are wanted"):
        VideoFiles({}, short_side=16).refuse_less(num_frames=4, short_side=32)


def test_frames_without_their_seconds_are_refused() -> None:
    with pytest.raises(ValueError, match="2 frames with 1 seconds"):
        SampledFrames(np.zeros((2, 4, 4, 3), np.uint8), np.zeros(1))
    with pytest.raises(ValueError, match=r"must be \(N, h, w, 3\) uint8"):
        SampledFrames(np.zeros((2, 4, 4), np.uint8), np.zeros(2))


def test_results_come_in_order_whoever_is_first() -> None:
    def work(number: int) -> int:
        time.sleep(0.02 if number % 3 == 0 else 0.0)
        return number * number

    before = torch.get_num_threads()
    assert list(in_order(work, range(40), threads=4)) == [number * number for number in range(40)]
    assert torch.get_num_threads() == before


def test_few_results_wait_and_a_stop_ends_the_work() -> None:
    started: list[int] = []
    stop = threading.Event()

    def work(number: int) -> int:
        started.append(number)
        return number

    results = in_order(work, range(1000), should_stop=stop.is_set, threads=2)
    assert next(results) == 0
    assert len(started) <= 6
    stop.set()
    assert len(list(results)) <= 1
    assert len(started) <= 7


def test_an_error_reaches_the_caller() -> None:
    def work(number: int) -> int:
        raise RuntimeError(f"number {number}")

    with pytest.raises(RuntimeError, match="number 0"):
        list(in_order(work, range(5), threads=2))
