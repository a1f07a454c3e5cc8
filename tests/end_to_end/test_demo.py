"""The demo's films are real, its truth is about them, its judgement is fair, and (slow) the whole of it runs."""

from __future__ import annotations

import base64
import doctest
import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from wordframe.search import Hit, Moment

DEMO = Path(__file__).parents[2] / "demo"
MODULES = ("pictures", "films", "queries", "answers", "sheet")


@pytest.fixture(scope="module")
def demo() -> Iterator[Any]:
    """The demo's modules by name; they import each other as a script does."""
    sys.path.insert(0, str(DEMO))
    try:
        yield {name: __import__(name) for name in MODULES}
    finally:
        sys.path.remove(str(DEMO))
        for name in MODULES:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def built(demo: Any, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A clip of real footage, a film of one scene and one of four."""
    names = ["carphone_pristine.mp4", "swinging.mp4", "workshop.mp4"]
    return demo["films"].build(tmp_path_factory.mktemp("videos"), names)


def hit(path: Path | str, start: float, stop: float, duration: float) -> Hit:
    span = {"start_seconds": start, "end_seconds": stop, "score": 0.5}
    moment = Moment(segment_id="s", peak_seconds=(start + stop) / 2, **span)
    return Hit(rank=1, path=str(path), video_id="v", duration_seconds=duration, moments=(moment,), **span)


def test_the_library_is_large_enough_and_every_query_has_a_place(demo: Any) -> None:
    films, queries = demo["films"], demo["queries"]
    assert len(films.FILMS) + len(films.FOOTAGE) >= 25
    assert sum(len(scenes) in (4, 5) for scenes in films.FILMS.values()) >= 6
    assert all(4 <= sum(scene.seconds for scene in scenes) <= 20 for scenes in films.FILMS.values())
    assert len(queries.QUERIES) >= 12
    assert all(films.places(query.subject) for query in queries.QUERIES)


@pytest.mark.parametrize("name", ["pictures", "answers"])
def test_examples_in_the_text_hold(demo: Any, name: str) -> None:
    result = doctest.testmod(demo[name])
    assert result.attempted > 0
    assert result.failed == 0


def test_every_picture_and_clip_is_shipped(demo: Any) -> None:
    pictures, films = demo["pictures"], demo["films"]
    for name in {scene.picture for scenes in films.FILMS.values() for scene in scenes}:
        assert pictures.open_picture(name).mode == "RGB"
    for name, seen in films.FOOTAGE.items():
        with av.open(str(pictures.footage(name))) as container:
            assert max(stop for _, stop, _ in seen.values()) <= container.duration / av.time_base


def test_films_are_videos_of_the_length_and_size_they_claim(demo: Any, built: list[Path]) -> None:
    pictures, films = demo["pictures"], demo["films"]
    for path in built[1:]:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            frames = [frame.to_ndarray(format="gray") for frame in container.decode(stream)]
            assert stream.codec_context.name == "h264"
        seconds = sum(scene.seconds for scene in films.FILMS[path.name])
        assert len(frames) == seconds * pictures.FRAMES_PER_SECOND
        assert {frame.shape for frame in frames} == {(pictures.HEIGHT, pictures.WIDTH)}
        assert frames[0].std() > 5
        assert abs(frames[0].astype(float) - frames[-1]).mean() > 1, "the camera moves"


@pytest.mark.slow
def test_a_scene_is_where_the_truth_says(demo: Any, built: list[Path]) -> None:
    """The picture on both sides of the cut: the motorcycle is red, what comes before is black and white."""
    place = demo["films"].places("motorcycle_left.png")[0]
    assert (place.file, place.start_seconds, place.end_seconds, place.whole) == ("workshop.mp4", 6, 11, False)
    with av.open(str(built[2])) as container:
        colours = {
            round(frame.time, 2): frame.to_ndarray(format="rgb24").std(axis=2).mean()
            for frame in container.decode(video=0)
        }
    assert colours[round(place.start_seconds - 1 / 24, 2)] < 3 < colours[place.start_seconds]
    assert colours[place.end_seconds] < 3 < colours[round(place.end_seconds - 1 / 24, 2)]


@pytest.mark.slow
def test_building_repeats_byte_for_byte_and_only_when_needed(demo: Any, built: list[Path], tmp_path: Path) -> None:
    names = [path.name for path in built]
    again = demo["films"].build(tmp_path / "videos", names)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in built]
    written = again[1].stat().st_mtime_ns
    demo["films"].build(tmp_path / "videos", names)
    assert again[1].stat().st_mtime_ns == written
    fewer = demo["films"].build(tmp_path / "videos", names[:2])
    assert sorted(tmp_path.glob("videos/*.mp4")) == fewer


def test_a_folder_of_other_videos_is_left_alone(demo: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.mp4").write_text("precious")
    demo["films"].build(tmp_path, ["carphone_pristine.mp4"])
    assert (tmp_path / "mine.mp4").read_text() == "precious"


@pytest.mark.parametrize(
    ("file", "start", "stop", "verdict"),
    [
        ("workshop.mp4", 6.0, 11.0, "right video, right moment"),
        ("workshop.mp4", 5.0, 10.0, "right video, right moment"),
        ("workshop.mp4", 0.0, 14.0, "right video, wrong moment"),
        ("workshop.mp4", 3.0, 6.0, "right video, wrong moment"),
        ("wall.mp4", 6.0, 11.0, "another video came first"),
    ],
)
def test_verdicts(demo: Any, file: str, start: float, stop: float, verdict: str) -> None:
    query = demo["queries"].Query("a red motorcycle", "motorcycle_left.png")
    assert demo["answers"].Answer.of(query, [hit(f"/videos/{file}", start, stop, 14.0)]).verdict == verdict


def test_counting_leaves_out_videos_without_a_moment_to_find(demo: Any) -> None:
    answers, queries = demo["answers"], demo["queries"]
    found = [
        answers.Answer.of(queries.Query("x", "motorcycle_left.png"), [hit("workshop.mp4", 6, 11, 14)]),
        answers.Answer.of(queries.Query("x", "rabbit"), [hit("bigbuckbunny.mp4", 0, 5.3, 5.3)]),
        answers.Answer.of(queries.Query("x", "coffee.png"), []),
    ]
    assert [answer.verdict for answer in found][1:] == ["right video", "another video came first"]
    assert answers.count(found) == (
        "2 of 3 queries: right video first; 1 of the 2 that ask for one scene of several: right moment."
    )


def test_the_sheet_is_complete_by_itself(demo: Any, built: list[Path], tmp_path: Path) -> None:
    query = demo["queries"].Query("a <red> motorcycle", "motorcycle_left.png")
    hits = [hit(built[2], 6, 11, 14), hit(built[1], 0, 400, 4)]
    page = tmp_path / "results.html"
    demo["sheet"].write_sheet(page, [demo["answers"].Answer.of(query, hits)], summary="1 of 1", facts="quick")
    text = page.read_text(encoding="utf-8")
    assert "a &lt;red&gt; motorcycle" in text
    assert text.count('src="data:image/jpeg;base64,/9j/') == 2
    assert not re.search(r"https?:|url\(|<script|<link|src=\"(?!data:)", text)
    assert "left:42.9%;width:35.7%" in text


def test_the_sheet_shows_the_frame_of_the_peak(demo: Any, built: list[Path]) -> None:
    """The motorcycle is red, the bricks before it are grey."""
    colours = []
    for seconds in (1.0, 8.0):
        stored = base64.b64decode(demo["sheet"].picture_at(str(built[2]), seconds))
        picture = Image.open(io.BytesIO(stored))
        assert (picture.format, picture.size) == ("JPEG", (256, 144))
        colours.append(np.asarray(picture).std(axis=2).mean())
    assert colours[0] < 3 < colours[1]


@pytest.mark.slow
def test_the_whole_demo_runs_in_time(tmp_path: Path) -> None:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(DEMO / "run.py"), "--output", str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < 240
    assert re.search(r"\d+ of 12 queries: right video first", done.stdout)
    assert (tmp_path / "results.html").stat().st_size > 100_000
