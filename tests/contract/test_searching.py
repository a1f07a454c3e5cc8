"""What ``SearchEngine.search`` promises: the right video and moment, filters, exactness, and clear refusals."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import lancedb
import numpy as np
import pytest
import torch
from PIL import Image

from tests.colours import COLOURS, ColourEncoder, write_scenes
from wordframe.errors import LibraryError, WordframeError
from wordframe.features import TextFeatures
from wordframe.library import Library, SegmentEntry, Snapshot, VideoEntry, run_centroids
from wordframe.search import (
    EncodedQuery,
    Filters,
    Query,
    SearchEngine,
    candidates,
    encode,
    plain_sentences,
    search,
    shortlist_recall,
)


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
    with pytest.raises(ValueError, match="give exactly one of text, image, clip, like, got none"):
        engine.search()
    with pytest.raises(ValueError, match="got text, image"):
        engine.search("red", image="red.png")


def test_a_number_below_one_is_refused(engine: SearchEngine) -> None:
    for choice in ("top", "moments", "shortlist"):
        with pytest.raises(ValueError, match="top, moments and shortlist must be at least 1"):
            engine.search("red", **{choice: 0})  # type: ignore[arg-type]


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


# A library of many made-up segments: where a shortlist is a small part, and which it is can be worked out ------------


D = 6
SHORT = 30


def directions(count: int, *, seed: int) -> np.ndarray:
    """``(count, 3, D)``: three frames of each segment, somewhat alike; the segments lie all over the sphere."""
    chance = np.random.default_rng(seed)
    frames = chance.standard_normal((count, 1, D)) + 0.1 * chance.standard_normal((count, 3, D))
    return (frames / np.linalg.norm(frames, axis=-1, keepdims=True)).astype(np.float32)


def made_up(folder: Path, segments_of: list[int]) -> tuple[Library, np.ndarray]:
    """A library of videos with so many segments each, and their frames ``(N, 3, D)`` in the order of the rows."""
    library = Library.open(folder, encoder=ColourEncoder())
    frames = directions(sum(segments_of), seed=3).astype(np.float16)
    rest, videos = iter(frames), []
    for number, count in enumerate(segments_of):
        name = f"{number:04d}"
        entry = VideoEntry(name, f"/{name}.mp4", 1, 1, name, 3.0 * count, 64, 48, "h264", "mp4", None, count)
        parts = []
        for index, some in zip(range(count), rest, strict=False):
            seconds = np.arange(3, dtype=np.float32) + 3 * index
            vectors = run_centroids(some[None].astype(np.float32))[0]
            parts.append(SegmentEntry(3.0 * index, 3.0 * index + 3, some, seconds, vectors, b""))
        videos.append((entry, parts))
    library.add_videos(videos)
    return library, frames.astype(np.float32)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Snapshot, np.ndarray]:
    """1,200 segments of 400 videos."""
    library, frames = made_up(tmp_path_factory.mktemp("many"), [3] * 400)
    return library.snapshot(), frames


QUERIES = ["red", "green blue", "white", "yellow", "black red", "magenta", "cyan"]


def asked(snapshot: Snapshot, text: str) -> EncodedQuery:
    return encode(snapshot, Query(text=text))


@pytest.mark.parametrize("text", QUERIES)
def test_stage_one_lists_what_stage_two_puts_first(many: tuple[Snapshot, np.ndarray], text: str) -> None:
    """The best ten of 1,200 by plain cosines of their frames are among 30 candidates; chance would have a quarter."""
    snapshot, frames = many
    query = asked(snapshot, text)
    vector = query.features.sentence[0].numpy()
    nearest = np.sort((frames @ (vector / np.linalg.norm(vector))).max(axis=1))[::-1]
    rows = candidates(snapshot, query, SHORT)
    assert len(rows) == len(set(rows)) == SHORT
    listed = (snapshot.frames(rows).frames.numpy() @ (vector / np.linalg.norm(vector))).max(axis=1)
    assert listed.min() > np.median(nearest)
    assert np.sort(listed)[::-1][:10] == pytest.approx(nearest[:10], abs=0.02)


@pytest.mark.parametrize("text", QUERIES)
def test_a_shortlist_finds_the_best_video_of_many(many: tuple[Snapshot, np.ndarray], text: str) -> None:
    snapshot, _ = many
    query = asked(snapshot, text)
    exact, staged = (search(snapshot, query, top=5, exact=exact, shortlist=100) for exact in (True, False))
    assert [hit.video_id for hit in staged] == [hit.video_id for hit in exact]
    assert [hit.score for hit in staged] == pytest.approx([hit.score for hit in exact], abs=1e-6)
    different = search(snapshot, asked(snapshot, "blue" if text != "blue" else "red"), top=5, shortlist=100)
    assert [hit.video_id for hit in different] != [hit.video_id for hit in staged]


def test_exact_scores_everything_in_blocks(many: tuple[Snapshot, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot, _ = many
    whole = search(snapshot, asked(snapshot, "red"), top=400, exact=True)
    assert len(whole) == 400
    monkeypatch.setattr(sys.modules["wordframe.search.search"], "BLOCK_SEGMENTS", 7)
    in_blocks = search(snapshot, asked(snapshot, "red"), top=400, exact=True)
    scores = {moment.segment_id: moment.score for hit in whole for moment in hit.moments}
    assert {m.segment_id: m.score for hit in in_blocks for m in hit.moments} == pytest.approx(scores, abs=1e-6)


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many segments each look scored."""
    looks: list[int] = []
    segments = Snapshot.segments

    def counting(self: Snapshot, row_ids: list[int]) -> object:
        looks.append(len(row_ids))
        return segments(self, row_ids)

    monkeypatch.setattr(Snapshot, "segments", counting)
    return looks


