"""Frames from a process of their own: the same to the byte; what kills the process costs one video, in one line."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests import faulty_worker
from tests.colours import ColourEncoder, write_scenes
from tests.videos import damaged_copies, write_video
from wordframe.errors import DecoderError, VideoError
from wordframe.extraction import Chunk, Failure, Job, extract
from wordframe.video import (
    Decoders,
    FramesApart,
    FrameStream,
    VideoInfo,
    _process,
    apart,
    end_idle_decoders,
    index_times,
    open_frames,
    open_frames_apart,
    open_keyframes,
)


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    """The decoding ones among its children; a test run has others."""
    return [child for child in process.children() if any("_worker" in word for word in command_of(child))]


def command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.ZombieProcess:  # one of another test that ended by itself, and was not asked for since
        return []


def same(ours: FramesApart, theirs: FrameStream) -> int:
    """How many frames; all that is told of them is compared."""
    assert ours.info == theirs.info
    count = 0
    last_ours = last_theirs = None
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.seconds == other.seconds
        np.testing.assert_array_equal(mine.rgb, other.rgb)
        assert (mine.rgb is last_ours) == (other.rgb is last_theirs)  # a picture that stays is one array
        last_ours, last_theirs = mine.rgb, other.rgb
        count += 1
    assert (ours.problem, ours.note) == (theirs.problem, theirs.note)
    return count


class TestTheSameFrames:
    @pytest.mark.parametrize("short_side", [None, 40])
    @pytest.mark.parametrize("threads", [1, 2])
    def test_of_many_kinds(self, tmp_path: Path, short_side: int | None, threads: int) -> None:
        kinds = [
            write_video(tmp_path / "plain.mp4"),
            write_video(tmp_path / "turned.mp4", rotation_degrees=90),
            write_video(tmp_path / "odd.mkv", width=131, height=77, pixel_format="yuv444p"),
            write_video(tmp_path / "stays.mp4", seconds=[0.0, 0.4, 5.0, 5.1, 9.0]),
            write_video(tmp_path / "late.ts", start_seconds=100.0),
        ]
        for path in kinds:
            options = {"short_side": short_side, "threads": threads}
            with (
                open_frames_apart(path, index_times, **options) as ours,
                open_frames(path, index_times, **options) as theirs,
            ):
                assert same(ours, theirs)
            with (
                Decoders().open_frames(path, index_times, max_repeats=3, **options) as ours,
                open_frames(path, index_times, max_repeats=3, **options) as theirs,
            ):
                assert same(ours, theirs)
            with Decoders().open_frames(path, None, **options) as ours, open_keyframes(path, **options) as theirs:
                assert same(ours, theirs)

    def test_of_damaged_files(self, tmp_path: Path) -> None:
        (tmp_path / "whole").mkdir()
        write_video(tmp_path / "whole" / "a.mp4", num_frames=100)
        for path in damaged_copies(tmp_path / "whole", tmp_path / "damaged", 14, seed=5):
            outcomes = []
            for opened in (open_frames_apart, open_frames):
                try:
                    with opened(path, index_times, short_side=64) as frames:
                        pictures = [(frame.seconds, frame.rgb.tobytes()) for frame in frames]
                        outcomes.append((frames.info, frames.problem, pictures))
                except VideoError as error:
                    outcomes.append(str(error))
            assert outcomes[0] == outcomes[1]

    def test_of_the_shared_clips(self, shared: Path) -> None:
        for path in sorted((shared / "clips").rglob("*.*"))[::12]:
            if path.suffix in {".mp4", ".mkv", ".avi", ".webm", ".mov", ".ts"}:
                with (
                    open_frames_apart(path, index_times, short_side=224) as ours,
                    open_frames(path, index_times, short_side=224) as theirs,
                ):
                    assert same(ours, theirs)

    def test_at_more_times_than_are_sent_at_once_and_at_endless_ones(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(apart, "TIMES_AT_ONCE", 7)
        path = write_video(tmp_path / "a.mp4")  # 3 s
        every = [number / 100 for number in range(300)]
        with open_frames_apart(path, every) as ours, open_frames(path, every) as theirs:
            assert same(ours, theirs) == 300

        def endless(info: VideoInfo) -> Iterator[float]:
            seconds = 0.0
            while True:
                yield seconds
                seconds += 0.25

        with open_frames_apart(path, endless) as ours, open_frames(path, endless) as theirs:
            assert same(ours, theirs) == 12

    def test_an_error_of_the_times_comes_when_they_are_used_up(self, tmp_path: Path) -> None:
        def times(*before: float) -> Iterator[float]:
            yield from before
            raise LookupError("no more")

        path = write_video(tmp_path / "a.mp4")
        with (
            open_frames_apart(path, lambda info: times(0.0, 1.0)) as frames,
            pytest.raises(LookupError, match="no more"),
        ):
            list(frames)
        with open_frames_apart(path, lambda info: times(0.0, 1.0, 1000.0)) as frames:
            assert len(list(frames)) == 2

    def test_wrong_times_are_told(self, tmp_path: Path) -> None:
        with (
            open_frames_apart(write_video(tmp_path / "a.mp4"), [1.0, math.nan]) as frames,
            pytest.raises(
                VideoError, match=r"a\.mp4: ValueError: times must be ascending seconds from 0 on, got nan after 1\.0"
            ),
        ):
            list(frames)

    def test_a_name_in_an_old_encoding(self, tmp_path: Path) -> None:
        path = os.fsencode(tmp_path) + b"/caf\xe9 \n.mp4"
        write_video(tmp_path / "a.mp4").rename(os.fsdecode(path))
        with open_frames_apart(path, [0.0]) as frames:
            assert len(list(frames)) == 1


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Workers of this test come to grief in files whose names say so."""
    end_idle_decoders()
    monkeypatch.setattr(_process, "PROGRAM", faulty_worker.PROGRAM)
    monkeypatch.setattr(apart, "STALL_SECONDS", 3.0)
    yield
    end_idle_decoders()


