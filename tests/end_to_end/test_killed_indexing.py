"""An indexing run killed with SIGKILL at random moments loses nothing and doubles nothing."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.colours import COLOURS, ColourEncoder, write_scenes
from wordframe.library import Library

NUM_VIDEOS = 60
ROOT = Path(__file__).parents[2]


def victim(videos: Path, library: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.kill_target", str(videos), str(library)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def check_whole(library: Library) -> int:
    """Every video that is there is there once and whole; gives their number."""
    if not library.exists:
        return 0
    rows = library.snapshot().select("true", ["segment_id", "video_id", "path", "num_segments"])
    assert max(Counter(row["segment_id"] for row in rows).values(), default=1) == 1
    segments = Counter(row["video_id"] for row in rows)
    assert all(segments[row["video_id"]] == row["num_segments"] for row in rows)
    paths = {row["video_id"]: row["path"] for row in rows}
    assert len(set(paths.values())) == len(paths)
    return len(paths)


def kill_often(tmp_path: Path, kills: int, seed: int) -> None:
    videos, folder = tmp_path / "videos", tmp_path / "library"
    names = list(COLOURS)
    for number in range(NUM_VIDEOS):
        write_scenes(videos / f"{number:03d}.mp4", (names[number % 8], 0.5 + 0.01 * number))
    chance = random.Random(seed)
    landed = attempts = 0
    while landed < kills:
        attempts += 1
        assert attempts <= 5 * kills, "most runs end before they are killed; the test shows little"
        process = victim(videos, folder)
        time.sleep(chance.uniform(0.0, 0.6))
        landed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        check_whole(Library.open(folder))
        for number in chance.sample(range(NUM_VIDEOS), 20):  # work for the next run, so that kills meet replacements
            write_scenes(videos / f"{number:03d}.mp4", (chance.choice(names), chance.uniform(0.5, 2.0)))
    library = Library.open(folder, encoder=ColourEncoder())
    summary = library.index([videos])
    assert summary.failed == {}
    assert check_whole(library) == NUM_VIDEOS
    assert len(library.index([videos]).unchanged) == NUM_VIDEOS


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    kill_often(tmp_path, kills=2, seed=0)


@pytest.mark.slow
def test_killed_at_many_random_moments(tmp_path: Path) -> None:
    kill_often(tmp_path, kills=60, seed=1)
