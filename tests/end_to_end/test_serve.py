"""The real ``wordframe serve``: its link, its page and API, indexing from it, its refusals, its end."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.colours import write_scenes
from wordframe.cli import main
from wordframe.client import Client, ServerError


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``videos`` and their ``library``, made by the command."""
    folder = tmp_path_factory.mktemp("serve")
    write_scenes(folder / "videos" / "red.mp4", ("red", 3))
    write_scenes(folder / "videos" / "green.mp4", ("green", 3))
    assert main(["index", str(folder / "videos"), "--library", str(folder / "library")]) == 0
    return folder


@contextmanager
def served(*arguments: str | Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """``wordframe serve`` on a free port; gives its link and its process, which is ended."""
    command = [sys.executable, "-m", "wordframe", "serve", "--port", "0", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"wordframe is at (http://\S+/\S*)  \(Ctrl-C ends it\)\n", line)
        assert found, line + (process.stderr.read() if process.stderr and process.poll() is not None else "")
        yield found[1], process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def wait_for_end(client: Client) -> str:
    """The state of indexing once nothing of the server's goes on."""
    until = time.monotonic() + 60
    while (status := client.index_status()).by_server or status.state == "running":
        assert time.monotonic() < until, status
        time.sleep(0.1)
    return status.state


def test_a_server_from_its_start_to_its_end(place: Path) -> None:
    with served("--library", place / "library", "--allow-index", "--token", "new") as (link, process):
        page = httpx.get(link)
        assert (page.status_code, page.headers["content-type"].split(";")[0]) == (200, "text/html")
        assert "HttpOnly" in page.headers["set-cookie"]
        bare = link.partition("?")[0]
        assert httpx.get(f"{bare}api/v1/library").status_code == 401
        with Client(link) as client:
            assert client.library().allow_index
            assert client.search("a red picture").num_videos == 2
            before = {video.name: video.video_id for video in client.videos().items}

            write_scenes(place / "videos" / "blue.mp4", ("blue", 3))
            begun = client.start_index()
            assert (begun.state, begun.by_server) == ("running", True)
            with pytest.raises(ServerError, match="the library is being indexed already") as caught:
                client.start_index()
            assert caught.value.status == 409
            assert wait_for_end(client) == "finished"
            after = {video.name: video.video_id for video in client.videos().items}
            assert set(after) == {"red.mp4", "green.mp4", "blue.mp4"}
            assert before.items() <= after.items()
            assert client.search("a blue picture").num_videos == 3

            client.start_index()
            client.stop_index()
            wait_for_end(client)
            assert client.search("a blue picture").num_videos == 3
        process.send_signal(signal.SIGINT)
        process.wait(30)
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_a_server_before_its_library(tmp_path: Path) -> None:
    with served("--library", tmp_path / "new") as (link, _), Client(link) as client:
        assert client.library().num_videos == 0
        assert client.search("red").items == []
        assert httpx.get(link).status_code == 200


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert main(["serve", *map(str, arguments)]) == 1
    return capsys.readouterr().err


def test_other_addresses_need_a_token(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for host in ("0.0.0.0", "::", "192.168.1.5", "media.home", "127.0.0.1.evil.example"):
        told = refused(capsys, "--library", place / "library", "--host", host)
        assert f"{host} can be reached by others: say --token new" in told


@pytest.mark.parametrize("token", ["short", "sixteen characters", "a-token-with-ümlauts", "a-token;with=others"])
def test_tokens_that_are_none(place: Path, capsys: pytest.CaptureFixture[str], token: str) -> None:
    assert "a token needs 16 characters or more" in refused(capsys, "--library", place / "library", "--token", token)


def test_a_port_in_use(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = refused(capsys, "--library", place / "library", "--port", str(port))
    assert (
        told
        == f"wordframe: cannot listen on 127.0.0.1 port {port}: address already in use; choose another with --port\n"
    )


def test_a_model_that_is_none(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no-such-model" in refused(capsys, "--library", place / "library", "--model", "no-such-model")