TOLD = {
    "stop": "cannot be decoded: its decoder died twice (it hung for 3 s)",
    "loop": "cannot be decoded: its decoder died twice (it hung for 3 s)",
    "segv": "cannot be decoded: its decoder died twice (Segmentation fault)",
    "kill": "cannot be decoded: its decoder died twice (Killed; perhaps there is too little memory)",
    "exit": "cannot be decoded: its decoder died twice (it ended with the status 3)",
    "memory": "cannot be decoded: it needs more than 2048 MiB of memory",
}
"""The longest first: the others come to their end beside them."""


@pytest.mark.usefixtures("faults")
class TestDeaths:
    def test_each_costs_one_line_and_the_rest_goes_on(self, tmp_path: Path) -> None:
        scenes = [("red", 1.0), ("green", 1.0), ("blue", 3.0)]
        good = [write_scenes(tmp_path / f"good{number}.mp4", *scenes) for number in range(6)]
        bad = {fault: write_scenes(tmp_path / f"bad.{fault}.mp4", *scenes) for fault in TOLD}
        paths = [path for pair in zip(good, bad.values(), strict=True) for path in pair]
        jobs = [Job(str(path), str(path)) for path in paths]
        results = list(extract(jobs, ColourEncoder(), times=index_times, chunk_frames=1, cores=3))
        told = {result.key: result.reason for result in results if isinstance(result, Failure)}
        assert told == {str(path): f"{path} {TOLD[fault]}" for fault, path in bad.items()}
        whole = {result.key for result in results if isinstance(result, Chunk) and result.last}
        assert whole == {str(path) for path in good}

    def test_who_dies_once_is_begun_again_and_nothing_is_given_twice(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.once-segv.mp4", num_frames=60)
        with open_frames_apart(path, index_times) as ours, open_frames(path, index_times) as theirs:
            assert same(ours, theirs) > 4
        assert path.with_suffix(".died").exists()

    def test_a_process_that_died_while_it_was_idle_is_no_videos_fault(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.mp4")
        end_idle_decoders()  # those of other tests
        with open_frames_apart(path, [0.0]) as frames:
            list(frames)
        (worker,) = workers_of(psutil.Process())
        worker.kill()
        worker.wait(10)
        with open_frames_apart(path, [0.0]) as frames:
            assert len(list(frames)) == 1

    def test_closing_ends_what_hangs(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.stop.mp4", num_frames=60)
        decoders, ended = Decoders(), threading.Event()
        waits = threading.Event()

        def read() -> None:
            with decoders.open_frames(path, index_times) as frames:
                next(frames), next(frames)
                waits.set()
                with pytest.raises(ValueError, match="these decoders are closed"):
                    next(frames)
            ended.set()

        thread = threading.Thread(target=read)
        thread.start()
        assert waits.wait(60)
        decoders.close()
        assert ended.wait(30)
        thread.join()
        assert workers_of(psutil.Process()) == []


class TestProcesses:
    def test_one_is_used_again(self, tmp_path: Path) -> None:
        end_idle_decoders()
        path = write_video(tmp_path / "a.mp4")
        seen = set()
        for _ in range(3):
            with open_frames_apart(path, [0.0]) as frames:
                list(frames)
            seen |= {child.pid for child in workers_of(psutil.Process())}
        assert len(seen) == 1

    def test_an_idle_one_ends_by_itself(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        end_idle_decoders()
        monkeypatch.setattr(
            _process, "PROGRAM", "from wordframe.video import _worker; _worker.IDLE_SECONDS = 0.5; _worker.main()"
        )
        with open_frames_apart(write_video(tmp_path / "a.mp4"), [0.0]) as frames:
            list(frames)
        (worker,) = workers_of(psutil.Process())
        worker.wait(30)

    def test_one_that_is_left_in_the_middle_is_ended(self, tmp_path: Path) -> None:
        end_idle_decoders()
        with open_frames_apart(write_video(tmp_path / "a.mp4", num_frames=300), index_times) as frames:
            next(frames)
        assert workers_of(psutil.Process()) == []

    def test_that_none_can_be_started_ends_the_run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        end_idle_decoders()
        monkeypatch.setattr(_process, "PROGRAM", "raise SystemExit(7)")
        jobs = [Job("a", str(write_video(tmp_path / "a.mp4")))]
        with pytest.raises(DecoderError, match="cannot be started: it ended with the status 7"):
            list(extract(jobs, ColourEncoder(), times=index_times))

    def test_a_fork_leaves_them_to_its_parent(self, tmp_path: Path) -> None:
        with open_frames_apart(write_video(tmp_path / "a.mp4"), [0.0]) as frames:
            list(frames)
        assert _process._idle
        child = os.fork()
        if child == 0:
            os._exit(len(_process._idle))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert _process._idle


def test_they_outlive_no_parent_whatever_they_do(tmp_path: Path) -> None:
    """Neither in the middle of a video, nor stopped, nor in a loop."""
    paths = [str(write_video(tmp_path / name, num_frames=600)) for name in ("a.mp4", "b.stop.mp4", "c.loop.mp4")]
    code = (
        "import sys, threading, time; from wordframe.video import Decoders, _process, index_times\n"
        "from tests import faulty_worker; _process.PROGRAM = faulty_worker.PROGRAM\n"
        "decoders = Decoders()\n"
        "streams = [decoders.open_frames(path, index_times) for path in sys.argv[1:]]\n"
        "for stream in streams: next(stream), next(stream)\n"
        "print('there', flush=True); time.sleep(600)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = subprocess.Popen([sys.executable, "-c", code, *paths], stdout=subprocess.PIPE, env=environment)
    assert run.stdout is not None
    assert run.stdout.readline() == b"there\n"
    workers = workers_of(psutil.Process(run.pid))
    assert len(workers) == 3
    run.send_signal(signal.SIGKILL)
    run.wait()
    run.stdout.close()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive
