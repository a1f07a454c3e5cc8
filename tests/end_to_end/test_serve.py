"""The real ``wordframe serve``: its link, its page and API, indexing from it, its refusals, its end."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.colours import write_scenes
from tests.served import proxied
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


def hosts() -> list[str]:
    """What this machine can listen on."""
    found = ["0.0.0.0", "127.0.0.2"] if sys.platform == "linux" else ["0.0.0.0"]
    if socket.has_dualstack_ipv6():
        found += ["::", "::1"]
    with contextlib.suppress(OSError):  # a machine whose name nobody knows
        socket.getaddrinfo(socket.gethostname(), None)
        found.append(socket.gethostname())
    return found


ALWAYS = ("::1",)  # each takes a server's start; the others are as long and less likely to break alone


@pytest.mark.parametrize(
    "host",
    [host if host in ALWAYS else pytest.param(host, marks=pytest.mark.slow) for host in hosts()],
    ids=lambda host: "by name" if host == socket.gethostname() else host,
)
def test_the_printed_link_opens(tmp_path: Path, host: str) -> None:
    """The page and the API by the link alone, whatever the server was told to listen on; also before its library."""
    with served("--library", tmp_path / "new", "--host", host, "--token", "new") as (link, _):
        opens(link)
        with Client(link) as client:
            assert client.library().num_videos == 0
            assert client.search("red").items == []


def test_a_server_on_all_addresses_goes_by_its_machines_names(tmp_path: Path) -> None:
    with served("--library", tmp_path / "new", "--host", "0.0.0.0", "--token", "new", "--allow-host", "media.home") as (
        link,
        _,
    ):
        opens(link)
        port = urlsplit(link).port
        names = [socket.gethostname(), f"{socket.gethostname()}.local", "media.home", "MEDIA.home.", "10.1.2.3"]
        for name in names:
            assert httpx.get(link, headers={"Host": f"{name}:{port}"}).status_code == 200, name
        for name in ("evil.example", f"{socket.gethostname()}.evil.example", "0.0.0.0.evil.example"):
            assert httpx.get(link, headers={"Host": f"{name}:{port}"}).status_code == 421, name


def opens(link: str) -> None:
    """A browser that follows the link sees the page, gets its files, and may ask the API."""
    with httpx.Client(follow_redirects=True, trust_env=False) as browser:
        page = browser.get(link)
        assert (page.status_code, page.headers["content-type"].split(";")[0]) == (200, "text/html"), page.text
        for address in re.findall(r'(?:src|href)="([^"#]+)"', page.text):
            assert browser.get(page.url.join(address)).status_code == 200, address
        # as static/js/api.js finds it from its own address
        assert browser.get(page.url.join("js/api.js").join("../api/v1/library")).status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize("strips", [True, False], ids=["the proxy takes the path off", "the proxy passes the path on"])
def test_below_a_path_of_a_proxy(place: Path, strips: bool) -> None:
    arguments = ("--library", place / "library", "--token", "new", "--root-path", "videos/of/ada/")
    with served(*arguments) as (link, _), proxied(origin(link), "/videos/of/ada", strips=strips) as shown:
        opens(link)  # also without the proxy
        token = parse_qs(urlsplit(link).query)["token"][0]
        opens(f"{shown}/?token={token}")
        cookie = httpx.get(f"{shown}/?token={token}").headers["set-cookie"]
        assert cookie == f"wordframe={token}; HttpOnly; SameSite=Strict; Path=/videos/of/ada"
        if not strips:
            opens(f"{shown}?token={token}")  # a slash is put to its end
        with Client(f"{shown}/?token={token}") as client, httpx.Client(base_url=origin(shown)) as web:
            web.headers["Authorization"] = f"Bearer {token}"
            item = client.search("a red picture", limit=1, explain=True).items[0]
            moment = item.moments[0]
            assert client.explain(moment.segment_id, "a red picture") == item.explanation
            for address in (moment.thumbnail_url, moment.clip_url, item.video.thumbnail_url, item.video.media_url):
                assert address.startswith("/videos/of/ada/api/v1/")
                assert web.get(address).status_code == 200, address
            assert web.get(item.video.media_url, headers={"Range": "bytes=0-9"}).status_code == 206
            document = web.get(f"{shown}/api/v1/openapi.json").json()
            assert document["servers"] == [{"url": "/videos/of/ada"}]
            assert "/api/v1/search" in document["paths"]
            missing = web.post(f"{shown}/api/v1/health")
            assert (missing.status_code, missing.headers["allow"]) == (405, "GET")
            assert missing.json()["instance"] == "/videos/of/ada/api/v1/health"


def origin(link: str) -> str:
    address = urlsplit(link)
    return f"{address.scheme}://{address.netloc}"


@pytest.mark.parametrize("path", ["/api", "/api/videos", "/js", "/vid eos", "/a/../b", "/a//b", "https://media.home/"])
def test_root_paths_that_are_refused(place: Path, capsys: pytest.CaptureFixture[str], path: str) -> None:
    assert f"--root-path {path!r}: " in refused(capsys, "--library", place / "library", "--root-path", path)


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
