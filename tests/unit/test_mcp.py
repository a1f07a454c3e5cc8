"""What agents' tools stand on: a running server and a library in this process give the same answers and refusals."""

from __future__ import annotations

import datetime
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tests.colours import ColourEncoder
from tests.served import ADDRESS, make_library, serving, through
from wordframe.client import Client
from wordframe.client.schemas import Filters
from wordframe.errors import WordframeError
from wordframe.mcp import LocalLibrary, RunningServer, Source
from wordframe.server import ServedLibrary


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_library(tmp_path_factory.mktemp("mcp"))


@pytest.fixture(scope="module")
def local(library: Path) -> LocalLibrary:
    return LocalLibrary(ServedLibrary(library, encoder=ColourEncoder()))


@pytest.fixture(scope="module")
def running(library: Path) -> Iterator[RunningServer]:
    with serving(library) as server, Client(ADDRESS, transport=through(server)) as client:
        yield RunningServer(client)


def search(source: Source, text: str | None, **choices: Any) -> Any:
    wanted: dict[str, Any] = {"like": None, "limit": 3, "filters": Filters(), "cursor": None, **choices}
    return source.search(text, **wanted).model_dump(mode="json", exclude={"timings"})


def plain(answer: Any) -> Any:
    """As it is sent: rounded."""
    return answer.model_dump(mode="json") if isinstance(answer, BaseModel) else answer


def first_moment(source: Source) -> str:
    found: str = search(source, "green")["items"][0]["moments"][0]["segment_id"]
    return found


ASKED: dict[str, Callable[[Source], Any]] = {
    "library": lambda source: source.library(),
    "indexing": lambda source: source.indexing_state(),
    "search": lambda source: search(source, "something green"),
    "next page": lambda source: search(source, "red", cursor=search(source, "red")["next_cursor"]),
    "filters": lambda source: search(source, "red", filters=Filters(min_seconds=10, after=datetime.date(2020, 1, 1))),
    "similar": lambda source: search(source, None, like=first_moment(source)),
    "explain": lambda source: source.explain(first_moment(source), "a green thing"),
    "rank": lambda source: source.rank_texts(first_moment(source).split("-")[0], ["red", "green"]),
    "videos": lambda source: source.videos(limit=4, cursor=source.videos(limit=2, cursor=None).next_cursor),
}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_both_answer_the_same(local: LocalLibrary, running: RunningServer, asked: Callable[[Source], Any]) -> None:
    assert plain(asked(local)) == plain(asked(running))


REFUSED: dict[str, tuple[Callable[[Source], Any], str]] = {
    "blank": (lambda source: search(source, "  "), "the query is empty"),
    "empty": (lambda source: search(source, ""), "text: String should have at least 1 character"),
    "long": (lambda source: search(source, "a" * 513), "text: String should have at most 512 characters"),
    "half": (
        lambda source: search(source, "a \ud83d"),
        "half a character (a lone surrogate, or a byte that is no UTF-8)",
    ),
    "half, explained": (lambda source: source.explain("none", "caf\udce9"), "half a character"),
    "half, ranked": (lambda source: source.rank_texts("none", ["a", "\udc00"]), "half a character"),
    "folder": (lambda source: search(source, "a", filters=Filters(folder="/none")), "no video of this library lies in"),
    "cursor": (lambda source: search(source, "a", cursor="nonsense"), "this cursor belongs to another list"),
    "segment": (lambda source: source.explain("none", "a"), "no segment 'none'"),
    "video": (lambda source: source.rank_texts("none", ["a"]), "no video 'none' in this library"),
    "no texts": (lambda source: source.rank_texts("none", []), "texts: List should have at least 1 item"),
}


@pytest.mark.parametrize(("asked", "line"), REFUSED.values(), ids=REFUSED)
def test_both_refuse_in_the_same_words(
    local: LocalLibrary, running: RunningServer, asked: Callable[[Source], Any], line: str
) -> None:
    for source in (local, running):
        with pytest.raises(WordframeError, match=re.escape(line)):
            asked(source)


def test_ids_with_strange_characters_are_no_ids(local: LocalLibrary) -> None:
    for text in ("a'b", "../x", "", "a b"):
        with pytest.raises(WordframeError, match="like: String should"):
            local.explain(text, "red")


def test_a_library_of_this_process_opens_no_socket(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    source = LocalLibrary(ServedLibrary(library, encoder=ColourEncoder()))
    assert search(source, "green")["items"][0]["video"]["name"] == "mixed.mp4"
    assert source.link("/api/v1/segments/a/clip") is None


def test_links_lead_to_the_server_also_below_a_path(library: Path) -> None:
    with (
        serving(library, root_path="/of/ada") as server,
        Client(f"{ADDRESS}/of/ada", transport=through(server)) as client,
    ):
        source = RunningServer(client)
        address = client.search("green").items[0].moments[0].clip_url
        assert source.link(address).startswith(f"{ADDRESS}/of/ada/api/v1/segments/")
        assert server.get(source.link(address)).status_code == 200


def test_a_library_that_is_not_there_yet(tmp_path: Path) -> None:
    source = LocalLibrary(ServedLibrary(tmp_path / "new"))
    assert (source.library().num_videos, source.indexing_state(), search(source, "red")["items"]) == (0, "never", [])
