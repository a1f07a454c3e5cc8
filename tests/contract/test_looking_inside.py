"""What can be asked of a snapshot beyond a search: heat, similar segments, texts for a video, scores by chance."""

from __future__ import annotations

import gc
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest

from tests.colours import ColourEncoder, write_scenes
from wordframe.errors import NotFoundError, WordframeError
from wordframe.library import Library, SegmentEntry, VideoEntry
from wordframe.library.snapshot import SAMPLE
from wordframe.search import (
    EncodedQuery,
    Filters,
    Query,
    SearchEngine,
    background,
    encode,
    heat,
    rank_texts,
    search,
)
from wordframe.search._meaning import MIN_SAMPLE, background_scores


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> SearchEngine:
    folder = tmp_path_factory.mktemp("looking")
    write_scenes(folder / "videos" / "trip" / "mixed.mp4", ("white", 8), ("green", 8), ("black", 8))
    write_scenes(folder / "videos" / "trip" / "green.mp4", ("green", 3))
    write_scenes(folder / "videos" / "red.mp4", ("red", 3))
    library = Library.open(folder / "library", encoder=ColourEncoder())
    library.index([folder / "videos"])
    return SearchEngine(library)


def video_id(engine: SearchEngine, name: str) -> str:
    return next(video.video_id for video in engine.library.videos() if Path(video.path).name == name)


def asked(engine: SearchEngine, **query: object) -> EncodedQuery:
    return encode(engine.snapshot(), Query(**query))  # type: ignore[arg-type]


def test_a_page_of_videos_is_a_part_of_all_by_path(engine: SearchEngine) -> None:
    snapshot = engine.snapshot()
    for where in (None, Filters(max_seconds=5).where()):
        videos = snapshot.videos(where)
        for offset in range(4):
            assert snapshot.video_page(where, offset, 2) == (videos[offset : offset + 2], len(videos))
    assert [Path(video.path).name for video in snapshot.video_page(None, 0, 9)[0]] == [
        "red.mp4",
        "green.mp4",
        "mixed.mp4",
    ]


def test_folders_are_told_with_their_videos_and_seconds(engine: SearchEngine) -> None:
    assert {Path(path).name: found for path, found in engine.snapshot().folders.items()} == {
        "videos": (1, pytest.approx(3.0, abs=0.1)),
        "trip": (2, pytest.approx(27.0, abs=0.1)),
    }


