"""What ``/api/v1`` answers: every address, its errors, pages, filters, and how it lives beside an indexer."""

from __future__ import annotations

import io
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.colours import ColourEncoder, write_scenes
from tests.served import get, index, make_library, one_video, problem_of, serving, video_id
from wordframe import __version__
from wordframe.library import Library, Snapshot
from wordframe.search import EncodedQuery, Explanation, SearchEngine, explain, search

PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_library(tmp_path_factory.mktemp("api"))


@pytest.fixture(scope="module")
def client(library: Path) -> Iterator[TestClient]:
    with serving(library) as client:
        yield client


def names(told: dict[str, Any]) -> list[str]:
    return [item.get("video", item)["name"] for item in told["items"]]


def picture(colour: tuple[int, int, int], kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(buffer, kind)
    return buffer.getvalue()


def test_health(client: TestClient) -> None:
    assert get(client, "/health") == {"status": "ok", "version": __version__}


def test_ready_is_who_has_searched_once(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wait_for(client: TestClient, status: int) -> None:
        until = time.monotonic() + 60
        while client.get("/api/v1/ready").status_code != status:
            assert time.monotonic() < until
            time.sleep(0.02)

    may_search = threading.Event()

    def search_when_told(*arguments: Any, **options: Any) -> object:
        assert may_search.wait(60)
        return search(*arguments, **options)

    monkeypatch.setattr("wordframe.server.warming.search", search_when_told)
    with serving(library, warm=True) as client:
        answer = client.get("/api/v1/ready")
        problem_of(answer, 503)
        assert answer.headers["retry-after"] == "1"
        may_search.set()
        wait_for(client, 200)
    with serving(library) as client:  # of one that was not told to load anything
        problem_of(client.get("/api/v1/ready"), 503)
    with serving(tmp_path / "none", warm=True) as client:  # nothing to load, and the page says how to begin
        wait_for(client, 200)


def test_library_in_numbers(client: TestClient) -> None:
    told = get(client, "/library")
    assert (told["name"], told["encoder"], told["model"]) == ("library", "colours", "zero-shot")
    assert (told["num_videos"], told["num_failures"], told["allow_index"]) == (6, 0, False)
    assert told["seconds_of_video"] == pytest.approx(2 + 3 + 24 + 240 + 2 + 2, abs=2)
    assert [folder["num_videos"] for folder in told["folders"]] == [4, 2]
    assert told["explains"] == ["sentence", "words"]


@pytest.mark.parametrize(("text", "name"), [("red", "red.mp4"), ("blue", "blue.mp4"), ("yellow", "long.mp4")])
def test_a_sentence_finds_its_video(client: TestClient, text: str, name: str) -> None:
    assert names(get(client, "/search", text=f"something {text}"))[0] == name


def test_a_hit_is_what_the_command_line_gives(client: TestClient, library: Path) -> None:
    item = get(client, "/search", text="green", moments=2)["items"][0]
    hit = SearchEngine(Library.open(library, encoder=ColourEncoder())).search("green", moments=2)[0].to_json()
    for name in ("rank", "score", "path", "start_seconds", "end_seconds", "video_id", "duration_seconds"):
        assert item[name] == hit[name], name
    assert len(item["moments"]) == 2
    assert 8 <= item["moments"][0]["peak_seconds"] < 16
    for address in (item["moments"][0]["thumbnail_url"], item["moments"][0]["clip_url"], item["video"]["media_url"]):
        assert client.get(address).status_code == 200, address


def test_get_and_post_answer_the_same(client: TestClient) -> None:
    by_get = get(
        client,
        "/search",
        text="red",
        limit=3,
        moments=1,
        exact=True,
        include="explanation",
        min_seconds=1,
        after="2010-01-01",
        before="2100-01-01",
        max_seconds=9,
    )
    body = {
        "text": "red",
        "limit": 3,
        "moments": 1,
        "exact": True,
        "include": ["explanation"],
        "filters": {"min_seconds": 1, "max_seconds": 9, "after": "2010-01-01", "before": "2100-01-01"},
    }
    by_post = client.post("/api/v1/search", json=body).json()
    assert by_get["timings"].keys() == by_post["timings"].keys()
    assert {**by_get, "timings": None} == {**by_post, "timings": None}
    assert len(by_get["items"]) == 3


def test_explanations_come_with_the_search_or_alone(client: TestClient) -> None:
    item = get(client, "/search", text="a green thing", include="explanation")["items"][0]
    alone = get(client, f"/segments/{item['moments'][0]['segment_id']}/explain", q="a green thing")
    assert item["explanation"] == alone
    assert sum(alone["sentence_attention"]) == pytest.approx(1, abs=1e-3)
    assert len(alone["sentence_attention"]) == len(alone["seconds"])
    assert "explanation" not in json.dumps(get(client, "/search", text="green")["items"][0]["moments"])


@pytest.mark.parametrize("half", ["\\ud83d", "\\ud83d!", "\\udc15"])
def test_half_a_character_is_told(client: TestClient, half: str) -> None:
    sent: dict[str, Any] = {"headers": {"Content-Type": "application/json"}}
    searched = client.post("/api/v1/search", content=f'{{"text": "a dog {half}"}}', **sent)
    assert problem_of(searched, 400).startswith("the body is no JSON (half a character, ")
    address = f"/api/v1/videos/{video_id(client, 'red.mp4')}/rank-texts"
    ranked = client.post(address, content=f'{{"texts": ["a cat", "a dog {half}"]}}', **sent)
    assert problem_of(ranked, 422).startswith(f"texts.1: the text 'a dog {half}' holds half a character")


def test_like_a_segment_and_like_a_picture(client: TestClient) -> None:
    blue = video_id(client, "blue.mp4")
    assert names(get(client, "/search", like=f"{blue}-00000"))[0] == "blue.mp4"
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"):
        answer = client.post(
            "/api/v1/search?limit=2",
            content=picture((255, 0, 0), kind),
            headers={"Content-Type": f"image/{kind.lower()}"},
        )
        assert names(answer.json())[0] == "red.mp4", kind
        assert len(answer.json()["items"]) == 2


def test_all_pages_together_are_one_long_list(client: TestClient) -> None:
    whole = get(client, "/search", text="white", limit=100)
    assert whole["next_cursor"] is None
    items, cursor = [], None
    while True:
        page = get(client, "/search", text="white", limit=2, **({"cursor": cursor} if cursor else {}))
        items += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        assert len(page["items"]) == 2
    assert items == whole["items"]
    assert [item["rank"] for item in items] == list(range(1, 7))


def test_pages_of_videos_are_one_long_list_by_path(client: TestClient) -> None:
    whole = get(client, "/videos")
    assert [item["path"] for item in whole["items"]] == sorted(item["path"] for item in whole["items"])
    first = get(client, "/videos", limit=4)
    second = get(client, "/videos", limit=4, cursor=first["next_cursor"])
    assert first["items"] + second["items"] == whole["items"]
    assert (second["next_cursor"], first["num_videos"]) == (None, 6)


def test_a_foreign_cursor_is_refused(client: TestClient) -> None:
    cursor = get(client, "/search", text="white", limit=2)["next_cursor"]
    for path, parameters in (
        ("/search", {"text": "red", "cursor": cursor}),
        ("/search", {"text": "white", "min_seconds": 1, "cursor": cursor}),
        ("/videos", {"cursor": cursor}),
        ("/search", {"text": "white", "cursor": "nonsense"}),
        ("/search", {"text": "white", "cursor": "WzEsIFtdXQ=="}),
        ("/search", {"text": "white", "cursor": "\N{GREEK SMALL LETTER ALPHA}"}),
    ):
        answer = client.get(f"/api/v1{path}", params=parameters)
        assert "start again without one" in problem_of(answer, 400)


def test_filters(client: TestClient, library: Path) -> None:
    folder = str(library.parent / "videos" / "holiday")
    assert set(names(get(client, "/search", text="red", folder=folder))) == {"blue.mp4", "long.mp4"}
    assert set(names(get(client, "/search", text="red", min_seconds=10))) == {"mixed.mp4", "long.mp4"}
    assert names(get(client, "/search", text="blue", before="2018-01-01")) == ["red.mp4"]
    assert "red.mp4" not in names(get(client, "/search", text="red", after="2018-01-01"))
    assert set(names(get(client, "/videos", folder=folder))) == {"blue.mp4", "long.mp4"}
    assert get(client, "/search", text="red", folder=folder)["num_videos"] == 2
    above = str(library.parent)
    assert len(names(get(client, "/search", text="red", folder=above))) == 6
    assert names(get(client, "/search", text="red", min_seconds=1e300)) == []


def test_days_at_the_ends_of_the_calendar(client: TestClient) -> None:
    assert len(names(get(client, "/videos", after="0001-01-01", before="9999-12-31"))) == 6
    assert names(get(client, "/videos", before="0001-01-01")) == []


def test_a_folder_that_holds_nothing_is_told(client: TestClient) -> None:
    detail = problem_of(client.get("/api/v1/videos", params={"folder": "/elsewhere"}), 404)
    assert detail == "no video of this library lies in the folder '/elsewhere'"


def test_weak_matches_are_marked_and_come_last(client: TestClient) -> None:
    marks = [item["weak"] for item in get(client, "/search", text="green")["items"]]
    assert marks == sorted(marks)
    assert not marks[0]
    assert marks[-1]


def test_heat_of_a_sentence_and_of_a_segment(client: TestClient) -> None:
    mixed = video_id(client, "mixed.mp4")
    told = get(client, f"/videos/{mixed}/heat", q="green")
    assert told["seconds"] == sorted(told["seconds"])
    best = told["seconds"][max(range(len(told["values"])), key=told["values"].__getitem__)]
    assert 8 <= best < 16
    assert all(0 <= value <= 1 for value in told["values"])
    like = get(client, f"/videos/{mixed}/heat", like=told["moments"][0]["segment_id"])
    assert len(like["values"]) == len(told["values"])
    for parameters in ({}, {"q": "green", "like": f"{mixed}-00000"}):
        for path in (f"/videos/{mixed}/heat", f"/segments/{mixed}-00000/explain"):
            answer = client.get(f"/api/v1{path}", params=parameters)
            assert problem_of(answer, 422) == "give exactly one of q and like"


def test_heat_of_a_picture(client: TestClient) -> None:
    mixed = video_id(client, "mixed.mp4")
    answer = client.post(f"/api/v1/videos/{mixed}/heat", content=picture((0, 255, 0)), headers=PNG)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    inside = [8 <= second < 16 for second in told["seconds"]]
    green = [value for value, within in zip(told["values"], inside, strict=True) if within]
    others = [value for value, within in zip(told["values"], inside, strict=True) if not within]
    assert min(green) > max(others)
    assert 8 <= told["moments"][0]["start_seconds"] < 16
    assert told["seconds"] == get(client, f"/videos/{mixed}/heat", q="green")["seconds"]


def test_why_a_segment_fits_a_picture_or_another_segment(client: TestClient) -> None:
    mixed = video_id(client, "mixed.mp4")
    found = client.post("/api/v1/search?include=explanation", content=picture((0, 255, 0)), headers=PNG).json()
    item = next(item for item in found["items"] if item["video_id"] == mixed)
    path = f"/segments/{item['moments'][0]['segment_id']}/explain"
    assert client.post(f"/api/v1{path}", content=picture((0, 255, 0)), headers=PNG).json() == item["explanation"]
    itself = get(client, path, like=item["moments"][0]["segment_id"])
    assert itself["score"] == pytest.approx(1, abs=0.01)
    assert [word["word"] for word in itself["words"]] == ["the query"]


def test_pictures_that_are_refused_wherever_one_is_taken(client: TestClient) -> None:
    mixed = video_id(client, "mixed.mp4")
    for path in (f"videos/{mixed}/heat", f"segments/{mixed}-00000/explain"):
        answer = client.post(f"/api/v1/{path}", json={"q": "green"})
        assert problem_of(answer, 415).startswith("send a picture as one of image/jpeg, ")
        answer = client.post(f"/api/v1/{path}", content=b"not a picture", headers=PNG)
        assert "the picture: cannot be read as a picture" in problem_of(answer, 422)
        problem_of(client.post(f"/api/v1/{path}", content=b"a" * (10 * 2**20 + 1), headers=PNG), 413)
    for path, kind in (("videos/none/heat", "video"), ("segments/none/explain", "segment")):
        answer = client.post(f"/api/v1/{path}", content=picture((0, 255, 0)), headers=PNG)
        assert f"no {kind} 'none'" in problem_of(answer, 404)


def test_a_video_with_its_segments(client: TestClient) -> None:
    told = get(client, f"/videos/{video_id(client, 'mixed.mp4')}")
    starts = [segment["start_seconds"] for segment in told["segments"]]
    assert starts == sorted(starts)
    assert starts[0] == 0
    assert told["segments"][-1]["end_seconds"] == pytest.approx(24, abs=0.5)
    assert told["video"]["mime"] == 'video/mp4; codecs="avc1.640028"'
    assert (told["video"]["width"], told["video"]["height"], told["video"]["codec"]) == (64, 48, "h264")


def test_sentences_ranked_for_a_video(client: TestClient) -> None:
    mixed = video_id(client, "mixed.mp4")
    told = client.post(f"/api/v1/videos/{mixed}/rank-texts", json={"texts": ["magenta", "green", "red"]}).json()
    assert [item["rank"] for item in told["items"]] == [1, 2, 3]
    assert told["items"][0]["text"] == "green"
    assert told["items"][0]["place"] == 1
    assert 8 <= told["items"][0]["moment"]["peak_seconds"] < 16


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/search", 422, "give exactly one of text and like"),
        ("/search?text=red&like=a", 422, "give exactly one of text and like"),
        ("/search?text=", 422, "text: String should have at least 1 character"),
        ("/search?text=%20%20", 422, "the query is empty"),
        (f"/search?text={'a' * 513}", 422, "text: String should have at most 512 characters"),
        ("/search?text=red&limit=0", 422, "limit: Input should be greater than or equal to 1"),
        ("/search?text=red&limit=101", 422, "limit: Input should be less than or equal to 100"),
        ("/search?text=red&colour=1", 422, "colour: Extra inputs are not permitted"),
        ("/search?text=red&min_seconds=nan", 422, "min_seconds: Input should be a finite number"),
        ("/search?text=red&after=yesterday", 422, "after: write a day as 2026-01-31"),
        ("/search?text=red&before=0", 422, "before: write a day as 2026-01-31"),
        ("/search?text=red&before=2026-02-30", 422, "before: day is out of range for month"),
        ("/search?like=no-such-segment", 404, "no segment 'no-such-segment'"),
        ("/search?like=a'b", 422, "like: String should match pattern"),
        ("/segments/no-such/explain?q=red", 404, "no segment 'no-such'"),
        ("/segments/no-such/explain", 422, "give exactly one of q and like"),
        ("/segments/no-such/thumbnail", 404, "no segment 'no-such'"),
        ("/segments/no-such/clip", 404, "no segment 'no-such'"),
        ("/videos/no-such", 404, "no video 'no-such'"),
        ("/videos/no-such/media", 404, "no video 'no-such'"),
        ("/videos/no-such/heat?q=red", 404, "no video 'no-such'"),
        ("/videos?limit=0", 422, "limit: Input should be greater than or equal to 1"),
        ("/nothing", 404, "Not Found"),
    ],
)
def test_refusals_say_what_is_wrong(client: TestClient, path: str, status: int, text: str) -> None:
    assert text in problem_of(client.get(f"/api/v1{path}"), status)


