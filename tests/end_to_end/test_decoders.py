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
summary = Library.open(sys.argv[2], encoder=ColourEncoder()).index([sys.argv[1]])
print(json.dumps([summary.indexed, summary.unchanged, summary.failed, summary.known_failures]))
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


def run(script: Path, videos: Path, library: Path) -> tuple[list[str], list[str], dict[str, str], dict[str, str]]:
    """Names of files that are indexed and unchanged, and reasons of those that failed now and before."""
    command = [sys.executable, str(script), str(videos), str(library)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True, timeout=300)
    assert done.stderr == "once\n"
    indexed, unchanged, failed, known = json.loads(done.stdout)
    cut = {os.path.basename(path): reason.removeprefix(path) for path, reason in (failed | known).items()}
    return (
        sorted(map(os.path.basename, indexed)),
        sorted(map(os.path.basename, unchanged)),
        {name: cut[name] for name in map(os.path.basename, failed)},
        {name: cut[name] for name in map(os.path.basename, known)},
    )


def test_who_killed_its_decoder_twice_is_not_tried_again_until_it_changes(tmp_path: Path) -> None:
    videos, script = tmp_path / "videos", tmp_path / "script.py"
    script.write_text(SCRIPT)
    for more, name in enumerate(("a", "b.segv", "c", "d.once-kill")):  # no two alike: copies are read once
        write_scenes(videos / f"{name}.mp4", ("red", 2.0), ("blue", 3.0 + more))
    mark, told = videos / "b.segv.died", " cannot be decoded: its decoder died twice (Segmentation fault)"
    good = ["a.mp4", "c.mp4", "d.once-kill.mp4"]
    assert run(script, videos, tmp_path / "library") == (good, [], {"b.segv.mp4": told}, {})
    mark.unlink()
    assert run(script, videos, tmp_path / "library") == ([], good, {}, {"b.segv.mp4": told})
    assert not mark.exists()
    os.utime(videos / "b.segv.mp4", (1, 1))
    assert run(script, videos, tmp_path / "library") == ([], good, {"b.segv.mp4": told}, {})
    assert mark.exists()


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


@pytest.mark.parametrize("fault", ["segv", "loop"])
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
    monkeypatch.setattr(apart, "EXPORT_SECONDS", 3.0)
    with pytest.raises(VideoError, match=r"a\.mp4 cannot be cut: its decoder died twice"):
        export_moment_apart(source, target, 0.0, 1.0)
    assert list(target.parent.iterdir()) == []
    end_idle_decoders()
