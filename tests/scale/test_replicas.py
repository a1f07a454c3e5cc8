"""``wordframe serve --replicas``: eight callers, a replica killed under load, a new version, the end."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.colours import write_scenes
from tests.scale.under_load import TOKEN, WAIT_SECONDS, answers_while_one_is_killed, two_films, wait_until
from wordframe.cli import main

pytestmark = pytest.mark.scale
CALLERS = 8


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_films(tmp_path_factory.mktemp("replicas"))


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of two replicas that are both ready, and their supervisor."""
    command = [sys.executable, "-m", "wordframe", "serve", "--library", str(place / "library"), "--port", "0"]
    command += ["--replicas", "2", "--allow-index", "--token", TOKEN]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found = re.search(r"http://\S+?/", process.stdout.readline())
    assert found
    wait_until(lambda: len(replicas(process)) == 2)
    yield found[0] + "api/v1", process
    process.kill()
    process.wait()


def replicas(supervisor: subprocess.Popen[str]) -> list[psutil.Process]:
    return [child for child in psutil.Process(supervisor.pid).children() if is_replica(child)]


def is_replica(process: psutil.Process) -> bool:
    try:
        return any("spawn_main" in word for word in process.cmdline())
    except psutil.Error:  # dead by now
        return False


def ask(address: str, path: str, method: str = "GET") -> httpx.Response:
    """As a proxy that tries again does: a connection that breaks costs another try, an answer none.

    A connection of its own each time, so that any replica may take it.
    """
    for _ in range(50):
        try:
            with httpx.Client(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60) as client:
                return client.request(method, address + path)
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"no answer from {address}")


def wait_for_all(address: str) -> None:
    """Until both are ready: twenty answers in a row."""
    in_a_row = 0
    until = time.monotonic() + WAIT_SECONDS
    while in_a_row < 20:
        assert time.monotonic() < until
        in_a_row = in_a_row + 1 if ask(address, "/ready").status_code == 200 else 0
        time.sleep(0.02)


def test_one_that_is_killed_under_load_costs_no_request(server: tuple[str, subprocess.Popen[str]]) -> None:
    address, supervisor = server
    wait_for_all(address)

    def search() -> tuple[int, int]:
        answer = ask(address, "/search?text=a+red+picture")
        return answer.status_code, answer.json().get("num_videos", 0)

    answers = answers_while_one_is_killed(search, lambda: replicas(supervisor), callers=CALLERS, some=50)
    assert set(answers) <= {(200, 2), (503, 0)}  # 503: all places are taken, come back; the client does
    assert sum(status == 200 for status, _ in answers) > 50
    wait_for_all(address)


def test_a_new_version_shows_in_all_within_seconds(place: Path, server: tuple[str, subprocess.Popen[str]]) -> None:
    address, _ = server
    write_scenes(place / "videos" / "blue.mp4", ("blue", 3))
    assert main(["index", str(place / "videos"), "--library", str(place / "library")]) == 0
    time.sleep(2)
    for _ in range(20):
        assert ask(address, "/search?text=a+red+picture").json()["num_videos"] == 3


def test_a_page_of_videos_goes_on_with_whichever_answers(server: tuple[str, subprocess.Popen[str]]) -> None:
    address, _ = server
    for _ in range(10):
        first = ask(address, "/videos?limit=1").json()
        second = ask(address, f"/videos?limit=1&cursor={first['next_cursor']}").json()
        assert first["items"][0]["video_id"] != second["items"][0]["video_id"]


def test_the_end_leaves_nobody(server: tuple[str, subprocess.Popen[str]]) -> None:
    _, supervisor = server
    children = psutil.Process(supervisor.pid).children(recursive=True)
    supervisor.send_signal(signal.SIGINT)
    _, err = supervisor.communicate(timeout=60)
    assert "Traceback" not in err
    assert "another takes its place" in err
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive


def test_a_supervisor_that_is_killed_takes_its_replicas_along(place: Path) -> None:
    command = [sys.executable, "-m", "wordframe", "serve", "--library", str(place / "library"), "--port", "0"]
    process = subprocess.Popen([*command, "--replicas", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: len(replicas(process)) == 2)
    assert process.stdout is not None
    found = re.search(r"http://\S+?/", process.stdout.readline())
    assert found
    wait_for_all(found[0] + "api/v1")
    children = replicas(process)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