def test_a_page_reads_what_it_shows(engine: SearchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot, read = engine.snapshot(), []
    snapshot.video_page(None, 0, 1)
    made = VideoEntry.of_row
    monkeypatch.setattr(VideoEntry, "of_row", lambda row: read.append(row) or made(row))
    monkeypatch.setattr(type(snapshot._table), "select", None)  # nothing is looked for among all
    snapshot.video_page(None, 2, 1)
    assert len(read) == 1


def test_an_unchanged_library_is_not_opened_again(
    engine: SearchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another writes is seen by the next look; as long as nobody does, a look costs no reading of tables."""
    folder = shutil.copytree(engine.library.folder, tmp_path / "library")
    reader, writer = (Library.open(folder, encoder=ColourEncoder()) for _ in range(2))
    snapshot = reader.snapshot()
    with monkeypatch.context() as patch:
        patch.setattr(reader._store, "open_segments", None)
        assert reader.snapshot() is snapshot
    write_scenes(tmp_path / "blue.mp4", ("blue", 2))
    writer.index(tmp_path / "blue.mp4")
    assert reader.snapshot().num_videos == snapshot.num_videos + 1
    assert snapshot.num_videos == len(engine.library.videos())


def test_a_state_that_nobody_looks_at_goes_at_once(engine: SearchEngine, tmp_path: Path) -> None:
    """It holds an index and what was read, which must not wait for a search for circles among all objects."""
    library = Library.open(shutil.copytree(engine.library.folder, tmp_path / "library"), encoder=ColourEncoder())
    model = library.load_model("ea-clip4clip-mean", untrained=True)
    snapshot = library.snapshot(model)
    assert search(snapshot, encode(snapshot, Query(text="green")), top=1)
    gone = weakref.ref(snapshot)
    write_scenes(tmp_path / "blue.mp4", ("blue", 2))
    library.index(tmp_path / "blue.mp4")
    gc.disable()
    try:
        del snapshot
        assert library.snapshot(model).num_videos
        assert gone() is None
    finally:
        gc.enable()


def test_copies_are_looked_up_once_a_state(engine: SearchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library.open(engine.library.folder, encoder=ColourEncoder())
    snapshot, videos = library.snapshot(), library.videos()
    contents = [video.content_hash for video in videos]
    expected = {video.content_hash: [(video.video_id, video.path)] for video in videos}
    few = Filters(max_seconds=5).where()
    assert snapshot.copies([*contents, "none"], few) == {
        video.content_hash: [(video.video_id, video.path)] for video in snapshot.videos(few)
    }
    assert snapshot.copies(contents) == expected
    monkeypatch.setattr(snapshot, "select", None)
    assert snapshot.copies(contents) == expected


def test_heat_rises_where_the_answer_is(engine: SearchEngine) -> None:
    found = heat(engine.snapshot(), asked(engine, text="green"), video_id(engine, "mixed.mp4"))
    assert found.video_id == video_id(engine, "mixed.mp4")
    seconds, values = np.array(found.seconds), np.array(found.values)
    assert (np.diff(seconds) > 0).all()
    inside = (seconds >= 8) & (seconds < 16)
    assert values.max() == 1.0
    assert values[inside].min() > values[~inside].max()
    assert 8 <= found.moments[0].peak_seconds < 16


def test_each_word_has_its_own_heat(engine: SearchEngine) -> None:
    found = heat(engine.snapshot(), asked(engine, text="white green"), video_id(engine, "mixed.mp4"))
    assert found.words is not None
    white, green = found.words
    assert (white.word, green.word) == ("white", "green")
    seconds = np.array(found.seconds)
    assert seconds[np.argmax(white.values)] < 8 <= seconds[np.argmax(green.values)] < 16


def test_in_a_video_of_one_segment_words_have_heat_too(engine: SearchEngine) -> None:
    found = heat(engine.snapshot(), asked(engine, text="white green"), video_id(engine, "green.mp4"))
    assert found.words is not None
    assert [max(word.values) for word in found.words] == [1.0, 1.0]


def test_the_heat_of_a_model_with_one_vector_a_video_is_that_of_its_frames(engine: SearchEngine) -> None:
    mean = SearchEngine.with_model(engine.library, "clip4clip-mean", untrained=True)
    found = heat(mean.snapshot(), asked(mean, text="green"), video_id(mean, "mixed.mp4"))
    seconds, values = np.array(found.seconds), np.array(found.values)
    inside = (seconds >= 8) & (seconds < 16)
    assert found.words is None
    assert values[inside].min() == 1.0
    assert values[~inside].max() < 0.5


def test_a_query_that_nothing_answers_has_no_heat(engine: SearchEngine) -> None:
    found = heat(engine.snapshot(), asked(engine, text="red"), video_id(engine, "green.mp4"))
    assert max(found.values) == 0.0


def test_like_a_segment_finds_it_and_its_kind(engine: SearchEngine) -> None:
    green = engine.search("green", top=1)[0]
    hits = engine.search(like=green.moments[0].segment_id, top=3)
    assert {Path(hit.path).name for hit in hits[:2]} == {"green.mp4", "mixed.mp4"}
    assert hits[0].score == pytest.approx(1, abs=0.02)


def test_texts_are_ranked_for_a_video(engine: SearchEngine) -> None:
    ranked = rank_texts(engine.snapshot(), ["red", "green", "black"], video_id(engine, "mixed.mp4"))
    assert [text.rank for text in ranked] == [1, 2, 3]
    assert (ranked[2].place, ranked[2].text) == (0, "red")
    assert [text.score for text in ranked] == sorted((text.score for text in ranked), reverse=True)
    by_place = {text.place: text for text in ranked}
    assert 8 <= by_place[1].moment.peak_seconds < 16
    assert by_place[2].moment.peak_seconds >= 16


def test_a_picture_may_be_bytes(engine: SearchEngine, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "red.png")
    hits = engine.search(image=(tmp_path / "red.png").read_bytes(), top=1)
    assert Path(hits[0].path).name == "red.mp4"
    with pytest.raises(WordframeError, match="the picture: cannot be read as a picture"):
        asked(engine, image=b"%!PS-Adobe-3.0 EPSF-3.0\n")


def test_the_folder_filter_takes_what_lies_below(engine: SearchEngine) -> None:
    root = Path(engine.library.videos()[0].path).parents[0]
    trip = root if root.name == "trip" else root / "trip"
    hits = engine.search("red", filters=Filters(folder=str(trip)))
    assert {Path(hit.path).name for hit in hits} == {"mixed.mp4", "green.mp4"}
    assert len(engine.search("red", filters=Filters(folder=str(trip.parent)))) == 3
    assert engine.search("red", filters=Filters(folder=str(trip)[:-1])) == []


def test_what_is_not_there_is_told(engine: SearchEngine) -> None:
    with pytest.raises(NotFoundError, match="no segment 'nowhere'"):
        engine.search(like="nowhere")
    with pytest.raises(NotFoundError, match="no video 'nowhere'"):
        rank_texts(engine.snapshot(), ["red"], "nowhere")
    with pytest.raises(NotFoundError, match="no video 'nowhere'"):
        engine.snapshot().video("nowhere")


def test_find_and_explain_see_one_state_whatever_is_committed_in_between(tmp_path: Path) -> None:
    video = write_scenes(tmp_path / "videos" / "a.mp4", ("red", 3))
    library = Library.open(tmp_path / "library", encoder=ColourEncoder())
    library.index(tmp_path / "videos")
    engine = SearchEngine(library)
    snapshot = engine.snapshot()
    query = encode(snapshot, Query(text="red"))
    (hit,) = search(snapshot, query)
    video.unlink()
    library.index(tmp_path / "videos", prune=True, force=True)
    assert engine.snapshot().num_videos == 0
    (again,) = search(snapshot, query, explained=True)
    assert again.explanation is not None
    assert (again.moments, snapshot.video(hit.video_id).path) == (hit.moments, str(video))
    assert heat(snapshot, query, hit.video_id).moments == hit.moments


def test_where_everyday_sentences_are_all_one_to_the_encoder_nothing_is_weak(engine: SearchEngine) -> None:
    found = background(engine.snapshot(), asked(engine, text="red"))
    assert found.best_by_chance is None
    assert not found.is_weak(-1.0)


def test_chance_is_weak_and_a_match_is_not() -> None:
    noise = np.random.default_rng(0).normal(0.05, 0.1, 5000)
    found = background_scores(noise[:SAMPLE].tolist(), len(noise))
    assert found.best_by_chance is not None
    assert (noise > found.best_by_chance).sum() <= 5
    assert found.best_by_chance < 0.55
    assert found.median == pytest.approx(0.05, abs=0.02)
    assert found.is_weak(found.best_by_chance - 1e-6)
    assert not found.is_weak(found.best_by_chance)


def test_a_few_matches_do_not_move_what_chance_gives() -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, 250).tolist()
    alone, among = background_scores(noise, 1000), background_scores([*noise, *[0.9] * 6], 1000)
    assert among.best_by_chance == pytest.approx(alone.best_by_chance, rel=0.1)


def test_how_few_segments_tell_nothing() -> None:
    assert background_scores([0.1] * (MIN_SAMPLE - 1), 19).best_by_chance is None
    assert background_scores([0.1] * MIN_SAMPLE, 20).best_by_chance == pytest.approx(0.1)
    assert background_scores([], 0).median == 0.0


def test_the_sample_is_even_and_bounded(tmp_path: Path) -> None:
    library = Library.open(tmp_path / "library", encoder=ColourEncoder())
    ones = np.ones((1, 6), np.float32)
    part = SegmentEntry(0.0, 1.0, ones.astype(np.float16), ones[0, :1], ones, b"")
    library.add_videos([(VideoEntry("a", "/a.mp4", 1, 1, "", 1.0, 64, 48, "h264", "mp4", None, 20), [part] * 20)])
    assert library.snapshot().sample == library.snapshot().row_ids()
    library.add_videos([(VideoEntry("b", "/b.mp4", 1, 1, "", 1.0, 64, 48, "h264", "mp4", None, 2980), [part] * 2980)])
    snapshot = library.snapshot()
    rows = snapshot.row_ids()
    places = [rows.index(row) for row in snapshot.sample]
    assert len(places) == SAMPLE
    assert set(np.diff(places)) == {11, 12}
