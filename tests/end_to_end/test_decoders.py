"""Decoders that die: under a plain script with few handles, under the command line and Ctrl-C, while a clip is cut."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.colours import write_scenes
from wordframe.errors import VideoError
from wordframe.video import _process, apart, end_idle_decoders, export_moment_apart

SCRIPT = """
import json, resource, sys
from tests import faulty_worker
from tests.colours import ColourEncoder
from wordframe.library import Library
from wordframe.video import _process
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
_process.PROGRAM = faulty_worker.PROGRAM
print("once", file=sys.stderr)
for line in sys.stdin:
    summary = Library.open(sys.argv[2], encoder=ColourEncoder()).index([sys.argv[1]])
    print(json.dumps([summary.indexed, summary.unchanged, summary.failed, summary.known_failures]), flush=True)
"""
"""Without ``if __name__ == "__main__"``: what starts processes by importing it again would run it again."""

COMMAND = """
import sys
from tests import faulty_worker
from wordframe.cli.main import main
from wordframe.video import _process
_process.PROGRAM = faulty_worker.PROGRAM
sys.exit(main(sys.argv[1:]))
"""


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


Outcome = tuple[list[str], list[str], dict[str, str], dict[str, str]]


def run(script: subprocess.Popen[str]) -> Outcome:
    """Names of files that are indexed and unchanged, and reasons of those that failed now and before."""
    assert script.stdin is not None
    assert script.stdout is not None
    script.stdin.write("again\n")
    script.stdin.flush()
    indexed, unchanged, failed, known = json.loads(script.stdout.readline())
    reasons = [
        {os.path.basename(path): reason.removeprefix(path) for path, reason in each.items()} for each in (failed, known)
    ]
    return sorted(map(os.path.basename, indexed)), sorted(map(os.path.basename, unchanged)), reasons[0], reasons[1]


def test_who_killed_its_decoder_twice_is_not_tried_again_until_it_changes(tmp_path: Path) -> None:
    videos, file = tmp_path / "videos", tmp_path / "script.py"
    file.write_text(SCRIPT)
    for more, name in enumerate(("a", "b.segv", "c", "d.once-kill")):  # no two alike: copies are read once
        write_scenes(videos / f"{name}.mp4", ("red", 2.0), ("blue", 3.0 + more))
    mark, told = videos / "b.segv.died", " cannot be decoded: its decoder died twice (Segmentation fault)"
    good = ["a.mp4", "c.mp4", "d.once-kill.mp4"]
    command = [sys.executable, str(file), str(videos), str(tmp_path / "library")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment(), text=True, **pipes) as script:  # type: ignore[call-overload]
        assert run(script) == (good, [], {"b.segv.mp4": told}, {})
        mark.unlink()
        assert run(script) == ([], good, {}, {"b.segv.mp4": told})
        assert not mark.exists()
        os.utime(videos / "b.segv.mp4", (1, 1))
        assert run(script) == ([], good, {"b.segv.mp4": told}, {})
        assert mark.exists()
        assert script.communicate(timeout=60)[1] == "once\n"


def test_ctrl_c_ends_a_run_whose_decoder_hangs(tmp_path: Path) -> None:
    write_scenes(tmp_path / "videos" / "a.stop.mp4", ("red", 2.0), ("blue", 3.0))
    command = [sys.executable, "-c", COMMAND, "index", str(tmp_path / "videos"), "--library", str(tmp_path / "library")]
    process = subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    mark, workers = tmp_path / "videos" / "a.stop.died", []
    while not mark.exists() or not any(worker.status() == psutil.STATUS_STOPPED for worker in workers):
        assert process.poll() is None
        workers = psutil.Process(process.pid).children()
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert not [worker for worker in workers if worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("fault", ["segv", pytest.param("loop", marks=pytest.mark.slow)])
def test_cutting_survives_what_ends_the_process(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_scenes(tmp_path / "a.mp4", ("red", 2.0))
    target = tmp_path / "out" / "cut.mp4"
    target.parent.mkdir()
    assert export_moment_apart(source, target, 0.0, 1.0).target == target
    with pytest.raises(VideoError, match=r"a\.mp4: the moment starts at 9 s, but the video ends at 2\.000 s"):
        export_moment_apart(source, target, 9.0, 10.0, overwrite=True)
    target.unlink()
    end_idle_decoders()
    monkeypatch.setattr(_process, "PROGRAM", f"from tests.faulty_worker import main; main({fault!r})")
    monkeypatch.setattr(apart, "EXPORT_SECONDS", 2.0)
    with pytest.raises(VideoError, match=r"a\.mp4 cannot be cut: its decoder died twice"):
        export_moment_apart(source, target, 0.0, 1.0)
    assert list(target.parent.iterdir()) == []
    end_idle_decoders()
