"""Damaged and endless files: no crash, no hang, no noise, bounded memory; each file is told or read."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.videos import damaged_copies, write_long_video, write_video
from wordframe.errors import VideoError
from wordframe.video import index_times, open_frames

READ_ALL = """
import json, sys, time
from pathlib import Path
from wordframe.errors import VideoError
from wordframe.video import index_times, open_frames
outcomes = {}
for path in sys.argv[1:]:
    started = time.monotonic()
    try:
        with open_frames(path, index_times, short_side=288) as frames:
            count = sum(1 for _ in frames)
        line = frames.problem or ""
    except VideoError as error:
        count, line = 0, str(error)
    outcomes[path] = [count, line, time.monotonic() - started]
# the highest resident size of this program alone; getrusage would hand down that of the program which started it
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(json.dumps([outcomes, int(peak.split()[1]) // 1024]))
"""


def read_all(paths: list[Path], timeout_seconds: float) -> tuple[dict[str, list[object]], int]:
    """Read every file in a process of its own: how many frames, what was told, seconds; and the peak megabytes."""
    command = [sys.executable, "-c", READ_ALL, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_seconds, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    outcomes, megabytes = json.loads(done.stdout)
    return outcomes, megabytes


def check_damaged(clips: Path, target: Path, count: int, timeout_seconds: float) -> None:
    outcomes, megabytes = read_all(damaged_copies(clips, target, count, seed=7), timeout_seconds)
    assert len(outcomes) == count
    assert megabytes < 700
    for num_frames, line, seconds in outcomes.values():
        assert isinstance(line, str)
        assert num_frames or line
        assert "\n" not in line
        assert isinstance(seconds, float)
        assert seconds < 20
    assert sum(1 for num_frames, _, _ in outcomes.values() if num_frames) >= count / 4
    assert sum(1 for _, line, _ in outcomes.values() if line) >= count / 2


def test_damaged_copies_of_the_clips(shared: Path, tmp_path: Path) -> None:
    check_damaged(shared / "clips", tmp_path, 42, 120)


@pytest.mark.slow
def test_three_hundred_damaged_copies_of_the_clips(shared: Path, tmp_path: Path) -> None:
    check_damaged(shared / "clips", tmp_path, 300, 900)


def test_damage_is_repeatable(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    write_video(tmp_path / "whole" / "clip.mp4")
    first = [path.read_bytes() for path in damaged_copies(tmp_path / "whole", tmp_path / "a", 7, seed=1)]
    again = [path.read_bytes() for path in damaged_copies(tmp_path / "whole", tmp_path / "b", 7, seed=1)]
    other = [path.read_bytes() for path in damaged_copies(tmp_path / "whole", tmp_path / "c", 7, seed=2)]
    assert first == again != other


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "ts"])
def test_a_file_cut_anywhere_is_told_or_read(tmp_path: Path, suffix: str) -> None:
    options = {"movflags": "faststart"} if suffix == "mp4" else {}
    whole = write_video(tmp_path / f"whole.{suffix}", num_frames=60, keyframe_interval=12, container_options=options)
    data = whole.read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    most = 0
    for size in range(1, len(data), len(data) // 40):
        cut.write_bytes(data[:size])
        try:
            with open_frames(cut, itertools.count()) as frames:
                given = len(list(frames))
        except VideoError:
            given = 0
        assert given <= 6
        most = max(most, given)
    assert most == 6


def test_a_stream_that_comes_up_on_the_way_ends_nothing(tmp_path: Path) -> None:
    """Sound that starts late in an FLV whose head says that there is none."""
    path = write_video(tmp_path / "late.flv", num_frames=60, codec="flv")
    with open_frames(path, itertools.count()) as frames:
        expected = [frame.seconds for frame in frames]
    sound = b"\x3e" + bytes(64)  # 16 bits, one channel
    tag = b"\x08" + len(sound).to_bytes(3, "big") + (5000).to_bytes(3, "big") + bytes(4) + sound
    path.write_bytes(path.read_bytes() + tag + len(tag).to_bytes(4, "big"))
    with open_frames(path, itertools.count()) as frames:
        assert [frame.seconds for frame in frames] == expected == [0, 1, 2, 3, 4, 5]
        assert frames.problem is None


def test_times_that_jump_are_told(tmp_path: Path) -> None:
    seconds = [0.0, 0.1, 0.2, 90_000.0, 90_000.1]
    path = write_video(tmp_path / "jump.mkv", seconds=seconds, codec="ffv1", container_options={"live": "1"})
    with open_frames(path, itertools.count()) as frames:
        given = list(frames)
    assert len(given) <= 2
    assert frames.problem is not None
    assert "damaged: its times jump from 0.2 s to 90000.0 s" in frames.problem


def test_memory_does_not_grow_with_the_number_of_frames(tmp_path: Path) -> None:
    path = write_long_video(tmp_path / "long.mp4", seconds=300)
    process = psutil.Process()
    with open_frames(path, itertools.count()) as frames:
        next(frames)
        before = process.memory_info().rss
        assert sum(1 for _ in frames) == 299
        assert process.memory_info().rss - before < 40 << 20


@pytest.mark.slow
def test_an_hour_takes_no_more_memory_than_a_minute(tmp_path: Path) -> None:
    minute = write_long_video(tmp_path / "minute.mp4", seconds=60)
    hour = write_long_video(tmp_path / "hour.mp4", seconds=3600)
    _, minute_megabytes = read_all([minute], 60)
    outcomes, hour_megabytes = read_all([hour], 300)
    assert [num_frames for num_frames, _, _ in outcomes.values()] == [3600]
    assert hour_megabytes - minute_megabytes < 30


def test_index_times_of_a_real_file(tmp_path: Path) -> None:
    path = write_video(tmp_path / "short.mp4", num_frames=12)
    with open_frames(path, index_times) as frames:
        assert len(list(frames)) == 8