@pytest.mark.parametrize(
    "path",
    ["/search?like=none", "/segments/none/thumbnail", "/segments/none/clip", "/videos/none", "/videos/none/media"],
)
def test_what_is_not_found_is_told_without_a_place_on_this_machine(
    client: TestClient, library: Path, path: str
) -> None:
    detail = problem_of(client.get(f"/api/v1{path}"), 404)
    assert detail.endswith("'none' in this library, or no longer")
    assert "/" not in detail


def test_a_note_says_what_a_sentence_asks_in_vain(client: TestClient, library: Path) -> None:
    assert get(client, "/search", text="red")["note"] is None
    told = get(client, "/search", text="no red")["note"]
    assert told == "“no” has hardly an effect: what is named is searched for; name only what is to be seen"
    encoder = ColourEncoder()
    encoder.blind_to = frozenset({"language"})
    with serving(library, encoder=encoder) as other:
        assert "seems to be no English" in get(other, "/search", text="ein Hund läuft am Strand")["note"]
        answer = other.post("/api/v1/search", content=picture((255, 0, 0)), headers=PNG).json()
        assert answer["note"] is None


def test_full_width_letters_are_read(client: TestClient) -> None:
    assert get(client, "/search", text="ｙｅｌｌｏｗ")["items"] == get(client, "/search", text="yellow")["items"]


