"""What ``SearchEngine.search`` promises: the right video and moment, filters, exactness, and clear refusals."""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.colours import COLOURS, ColourEncoder, write_scenes
from wordframe.errors import LibraryError, WordframeError
from wordframe.library import Library
from wordframe.search import Filters, SearchEngine, first_stage_recall


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    folder = tmp_path_factory.mktemp("search")
    videos = folder / "videos"
    write_scenes(videos / "red.mp4", ("red", 2))
    write_scenes(videos / "holiday" / "blue.mp4", ("blue", 3))
    write_scenes(videos / "mixed.mp4", ("white", 8), ("green", 8), ("black", 8))
    write_scenes(videos / "holiday" / "long.mp4", ("yellow", 40), ("cyan", 40))
    os.utime(videos / "red.mp4", (1_500_000_000, 1_500_000_000))  # July 2017
    library = Library.open(folder / "library", encoder=ColourEncoder())
    assert len(library.index([videos]).indexed) == 4
    return library


@pytest.fixture
def engine(library: Library) -> SearchEngine:
    return SearchEngine(library)


def first(engine: SearchEngine, text: str, **options: object) -> str:
    return Path(engine.search(text, **options)[0].path).name  # type: ignore[arg-type]


@pytest.mark.parametrize(("colour", "name"), [("red", "red.mp4"), ("blue", "blue.mp4"), ("yellow", "long.mp4")])
def test_the_right_video_comes_first(engine: SearchEngine, colour: str, name: str) -> None:
    assert first(engine, f"something {colour}") == name


def test_the_right_moment_comes_first(engine: SearchEngine) -> None:
    hit = engine.search("green")[0]
    assert Path(hit.path).name == "mixed.mp4"
    assert 8 <= hit.moments[0].peak_seconds < 16
    assert hit.start_seconds <= 12 <= hit.end_seconds
    assert (hit.start_seconds, hit.end_seconds, hit.score) == (
        hit.moments[0].start_seconds,
        hit.moments[0].end_seconds,
        hit.moments[0].score,
    )


def test_a_video_is_one_hit_and_ranks_count_up(engine: SearchEngine) -> None:
    hits = engine.search("cyan", moments=5)
    assert len({hit.video_id for hit in hits}) == len(hits) == 4
    assert [hit.rank for hit in hits] == [1, 2, 3, 4]
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert all(-1.001 <= hit.score <= 1.001 for hit in hits)
    for hit in hits:
        scores = [moment.score for moment in hit.moments]
        assert scores == sorted(scores, reverse=True)


def test_top_and_moments_are_limits(engine: SearchEngine) -> None:
    assert len(engine.search("cyan", top=2)) == 2
    assert all(len(hit.moments) == 1 for hit in engine.search("cyan", moments=1))


def test_a_small_shortlist_still_fills_the_list(engine: SearchEngine) -> None:
    assert len(engine.search("cyan", top=4, shortlist=1)) == 4


def test_exact_and_two_stage_agree_on_the_best(engine: SearchEngine) -> None:
    for colour in COLOURS:
        exact, staged = engine.search(colour, exact=True)[0], engine.search(colour, shortlist=3)[0]
        assert (exact.video_id, exact.score) == (staged.video_id, pytest.approx(staged.score, abs=1e-6))


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (Filters(path="holiday/*"), {"blue.mp4", "long.mp4"}),
        (Filters(path="*.mp4", min_seconds=10), {"mixed.mp4", "long.mp4"}),
        (Filters(max_seconds=2.5), {"red.mp4"}),
        (Filters(before=datetime.date(2018, 1, 1)), {"red.mp4"}),
        (Filters(after=datetime.date(2018, 1, 1), path="*/holiday/*"), {"blue.mp4", "long.mp4"}),
        (Filters(path="nothing*"), set()),
    ],
)
def test_filters(engine: SearchEngine, filters: Filters, names: set[str]) -> None:
    for shortlist in (1, 200):
        hits = engine.search("white", filters=filters, shortlist=shortlist)
        assert {Path(hit.path).name for hit in hits} == names


def test_an_image_as_query(engine: SearchEngine, tmp_path: Path) -> None:
    path = tmp_path / "blue.png"
    Image.fromarray(np.broadcast_to(np.array(COLOURS["blue"], np.uint8), (40, 30, 3)).copy()).save(path)
    assert Path(engine.search(image=path)[0].path).name == "blue.mp4"


def test_a_clip_as_query(engine: SearchEngine, tmp_path: Path) -> None:
    clip = write_scenes(tmp_path / "clip.mp4", ("yellow", 3))
    assert Path(engine.search(clip=clip)[0].path).name == "long.mp4"


def test_json_of_a_hit(engine: SearchEngine) -> None:
    (hit,) = engine.search("red", top=1)
    told = json.loads(json.dumps(hit.to_json()))
    assert {"rank", "score", "path", "start_seconds", "end_seconds", "video_id", "moments"} <= set(told)
    assert told["path"].endswith("red.mp4")


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_an_empty_query_is_told(engine: SearchEngine, text: str) -> None:
    with pytest.raises(WordframeError, match="the query is empty; describe what the video shows"):
        engine.search(text)


def test_a_long_query_is_told(engine: SearchEngine) -> None:
    with pytest.raises(WordframeError, match="the query has 10000 characters, at most 512 are allowed; shorten it"):
        engine.search("x" * 10_000)


def test_not_exactly_one_query_is_refused(engine: SearchEngine) -> None:
    with pytest.raises(ValueError, match="give exactly one of text, image and clip, got none"):
        engine.search()
    with pytest.raises(ValueError, match="got text, image"):
        engine.search("red", image="red.png")


def test_unreadable_pictures_are_told(engine: SearchEngine, tmp_path: Path) -> None:
    with pytest.raises(WordframeError, match=r"nowhere\.png: no such file"):
        engine.search(image=tmp_path / "nowhere.png")
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(WordframeError, match=r"text\.png: cannot be read as a picture"):
        engine.search(image=tmp_path / "text.png")


def test_an_empty_library_is_told(tmp_path: Path) -> None:
    library = Library.open(tmp_path / "library", encoder=ColourEncoder())
    library.index([tmp_path])
    with pytest.raises(LibraryError, match="the library is empty; index some videos into it first"):
        SearchEngine(library).search("red")


def test_a_search_sees_what_was_indexed_since(tmp_path: Path) -> None:
    write_scenes(tmp_path / "videos" / "a.mp4", ("red", 1))
    library = Library.open(tmp_path / "library", encoder=ColourEncoder())
    library.index([tmp_path / "videos"])
    engine = SearchEngine(Library.open(tmp_path / "library", encoder=ColourEncoder()))
    assert len(engine.search("blue")) == 1
    write_scenes(tmp_path / "videos" / "b.mp4", ("blue", 1))
    library.index([tmp_path / "videos"])
    assert first(engine, "blue") == "b.mp4"


def test_first_stage_recall_is_one_when_everything_is_listed(engine: SearchEngine) -> None:
    everything = first_stage_recall(engine, list(COLOURS), top=3)
    assert (everything.recall, everything.queries) == (1.0, 8)
    narrow = first_stage_recall(engine, list(COLOURS), top=3, shortlist=1)
    assert narrow.recall <= 1 / 3 + 1e-9
