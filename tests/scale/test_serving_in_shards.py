"""``wordframe serve --ray --shards``: the answers of a server that is not cut, also while a shard is killed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.colours import write_scenes
from tests.scale.test_serving_by_ray import ask, shown
from tests.scale.under_load import answers_while_one_is_killed, served_on_ray
from wordframe.cli import main
from wordframe.library import Library
from wordframe.search import Query, encode, search

pytestmark = pytest.mark.scale
COLOURS = ("red", "green", "blue", "white")
QUERIES = ("a red picture", "something green", "the blue sky")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of ten films; its index has several parts."""
    place = tmp_path_factory.mktemp("shards")
    for number in range(10):
        scenes = [(COLOURS[(number + step) % 4], 3 + number % 7) for step in range(3)]
        write_scenes(place / "videos" / f"{number:02}.mp4", *scenes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wordframe.library._store.wants_merging", lambda *_: False)  # files as small as that
        patch.setattr("wordframe.library._lance_index._SEGMENTS_A_PART", 10)
        for film in sorted((place / "videos").iterdir()):
            assert main(["index", str(film), "--library", str(place / "library")]) == 0
        Library.open(place / "library").tidy(large_from=1)
    return place / "library"


@pytest.fixture(scope="module")
def server(library: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    with served_on_ray(library, "--shards", "2") as started:
        yield started


def shards(command: subprocess.Popen[str]) -> list[psutil.Process]:
    children = psutil.Process(command.pid).children(recursive=True)
    return [process for process in children if "ServeReplica:wordframe:shard-" in shown(process)]


def test_the_answers_are_those_of_a_library_that_is_not_cut(
    library: Path, server: tuple[str, subprocess.Popen[str]]
) -> None:
    address, command = server
    assert len(shards(command)) == 2
    snapshot = Library.open(library).snapshot()
    assert snapshot.disk_index is not None
    for text in QUERIES:
        hits = search(snapshot, encode(snapshot, Query(text=text)), top=10)
        expected = {Path(hit.path).name: hit.score for hit in hits}  # films of the same colours score alike
        found = ask(address, f"/search?text={text.replace(' ', '+')}&limit=10").json()["items"]
        scores = [item["score"] for item in found]
        assert scores == pytest.approx([hit.score for hit in hits[:10]], abs=1e-5)
        assert scores == pytest.approx([expected[item["video"]["name"]] for item in found], abs=1e-5)


def test_a_shard_that_is_killed_under_load_costs_no_request(server: tuple[str, subprocess.Popen[str]]) -> None:
    address, command = server

    def look() -> tuple[int, int]:
        answer = ask(address, "/search?text=a+red+picture")
        return answer.status_code, answer.json().get("num_videos", 0)

    answers = answers_while_one_is_killed(look, lambda: shards(command), callers=3, some=20)
    assert {status for status, _ in answers} == {200}
    assert len(set(answers)) == 1
    assert len(shards(command)) == 2


def test_what_a_model_with_one_vector_a_video_keeps_is_found_by_shards(library: Path) -> None:
    model = "clip4clip-mean"
    assert main(["prepare", model, "--untrained", "--library", str(library)]) == 0
    opened = Library.open(library)
    snapshot = opened.snapshot(opened.load_model(model, untrained=True))
    assert snapshot.model_table is not None
    assert snapshot.model_table.is_on_disk
    with served_on_ray(library, "--shards", "2", "--model", model, "--untrained") as (address, command):
        assert len(shards(command)) == 2
        for text in QUERIES:
            hits = search(snapshot, encode(snapshot, Query(text=text)), top=10)
            found = ask(address, f"/search?text={text.replace(' ', '+')}&limit=10").json()["items"]
            assert [item["score"] for item in found] == pytest.approx([hit.score for hit in hits[:10]], abs=1e-5)


def test_more_shards_than_parts_are_refused(library: Path) -> None:
    command = [sys.executable, "-m", "wordframe", "serve", "--library", str(library), "--port", "0", "--shards", "99"]
    done = subprocess.run([*command, "--ray", "local"], capture_output=True, text=True)
    assert done.returncode == 1
    assert re.search(r"its index has (\d+) parts, one for each shard at least; say --shards \1", done.stderr)
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--shards goes with --ray ADDRESS" in done.stderr