def test_a_damaged_library_is_told_without_its_place(tmp_path: Path) -> None:
    library, _ = one_video(tmp_path / "a private place")
    with serving(library) as client:
        get(client, "/search", text="red")
        shutil.rmtree(library / "tables")
        (library / "tables").write_text("no folder")
        detail = problem_of(client.get("/api/v1/search", params={"text": "red", "exact": True}), 503)
        assert "the library" in detail
        assert "private" not in detail
        assert str(tmp_path) not in detail
    manifest = library / "wordframe.json"
    manifest.write_text("{")
    with serving(library) as client:
        detail = problem_of(client.get("/api/v1/library"), 503)
        assert "private" not in detail
        assert str(tmp_path) not in detail


@pytest.mark.parametrize(
    ("content", "kind", "status", "text"),
    [
        (b"{", "application/json", 400, "the body is no JSON"),
        (b"[" * 60_000, "application/json", 400, "the body is no JSON"),
        (b'{"text": "red", "limit": "5"}', "application/json", 422, "limit: Input should be a valid integer"),
        (b'{"text": 5}', "application/json", 422, "text: Input should be a valid string"),
        (b'{"text": "red", "filters": {"path": "*"}}', "application/json", 422, "filters.path: Extra inputs"),
        (b'{"text": "\\ud800"}', "application/json", 400, "the body is no JSON"),
        (b'{"text": "red"}', "text/plain", 415, "send application/json, or a picture"),
        (b"not a picture", "image/png", 422, "the picture: cannot be read as a picture"),
        (b"", "image/jpeg", 422, "the picture: cannot be read as a picture"),
    ],
)
def test_bodies_that_are_refused(client: TestClient, content: bytes, kind: str, status: int, text: str) -> None:
    answer = client.post("/api/v1/search", content=content, headers={"Content-Type": kind})
    assert text in problem_of(answer, status)


