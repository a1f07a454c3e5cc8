"""What a server tells of an indexing that it started itself: above all why one died."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.colours import ColourEncoder, write_scenes
from tests.served import ADDRESS, get, one_video, problem_of, serving
from wordframe.library import BY_SERVER, IndexProgress, IndexSummary, Library, read_status
from wordframe.library._local import LocalFolder
from wordframe.server import ServedLibrary, create_app

FILE_NAME = "indexing.json"
INTERRUPTED = f"""exec '{sys.executable}' -c 'import os, signal
signal.signal(signal.SIGINT, signal.SIG_DFL)  # it is ignored below a shell that was put into the background
os.kill(os.getpid(), signal.SIGINT)'"""


def after_a_run(client: TestClient) -> dict[str, Any]:
    """Start a run; give the status once it is over."""
    assert client.post("/api/v1/index").status_code == 202
    return over(client)


def over(client: TestClient) -> dict[str, Any]:
    until = time.monotonic() + 60
    while (told := get(client, "/index"))["state"] == "running":
        assert time.monotonic() < until
        time.sleep(0.05)
    return dict(told)


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file that runs in the place of the Python that would index; to be written by the test."""
    path = tmp_path / "program"
    monkeypatch.setattr("wordframe.server.indexing.sys", SimpleNamespace(executable=str(path)))
    return path


def write(program: Path, script: str) -> None:
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_why_a_run_died_is_told_until_the_next_one(tmp_path: Path) -> None:
    """The library's encoder is one that only this test knows: the command cannot load it."""
    library, _ = one_video(tmp_path)
    with serving(library, allow_index=True) as client:
        before = get(client, "/index")
        assert (before["state"], before["problem"]) == ("finished", None)
        told = after_a_run(client)
        assert told["state"] == "stopped"
        assert "colours" in told["problem"]
        assert not told["problem"].startswith("wordframe: ")
        assert (told["by_server"], told["files_total"], told["ended"]) == (False, 0, None)
        later = {"state": "finished", "process": 1, "started": time.time(), "beat": time.time()}
        (library / FILE_NAME).write_text(json.dumps(later))
        assert (get(client, "/index")["state"], get(client, "/index")["problem"]) == ("finished", None)


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo one >&2; echo 'wordframe: the disk is full' >&2; echo later >&2; exit 1", "the disk is full"),
        ("echo 'Traceback' >&2; echo 'MemoryError' >&2; echo >&2; exit 1", "MemoryError"),
        ("exit 3", "it ended with the status 3 and no word"),
        ("kill -9 $$", "the system ended it (Killed); perhaps there is too little memory"),
        ("printf '\\377 %s' '<b>' >&2; exit 1", "\N{REPLACEMENT CHARACTER} <b>"),
        ("yes wordframe: long | tr -d '\\n' | head -c 100000 >&2; exit 1", None),
        (INTERRUPTED, ""),
        ("exit 130", ""),
        ("echo 'wordframe: x: another run is writing; wait until it has ended (30 s)' >&2; exit 1", ""),  # it does it
    ],
)
def test_all_ways_to_die(tmp_path: Path, program: Path, script: str, problem: str | None) -> None:
    library, _ = one_video(tmp_path)
    write(program, script)
    with serving(library, allow_index=True) as client:
        told = after_a_run(client)
        assert told["state"] == "stopped"
        if problem is None:
            assert len(told["problem"]) == 500
        else:
            assert told["problem"] == (problem or None)


def test_a_run_that_died_while_it_told_its_progress(tmp_path: Path, program: Path) -> None:
    """Its file still says that it runs; the server knows better, and starts another one."""
    library, _ = one_video(tmp_path)
    status = {"state": "running", "started": time.time(), "beat": time.time() + 60, "files_done": 3, "files_total": 9}
    told = json.dumps(status).removeprefix("{")
    telling = f"echo '{{\"process\": '$$', {told}' > '{library}/{FILE_NAME}'"
    write(program, f"{telling}; kill -{int(signal.SIGSEGV)} $$")
    with serving(library, allow_index=True) as client:
        found = after_a_run(client)
        assert (found["state"], found["files_done"], found["files_total"]) == ("stopped", 3, 9)
        assert found["problem"].startswith("the system ended it (Segmentation fault")
        assert found["ended"] is not None
        assert after_a_run(client)["state"] == "stopped"


def test_any_server_ends_a_run_that_another_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library, _ = one_video(tmp_path)
    write_scenes(tmp_path / "videos" / "more.mp4", ("blue", 3))
    monkeypatch.setenv(BY_SERVER, "1")
    monkeypatch.setattr(LocalFolder, "beat_seconds", 0.02)
    begun, may_go_on = threading.Event(), threading.Event()

    def wait(progress: IndexProgress) -> None:
        begun.set()
        assert may_go_on.wait(60)

    def index() -> IndexSummary:
        return Library.open(library, encoder=ColourEncoder()).index(tmp_path / "videos", on_progress=wait)

    def beat() -> float:
        status = read_status(library)
        assert status is not None
        return status.beat

    with ThreadPoolExecutor(1) as elsewhere, serving(library, allow_index=True) as client:
        run = elsewhere.submit(index)
        assert begun.wait(60)
        told = get(client, "/index")
        assert (told["state"], told["by_server"]) == ("running", True)
        problem_of(client.post("/api/v1/index"), 409)
        assert client.delete("/api/v1/index").status_code == 202
        for _ in range(3):  # of two beats one began after the asking
            before = beat()
            while beat() == before:
                time.sleep(0.01)
        may_go_on.set()
        assert run.result().interrupted
        assert over(client)["state"] == "stopped"
        problem_of(client.delete("/api/v1/index"), 409)


def test_another_run_is_not_disturbed(tmp_path: Path) -> None:
    library, _ = one_video(tmp_path)
    status = {"state": "running", "process": 1, "started": time.time(), "beat": time.time()}
    (library / FILE_NAME).write_text(json.dumps(status))
    with serving(library, allow_index=True) as client:
        assert problem_of(client.post("/api/v1/index"), 409) == "the library is being indexed already"
        assert problem_of(client.delete("/api/v1/index"), 409).startswith("no indexing that a server started")


def test_a_run_has_the_runtime_that_the_server_was_given(tmp_path: Path, program: Path) -> None:
    library, video = one_video(tmp_path)
    write(program, f"echo \"$@\" > '{tmp_path}/given'")
    served = ServedLibrary(library, encoder=ColourEncoder(), runtime="torch")
    with TestClient(create_app(served, allow_index=True), base_url=ADDRESS) as client:
        after_a_run(client)
    given = (tmp_path / "given").read_text()
    assert given == f"-m wordframe index --library {library} --runtime torch -- {video.parent}\n"


def test_a_run_needs_no_place_for_temporary_files(
    tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, _ = one_video(tmp_path)
    write(program, "exit 3")
    with serving(library, allow_index=True) as client:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
        assert after_a_run(client)["problem"] == "it ended with the status 3 and no word"
