"""Which words of a sentence found a match: in Python, by the API and at the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.colours import ColourEncoder, plain_colour, write_scenes
from tests.served import ADDRESS, get, problem_of, serving, through
from wordframe.cli import main
from wordframe.client import Client
from wordframe.errors import NotFoundError
from wordframe.library import Library, Snapshot
from wordframe.search import MAX_SHARED_WORDS, Query, encode, search, word_shares


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    for colour in ("red", "green", "yellow"):
        write_scenes(folder / "videos" / f"{colour}.mp4", (colour, 2))
    Library.open(folder / "library", encoder=ColourEncoder()).index(folder / "videos")
    return folder


@pytest.fixture(scope="module")
def snapshot(folder: Path) -> Snapshot:
    return Library.open(folder / "library", encoder=ColourEncoder()).snapshot()


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[TestClient]:
    with serving(folder / "library") as client:
        yield client


def shares_by_video(snapshot: Snapshot, sentence: str) -> dict[str, dict[str, float]]:
    query = encode(snapshot, Query(text=sentence))
    hits = search(snapshot, query)
    found = word_shares(snapshot, query, [hit.moments[0].segment_id for hit in hits])
    return {Path(hit.path).stem: {each.word: each.share for each in found[hit.moments[0].segment_id]} for hit in hits}


def test_the_word_that_names_the_video_carries_it(snapshot: Snapshot) -> None:
    found = shares_by_video(snapshot, "red something green")
    assert found["red"] == {"red": 1.0, "something": 0.0, "green": 0.0}
    assert found["green"] == {"red": 0.0, "something": 0.0, "green": 1.0}
    assert found["yellow"] == pytest.approx(
        {"red": 0.5, "something": 0.0, "green": 0.5}, abs=0.02
    )  # red and green light


def test_shares_are_those_of_scores_without_each_word(snapshot: Snapshot) -> None:
    """The plain way: a search for each shortened sentence."""
    sentence = "yellow red blue"

    def score(text: str) -> float:
        hits = search(snapshot, encode(snapshot, Query(text=text)), exact=True)
        return next(hit.score for hit in hits if hit.path.endswith("/red.mp4"))

    words = sentence.split()
    falls = [max(0.0, score(sentence) - score(" ".join(words[:n] + words[n + 1 :]))) for n in range(3)]
    assert sum(falls) > 0
    found = shares_by_video(snapshot, sentence)["red"]
    assert list(found.values()) == pytest.approx([fall / sum(falls) for fall in falls], abs=1e-4)


def test_where_there_is_nothing_to_tell(snapshot: Snapshot) -> None:
    for query in (Query(text="red"), Query(image=plain_colour("red")), Query(text="red " * (MAX_SHARED_WORDS + 1))):
        encoded = encode(snapshot, query)
        best = search(snapshot, encoded)[0].moments[0].segment_id
        assert word_shares(snapshot, encoded, [best]) == {}
    same = encode(snapshot, Query(text="red red"))  # each of them may go without loss
    best = search(snapshot, same)[0].moments[0].segment_id
    assert word_shares(snapshot, same, [best]) == {best: ()}
    assert word_shares(snapshot, same, []) == {}
    with pytest.raises(NotFoundError, match="no segment 'nothing'"):
        word_shares(snapshot, same, ["nothing"])


def test_by_the_api(client: TestClient, snapshot: Snapshot) -> None:
    hits = get(client, "/search", text="red green")["items"]
    segments = [hit["moments"][0]["segment_id"] for hit in hits]
    told = get(client, "/words", q="red green", segment=segments)
    assert [item["segment_id"] for item in told["items"]] == segments
    assert sum(word["share"] for word in told["items"][0]["words"]) == pytest.approx(1)
    with Client(ADDRESS, transport=through(client)) as typed:
        assert [item.segment_id for item in typed.found_by("red green", segments).items] == segments
    assert get(client, "/words", q="red", segment=segments) == {"items": []}
    problem_of(client.get("/api/v1/words", params={"q": "red green", "segment": "nothing"}), 404)
    problem_of(client.get("/api/v1/words", params={"q": "red green"}), 422)
    problem_of(client.get("/api/v1/words", params={"q": "red green", "segment": segments * 100}), 422)


def test_at_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the offline encoder: the place alone tells two otherwise equal sentences apart."""
    write_scenes(tmp_path / "videos" / "red.mp4", ("red", 2))
    library = ["--library", str(tmp_path / "library")]
    assert main(["index", str(tmp_path / "videos"), *library]) == 0
    capsys.readouterr()
    assert main(["search", "a red picture", *library, "--json"]) == 0
    (hit,) = json.loads(capsys.readouterr().out)
    assert [each["word"] for each in hit["words"]] == ["a", "red", "picture"]
    assert sum(each["share"] for each in hit["words"]) == pytest.approx(1, abs=1e-5)
    for arguments in (["red"], ["a red picture", "--no-words"]):
        assert main(["search", *arguments, *library, "--json"]) == 0
        assert "words" not in json.loads(capsys.readouterr().out)[0]