def test_a_picture_and_a_sentence_are_two_queries(client: TestClient) -> None:
    answer = client.post("/api/v1/search?text=red", content=picture((255, 0, 0)), headers={"Content-Type": "image/png"})
    assert problem_of(answer, 422) == "give exactly one of text, like and a picture"


def test_too_many_sentences(client: TestClient) -> None:
    path = f"/api/v1/videos/{video_id(client, 'red.mp4')}/rank-texts"
    assert "at most 100 items" in problem_of(client.post(path, json={"texts": ["red"] * 101}), 422)
    assert "at least 1 item" in problem_of(client.post(path, json={"texts": []}), 422)


def test_a_wrong_method_names_the_right_ones(client: TestClient) -> None:
    answer = client.put("/api/v1/search", json={})
    problem_of(answer, 405)
    assert answer.headers["allow"] == "GET, POST"
    problem_of(client.post("/api/v1/health"), 405)
    problem_of(client.get(f"/api/v1/videos/{video_id(client, 'red.mp4')}/rank-texts"), 405)


def test_the_document_names_every_address(client: TestClient) -> None:
    document = get(client, "/openapi.json")
    assert set(document["paths"]) == {
        f"/api/v1/{path}"
        for path in (
            "health ready library index search words videos videos/{video_id} videos/{video_id}/media "
            "videos/{video_id}/heat videos/{video_id}/rank-texts segments/{segment_id}/thumbnail "
            "segments/{segment_id}/clip segments/{segment_id}/explain"
        ).split()
    }
    assert "HTTPValidationError" not in json.dumps(document["paths"])


