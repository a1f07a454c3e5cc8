"""What a server asks of the engine beyond a search: heat, similar segments, texts for a video, the usual score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.colours import ColourEncoder, write_scenes
from wordframe.errors import NotFoundError, WordframeError
from wordframe.library import Library
from wordframe.search import Filters, SearchEngine
from wordframe.search.usual import MIN_SAMPLE, SAMPLE, even_sample, usual_scores


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


def test_heat_rises_where_the_answer_is(engine: SearchEngine) -> None:
    query = engine.encode_query(text="green")
    heat, hit = engine.heat(query, engine.words("green"), video_id(engine, "mixed.mp4"))
    assert Path(hit.path).name == "mixed.mp4"
    seconds, values = np.array(heat.seconds), np.array(heat.values)
    assert (np.diff(seconds) > 0).all()
    inside = (seconds >= 8) & (seconds < 16)
    assert values.max() == 1.0
    assert values[inside].min() > values[~inside].max()
    assert 8 <= hit.moments[0].peak_seconds < 16


def test_each_word_has_its_own_heat(engine: SearchEngine) -> None:
    text = "white green"
    heat, _ = engine.heat(engine.encode_query(text=text), engine.words(text), video_id(engine, "mixed.mp4"))
    assert heat.words is not None
    (white_word, white), (green_word, green) = heat.words
    assert (white_word, green_word) == ("white", "green")
    seconds = np.array(heat.seconds)
    assert seconds[np.argmax(white)] < 8 <= seconds[np.argmax(green)] < 16


def test_a_query_that_nothing_answers_has_no_heat(engine: SearchEngine) -> None:
    query = engine.encode_query(text="red")
    heat, _ = engine.heat(query, engine.words("red"), video_id(engine, "green.mp4"))
    assert max(heat.values) == 0.0


def test_like_a_segment_finds_it_and_its_kind(engine: SearchEngine) -> None:
    green = engine.search("green", top=1)[0]
    hits = engine.find(engine.like(green.moments[0].segment_id), top=3)
    assert {Path(hit.path).name for hit in hits[:2]} == {"green.mp4", "mixed.mp4"}
    assert hits[0].score == pytest.approx(1, abs=0.02)


def test_texts_are_ranked_for_a_video(engine: SearchEngine) -> None:
    ranked = engine.rank_texts(["red", "green", "black"], video_id(engine, "mixed.mp4"))
    assert [place for place, _ in ranked][2] == 0
    by_place = dict(ranked)
    assert 8 <= by_place[1].moments[0].peak_seconds < 16
    assert by_place[2].moments[0].peak_seconds >= 16


def test_a_picture_may_be_bytes(engine: SearchEngine, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "red.png")
    hits = engine.find(engine.encode_query(image=(tmp_path / "red.png").read_bytes()), top=1)
    assert Path(hits[0].path).name == "red.mp4"
    with pytest.raises(WordframeError, match="the picture: cannot be read as a picture"):
        engine.encode_query(image=b"%!PS-Adobe-3.0 EPSF-3.0\n")


def test_the_folder_filter_takes_what_lies_below(engine: SearchEngine) -> None:
    root = Path(engine.library.videos()[0].path).parents[0]
    trip = root if root.name == "trip" else root / "trip"
    hits = engine.search("red", filters=Filters(folder=str(trip)))
    assert {Path(hit.path).name for hit in hits} == {"mixed.mp4", "green.mp4"}
    assert len(engine.search("red", filters=Filters(folder=str(trip.parent)))) == 3
    assert engine.search("red", filters=Filters(folder=str(trip)[:-1])) == []


def test_what_is_not_there_is_told(engine: SearchEngine) -> None:
    with pytest.raises(NotFoundError, match="no segment 'nowhere'"):
        engine.like("nowhere")
    with pytest.raises(NotFoundError, match="no video 'nowhere'"):
        engine.rank_texts(["red"], "nowhere")


def test_a_library_too_small_to_tell_chance_marks_nothing_weak(engine: SearchEngine) -> None:
    assert engine.usual(engine.encode_query(text="red")).weak_below is None


def test_chance_is_weak_and_a_match_is_not() -> None:
    noise = np.random.default_rng(0).normal(0.05, 0.1, 5000)
    usual = usual_scores(noise[:SAMPLE].tolist(), len(noise))
    assert usual.weak_below is not None
    assert (noise > usual.weak_below).sum() <= 5
    assert usual.weak_below < 0.55
    assert usual.centre == pytest.approx(0.05, abs=0.02)


def test_a_few_matches_do_not_move_the_usual() -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, 250).tolist()
    alone, among = usual_scores(noise, 1000), usual_scores([*noise, *[0.9] * 6], 1000)
    assert among.weak_below == pytest.approx(alone.weak_below, rel=0.1)


def test_the_sample_is_even_and_bounded() -> None:
    assert even_sample(list(range(MIN_SAMPLE))) == list(range(MIN_SAMPLE))
    sample = even_sample(list(range(10_000)))
    assert len(sample) == SAMPLE
    assert set(np.diff(sample)) == {39, 40}
