"""The client against the real API: what comes back, what goes wrong, and its patience."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

import av
import httpx
import pytest
from PIL import Image

from tests.served import ADDRESS, make_library, serving, through
from wordframe.client import Client, ServerError
from wordframe.client.schemas import Filters
from wordframe.errors import WordframeError

TOKEN = "a-token-of-some-length"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_library(tmp_path_factory.mktemp("client"))


@pytest.fixture(scope="module")
def client(library: Path) -> Iterator[Client]:
    with serving(library) as server, Client(ADDRESS, transport=through(server)) as client:
        yield client


def video_id(client: Client, name: str) -> str:
    return next(video.video_id for video in client.videos().items if video.name == name)


def test_health_and_library(client: Client) -> None:
    assert client.health().status == "ok"
    assert client.library().num_videos == 6


def test_searching(client: Client, library: Path) -> None:
    first = client.search("something green", limit=1, moments=2, explain=True).items[0]
    assert first.video.name == "mixed.mp4"
    assert first.explanation is not None
    assert first.explanation == client.explain(first.moments[0].segment_id, "something green")
    filters = Filters(
        folder=str(library.parent / "videos" / "holiday"), min_seconds=10, after=datetime.date(2020, 1, 1)
    )
    assert [item.video.name for item in client.search("red", filters=filters, exact=True).items] == ["long.mp4"]
    assert client.search(like=first.moments[0].segment_id).items[0].video.name == "mixed.mp4"


def test_searching_by_a_picture(client: Client, tmp_path: Path, library: Path) -> None:
    Image.new("RGB", (64, 48), (0, 0, 255)).save(tmp_path / "blue.PNG")
    filters = Filters(folder=str(library.parent / "videos"))
    found = client.search(image=tmp_path / "blue.PNG", limit=2, filters=filters)
    assert (found.items[0].video.name, len(found.items)) == ("blue.mp4", 2)
    more = client.search(image=tmp_path / "blue.PNG", limit=2, filters=filters, cursor=found.next_cursor)
    assert more.items[0].rank == 3


def test_where_and_why_a_picture_is_found(client: Client, tmp_path: Path) -> None:
    Image.new("RGB", (64, 48), (0, 255, 0)).save(tmp_path / "green.png")
    found = client.search(image=tmp_path / "green.png", limit=1, explain=True).items[0]
    best = found.moments[0].segment_id
    assert client.explain(best, image=tmp_path / "green.png") == found.explanation
    assert client.explain(best, like=best).score > 0.99
    heat = client.heat(found.video_id, image=tmp_path / "green.png")
    assert heat.moments[0].segment_id == best
    assert max(heat.values) == 1
    for ask in (client.heat, client.explain):
        with pytest.raises(ValueError, match="exactly one of text, like and image"):
            ask(best, "green", image=tmp_path / "green.png")


def test_all_of_a_search(client: Client) -> None:
    assert [item.rank for item in client.search_all("white", limit=2)] == [1, 2, 3, 4, 5, 6]
    assert list(client.search_all("white", limit=2)) == client.search("white", limit=100).items


@pytest.mark.parametrize("given", [{}, {"text": "a", "like": "b"}, {"image": "a.png", "like": "b"}])
def test_one_query_at_a_time(client: Client, given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="exactly one of text, like and image"):
        client.search(**given)  # type: ignore[arg-type]


def test_a_video_its_heat_and_its_sentences(client: Client) -> None:
    mixed = video_id(client, "mixed.mp4")
    assert client.video(mixed).segments[0].start_seconds == 0
    heat = client.heat(mixed, "green")
    assert len(heat.seconds) == len(heat.values)
    assert client.heat(mixed, like=f"{mixed}-00000").video_id == mixed
    assert client.rank_texts(mixed, ["magenta", "green"]).items[0].text == "green"


def test_pages_of_videos(client: Client) -> None:
    first = client.videos(limit=4)
    assert len(first.items + client.videos(limit=4, cursor=first.next_cursor).items) == 6
    assert client.videos(filters=Filters(max_seconds=2.5)).num_videos == 3


def test_pictures_and_clips(client: Client, tmp_path: Path) -> None:
    segment = f"{video_id(client, 'mixed.mp4')}-00000"
    assert client.thumbnail(segment).startswith(b"\xff\xd8")
    target = client.clip(segment, tmp_path / "clip.mp4", start_seconds=1, end_seconds=3)
    with av.open(str(target)) as clip:
        assert clip.streams.video[0].codec_context.name == "h264"
    with pytest.raises(WordframeError, match=r"no-such-folder.*clip\.mp4: cannot be written"):
        client.clip(segment, tmp_path / "no-such-folder" / "clip.mp4")


def test_indexing(client: Client) -> None:
    assert client.index_status().state == "finished"
    for call in (client.start_index, client.stop_index):
        with pytest.raises(ServerError, match="start it with --allow-index") as caught:
            call()
        assert caught.value.status == 403


def test_the_servers_own_line_on_errors(client: Client) -> None:
    with pytest.raises(ServerError, match=r"^no video 'none' in this library, or no longer$") as caught:
        client.video("none")
    assert caught.value.status == 404
    for strange in ("../library", "a/b", "..", "", "a?b#c", "\n"):
        with pytest.raises(ServerError):
            client.video(strange)


def test_files_of_this_machine(client: Client, tmp_path: Path) -> None:
    with pytest.raises(WordframeError, match=r"no\.png: cannot be read \(no such file or directory\)"):
        client.search(image=tmp_path / "no.png")
    with pytest.raises(WordframeError, match=r"a\.svg: a picture is sent as one of \.jpg"):
        client.search(image=tmp_path / "a.svg")


def test_tokens(library: Path) -> None:
    with serving(library, token=TOKEN) as server:
        for client in (
            Client(ADDRESS, token=TOKEN, transport=through(server)),
            Client(f"{ADDRESS}/?token={TOKEN}", transport=through(server)),
        ):
            assert client.library().num_videos == 6
        with pytest.raises(ServerError, match="send its token as a bearer") as caught:
            Client(ADDRESS, transport=through(server)).health()
        assert caught.value.status == 401


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8765", "ftp://host", "http://", "http://[::1", "localhost", "http://a:b"]
)
def test_no_address(url: str) -> None:
    with pytest.raises(ServerError, match=r"is no address of a server; write one as http://127\.0\.0\.1:8765"):
        Client(url)


def test_nobody_there() -> None:
    with pytest.raises(ServerError, match="is wordframe serve running") as caught:
        Client("http://127.0.0.1:9").health()
    assert caught.value.status == 0


def answering(*answers: httpx.Response) -> Client:
    """A client of a server that gives these answers, one after the other."""
    left = iter(answers)
    return Client(transport=httpx.MockTransport(lambda _: next(left)))


def busy(after: str | None = "1") -> httpx.Response:
    body = {"title": "Service Unavailable", "status": 503, "detail": "too many searches at once"}
    return httpx.Response(503, json=body, headers={} if after is None else {"Retry-After": after})


HEALTHY = httpx.Response(200, json={"status": "ok", "version": "1"})


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    told: list[float] = []
    monkeypatch.setattr("wordframe.client.client.time.sleep", told.append)
    return told


def test_a_busy_server_is_asked_again(waits: list[float]) -> None:
    client = answering(busy("1"), busy("2"), busy("9999"), HEALTHY)
    assert client.health().version == "1"
    assert waits == [1, 2, 10]


def test_patience_ends(waits: list[float]) -> None:
    client = answering(*[busy() for _ in range(5)])
    with pytest.raises(ServerError, match=r"^too many searches at once$") as caught:
        client.health()
    assert (caught.value.status, len(waits)) == (503, 4)


@pytest.mark.parametrize("after", [None, "Wed, 21 Oct 2026 07:28:00 GMT", "-1", "soon"])
def test_no_waiting_without_a_number(waits: list[float], after: str | None) -> None:
    client = answering(busy(after))
    with pytest.raises(ServerError, match="too many searches"):
        client.health()
    assert waits == []


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>a router's page</html>"),
        httpx.Response(200, json={"status": "fine"}),
        httpx.Response(404, text="not here"),
        httpx.Response(302, headers={"Location": "http://elsewhere.example"}),
        httpx.Response(502, json=["bad gateway"]),
    ],
)
def test_something_else_at_the_address(answer: httpx.Response) -> None:
    client = answering(answer)
    with pytest.raises(ServerError, match="not what a wordframe server of this version answers"):
        client.health()


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert not Client()._http.trust_env