def test_without_a_library_the_server_says_so(tmp_path: Path) -> None:
    with serving(tmp_path / "library") as client:
        assert get(client, "/library")["num_videos"] == 0
        assert get(client, "/search", text="red")["items"] == []
        assert get(client, "/videos") == {"items": [], "next_cursor": None, "num_videos": 0}
        assert get(client, "/index")["state"] == "never"
        for path in ("segments/a-00000/thumbnail", "videos/a", "videos/a/media", "videos/a/heat?q=red",
                     "segments/a/explain?q=red"):  # fmt: skip
            assert "run wordframe index" in problem_of(client.get(f"/api/v1/{path}"), 503)
        # it comes to be while the server runs
        one_video(tmp_path)
        assert get(client, "/library")["num_videos"] == 1
        assert names(get(client, "/search", text="red")) == ["one.mp4"]


def test_what_an_indexer_commits_is_seen_and_ids_stay(tmp_path: Path) -> None:
    library, _ = one_video(tmp_path)
    with serving(library) as client:
        before = get(client, "/videos")["items"][0]
        write_scenes(tmp_path / "videos" / "two.mp4", ("blue", 2))
        index(tmp_path, "videos", 1)
        assert names(get(client, "/search", text="blue")) == ["two.mp4", "one.mp4"]
        assert get(client, "/videos")["items"][0] == before
        shutil.move(tmp_path / "videos" / "one.mp4", tmp_path / "videos" / "moved.mp4")
        index(tmp_path, "videos", 0)
        assert video_id(client, "moved.mp4") == before["video_id"]
        assert client.get(before["media_url"]).status_code == 200