def test_nine_long_videos_do_not_have_all_their_segments_scored(tmp_path: Path, scored: list[int]) -> None:
    """Ten hits are asked for and nine videos are there: every one is found, without scoring the library."""
    library, _ = made_up(tmp_path / "long", [400] * 9)
    hits = SearchEngine(library).search("green", top=10, shortlist=20)
    assert len(hits) == 9
    assert sum(scored) <= 9 * 20 < 3600 / 10


def test_filters_that_leave_few_videos_end_with_them(many: tuple[Snapshot, np.ndarray], scored: list[int]) -> None:
    snapshot, _ = many
    hits = search(snapshot, asked(snapshot, "red"), filters=Filters(path="/000[12].mp4"), top=10, shortlist=300)
    assert sorted(Path(hit.path).name for hit in hits) == ["0001.mp4", "0002.mp4"]
    assert scored == [6]


def test_a_small_shortlist_still_fills_the_list(many: tuple[Snapshot, np.ndarray], scored: list[int]) -> None:
    snapshot, _ = many
    hits = search(snapshot, asked(snapshot, "cyan"), top=7, shortlist=1)
    assert len({hit.video_id for hit in hits}) == 7
    assert scored == [1] * 7
    exact = search(snapshot, asked(snapshot, "cyan"), top=30, exact=True)
    assert len({hit.video_id for hit in hits} & {hit.video_id for hit in exact}) >= 5  # good ones, not any


def test_ties_are_broken_by_path_and_none_is_lost(tmp_path: Path) -> None:
    library = Library.open(tmp_path / "library", encoder=ColourEncoder())
    ones = np.ones((1, D), np.float32)
    part = SegmentEntry(0.0, 1.0, ones.astype(np.float16), ones[0, :1], ones, b"")
    names = ["c", "a", "e", "b", "d"]
    entries = [VideoEntry(n, f"/{n}.mp4", 1, 1, n, 1.0, 64, 48, "h264", "mp4", None, 1) for n in names]
    library.add_videos([(entry, [part]) for entry in entries])
    hits = SearchEngine(library).search("red", top=3)
    assert [hit.path for hit in hits] == ["/a.mp4", "/b.mp4", "/c.mp4"]
    assert len({hit.score for hit in hits}) == 1


@pytest.mark.parametrize("shortlist", [1, 2, 300])
def test_copies_of_a_film_are_one_result_with_its_places(tmp_path: Path, shortlist: int) -> None:
    videos = tmp_path / "videos"
    red = write_scenes(videos / "red.mp4", ("red", 2), ("white", 2))
    for place in ("holiday/red.mp4", "backup/2020/red again.mp4"):
        (videos / place).parent.mkdir(parents=True)
        shutil.copy(red, videos / place)
    write_scenes(videos / "blue.mp4", ("blue", 2))
    write_scenes(videos / "green.mp4", ("green", 2))
    library = Library.open(tmp_path / "library", encoder=ColourEncoder())
    library.index([videos])
    engine = SearchEngine(library)
    places = sorted(str(videos / place) for place in ("backup/2020/red again.mp4", "holiday/red.mp4", "red.mp4"))

    for exact in (False, True):
        hits = engine.search("red", top=3, shortlist=shortlist, exact=exact)
        assert [len(hit.copies) for hit in hits] == [2, 0, 0]
        assert sorted([hits[0].path, *hits[0].copies]) == places
        assert {moment.segment_id.rpartition("-")[0] for moment in hits[0].moments} == {hits[0].video_id}
    (hit,) = engine.search("red", top=1, filters=Filters(folder=str(videos / "holiday")))
    assert (hit.path, hit.copies) == (str(videos / "holiday" / "red.mp4"), ())
    (hit,) = engine.search("red", top=1, filters=Filters(path="*again.mp4"))
    assert (hit.path, hit.copies) == (places[0], ())
    assert hit.to_json()["copies"] == []


