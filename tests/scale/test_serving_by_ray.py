"""``wordframe serve --ray``: right answers, a replica killed under load, a new version, an orderly end.

One cluster of two cores for all; the tests go from its start to its end, in their order.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.colours import write_scenes
from tests.scale.under_load import TOKEN, answers_while_one_is_killed, served_on_ray, two_films, wait_until
from wordframe.cli import main
from wordframe.library import Library

pytestmark = pytest.mark.scale
CALLERS = 4


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_films(tmp_path_factory.mktemp("ray"))


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of two replicas, and the command that started them."""
    with served_on_ray(place / "library", "--replicas", "2", "--allow-index") as started:
        yield started


def replicas(command: subprocess.Popen[str]) -> list[psutil.Process]:
    return [process for process in psutil.Process(command.pid).children(recursive=True) if is_replica(process)]


def is_replica(process: psutil.Process) -> bool:
    return "ServeReplica:wordframe" in shown(process)


def shown(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # dead by now
        return ""


def ask(address: str, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    """As a client that tries again: after a broken connection, and after what the proxy says for a replica that died
    (a 500 that is none of the application's)."""
    for _ in range(50):
        try:
            with httpx.Client(headers={"Authorization": f"Bearer {TOKEN}"} | headers, timeout=60) as client:
                answer = client.request(method, address + path)
        except httpx.TransportError:
            time.sleep(0.1)
            continue
        if answer.status_code != 500 or "json" in answer.headers.get("content-type", ""):
            return answer
    raise AssertionError(f"no answer from {address}")


def test_searches_are_answered_and_tokens_asked_for(server: tuple[str, subprocess.Popen[str]]) -> None:
    """At once: a link that is printed is one that answers, and by replicas that are warm."""
    address, _ = server
    assert ask(address, "/ready").status_code == 200
    found = ask(address, "/search?text=a+red+picture").json()
    assert [item["video"]["name"] for item in found["items"]] == ["red.mp4", "green.mp4"]
    refused = ask(address, "/search?text=a+red+picture", Authorization="Bearer of-another-server")
    assert (refused.status_code, refused.headers["content-type"]) == (401, "application/problem+json")
    assert ask(address, "/library", Host="elsewhere.example").status_code == 421
    assert "<html" in ask(address.removesuffix("/api/v1"), "/").text


def test_a_part_of_a_video_is_sent(place: Path, server: tuple[str, subprocess.Popen[str]]) -> None:
    address, _ = server
    video = ask(address, "/videos?limit=1").json()["items"][0]
    part = ask(address.removesuffix("/api/v1"), video["media_url"], Range="bytes=100-299")
    whole = (place / "videos" / video["name"]).read_bytes()
    assert (part.status_code, part.content) == (206, whole[100:300])
    assert part.headers["content-range"] == f"bytes 100-299/{len(whole)}"


def test_one_that_is_killed_under_load_costs_no_request(server: tuple[str, subprocess.Popen[str]]) -> None:
    address, command = server

    def search() -> tuple[int, int]:
        answer = ask(address, "/search?text=a+red+picture")
        return answer.status_code, answer.json().get("num_videos", 0)

    answers = answers_while_one_is_killed(search, lambda: replicas(command), callers=CALLERS, some=30)
    assert set(answers) == {(200, 2)}


def test_a_new_version_shows_in_all_within_seconds(place: Path, server: tuple[str, subprocess.Popen[str]]) -> None:
    address, _ = server
    write_scenes(place / "videos" / "blue.mp4", ("blue", 3))
    assert main(["index", str(place / "videos"), "--library", str(place / "library")]) == 0
    until = time.monotonic() + 5
    while in_a_row(address, 10) != {3}:
        assert time.monotonic() < until


def in_a_row(address: str, asked: int) -> set[int]:
    return {ask(address, "/search?text=a+blue+picture").json()["num_videos"] for _ in range(asked)}


def test_the_end_leaves_nobody_and_ends_indexing_in_order(
    place: Path, server: tuple[str, subprocess.Popen[str]]
) -> None:
    address, command = server
    for place_in_line in range(60):
        write_scenes(place / "videos" / f"{place_in_line:02}.mp4", ("red", 20 + place_in_line), ("green", 10))
    assert ask(address, "/index", "POST").status_code == 202
    wait_until(lambda: ask(address, "/index").json()["files_done"] > 6)  # three are unchanged
    children = psutil.Process(command.pid).children(recursive=True)
    indexers = [process for process in children if "wordframe index" in shown(process)]
    assert indexers
    command.send_signal(signal.SIGINT)
    _, err = command.communicate(timeout=60)
    assert command.returncode == 130
    assert "Traceback" not in err
    assert "1 replica died; another takes its place" in err
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
    last_word = json.loads((place / "library" / "indexing.json").read_text())
    assert last_word["state"] == "stopped"  # a run that is killed leaves "running"
    assert 3 < len(Library.open(place / "library").videos()) < 63