def test_a_page_of_results_is_of_one_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that lands between finding and explaining takes nothing away from the page under way."""
    library, video = one_video(tmp_path)
    write_scenes(tmp_path / "videos" / "two.mp4", ("blue", 2))
    index(tmp_path, "videos", 1)
    explained: list[str] = []

    def after_a_commit(snapshot: Snapshot, query: EncodedQuery, segment_id: str) -> Explanation:
        if not explained:
            video.unlink()
            Library.open(library, encoder=ColourEncoder()).index([tmp_path / "videos"], prune=True)
        explained.append(segment_id)
        return explain(snapshot, query, segment_id)

    monkeypatch.setattr("wordframe.server.answers.explain", after_a_commit)
    with serving(library) as client:
        told = get(client, "/search", text="red", include="explanation")
        assert names(told) == ["one.mp4", "two.mp4"]
        assert [item["explanation"]["segment_id"] for item in told["items"]] == explained
        assert told["num_videos"] == 2
        assert names(get(client, "/search", text="red")) == ["two.mp4"]  # the next request sees the commit


def test_new_content_under_an_old_id_has_a_new_picture_address(tmp_path: Path) -> None:
    library, video = one_video(tmp_path)
    with serving(library) as client:
        before = get(client, "/videos")["items"][0]
        old = client.get(before["thumbnail_url"])
        write_scenes(video, ("blue", 2))
        os.utime(video, (1_600_000_000, 1_600_000_000))
        index(tmp_path, "videos", 1)
        after = get(client, "/videos")["items"][0]
        assert after["video_id"] == before["video_id"]
        assert after["thumbnail_url"] != before["thumbnail_url"]
        new = client.get(after["thumbnail_url"])
        assert "immutable" in old.headers["cache-control"]
        assert "immutable" in new.headers["cache-control"]
        assert new.content != old.content
        assert client.get(before["thumbnail_url"]).headers["cache-control"] == "no-cache"


def test_a_damaged_library_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    library, _ = one_video(tmp_path)
    shutil.rmtree(library / "tables" / "segments.lance" / "data")
    with serving(library) as client:
        assert get(client, "/health")["status"] == "ok"
        assert "library" in problem_of(client.get("/api/v1/search?text=red"), 503)


def test_indexing_is_refused_unless_allowed(client: TestClient) -> None:
    for answer in (client.post("/api/v1/index"), client.delete("/api/v1/index")):
        assert "start it with --allow-index" in problem_of(answer, 403)


def test_nothing_to_index_and_nothing_to_end(tmp_path: Path) -> None:
    with serving(tmp_path / "library", allow_index=True) as client:
        assert "knows no folder yet" in problem_of(client.post("/api/v1/index"), 409)
        assert "no indexing that a server started" in problem_of(client.delete("/api/v1/index"), 409)