def test_recall_of_the_shortlist_is_measured_against_everything(many: tuple[Snapshot, np.ndarray]) -> None:
    snapshot, _ = many
    wide = shortlist_recall(snapshot, QUERIES, top=10, shortlist=100)
    assert (wide.top, wide.shortlist, wide.queries, wide.segments) == (10, 100, len(QUERIES), 1200)
    assert 0.95 <= wide.recall <= 1
    found = 0
    for text in QUERIES:  # the same by looking: the shortlist is as long as what is looked for
        exact = search(snapshot, asked(snapshot, text), top=400, moments=3, exact=True)
        scores = sorted((moment.score for hit in exact for moment in hit.moments), reverse=True)[:3]
        listed = [f.segment_id for f in snapshot.facts(candidates(snapshot, asked(snapshot, text), 3))]
        found += sum(m.segment_id in listed for h in exact for m in h.moments if m.score >= scores[-1])
    narrow = shortlist_recall(snapshot, QUERIES, top=3, shortlist=3)
    assert narrow.recall == pytest.approx(found / (3 * len(QUERIES)))
    assert narrow.recall < 1
    assert shortlist_recall(snapshot, QUERIES, shortlist=1200).recall == 1


def test_recall_reads_each_segment_once_for_all_sentences(many: tuple[Snapshot, np.ndarray], scored: list[int]) -> None:
    snapshot, _ = many
    shortlist_recall(snapshot, plain_sentences(20), shortlist=100)
    assert sum(scored) == snapshot.num_segments


def test_a_query_that_becomes_no_number_is_told(library: Library) -> None:
    class Spoilt(ColourEncoder):
        def encode_text(self, sentences: Sequence[str]) -> TextFeatures:
            made = super().encode_text(sentences)
            return TextFeatures(made.sentence * torch.nan, made.words, made.word_mask)

    engine = SearchEngine(Library.open(library.folder, encoder=Spoilt()))
    with pytest.raises(WordframeError, match="the encoder makes something of this query that is not a number: its wei"):
        engine.search("red")


def test_a_damaged_feature_is_told(tmp_path: Path) -> None:
    library = Library.open(tmp_path / "library", encoder=ColourEncoder())
    broken = np.full((1, D), np.nan, np.float16)
    part = SegmentEntry(0.0, 1.0, broken, np.zeros(1, np.float32), np.ones((1, D), np.float32), b"")
    library.add_videos([(VideoEntry("a", "/a.mp4", 1, 1, "", 1.0, 64, 48, "h264", "mp4", None, 1), [part])])
    with pytest.raises(WordframeError, match="a score is not a number; the library's features are damaged"):
        SearchEngine(library).search("red")


@pytest.mark.parametrize("scattered", [False, True])
def test_neighbours_in_time_are_found_wherever_their_rows_lie(tmp_path: Path, scattered: bool) -> None:
    library, frames = made_up(tmp_path, [9, 1, 2, 30])
    if scattered:  # every other row is written anew, behind all others
        lancedb.connect(tmp_path / "tables").open_table("segments").update("segment_index % 2 = 0", {"size": 2})
    snapshot = library.snapshot()
    starts = {"0000": 0, "0001": 9, "0002": 10, "0003": 12}
    asked_for = {row: fact for row in snapshot.row_ids() for fact in snapshot.facts([row])}
    found = snapshot.around(list(asked_for), 4)
    assert found.keys() == asked_for.keys()
    assert len(found) == 42
    for row_id, near in found.items():
        fact = asked_for[row_id]
        wanted = [index for index in range(fact.num_segments) if abs(index - fact.segment_index) <= 4]
        assert [(row.facts.video_id, row.facts.segment_index) for row in near] == [(fact.video_id, i) for i in wanted]
        for row in near:
            np.testing.assert_array_equal(row.frames, frames[starts[fact.video_id] + row.facts.segment_index])
