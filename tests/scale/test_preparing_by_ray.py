"""Preparing by Ray gives the rows that preparing here gives, whatever dies on the way."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.contract.test_large_libraries import D, NoEncoder, video
from wordframe.library import Library, RayExecutor
from wordframe.library._model_table import table_name
from wordframe.models import TextVideoModel, load_ready

pytestmark = pytest.mark.scale
SEGMENTS = 3000


@pytest.fixture(scope="module")
def executor(cluster: Any) -> Iterator[RayExecutor]:
    with RayExecutor(cluster.address, cores=1) as made:
        yield made


@pytest.fixture(scope="module")
def made(executor: RayExecutor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ray is there before LanceDB is loaded."""
    library = Library.open(tmp_path_factory.mktemp("made") / "library", encoder=NoEncoder())
    library.add_videos(video(number) for number in range(SEGMENTS))
    return library.folder


@pytest.fixture
def library(made: Path, tmp_path: Path) -> Library:
    return Library.open(shutil.copytree(made, tmp_path / "library"), encoder=NoEncoder())


def model_of(name: str) -> TextVideoModel:
    """With the same fresh weights each time."""
    return load_ready(name, dimension=D, untrained=True)


def rows_of(library: Library, name: str) -> list[dict[str, Any]]:
    table = library._store.open_model_table(table_name(model_of(name)))
    return sorted(table.search().to_arrow().to_pylist(), key=lambda row: row["key"])


def preparers() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "Preparer.read" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:  # it ended meanwhile
            continue
    return found


@pytest.mark.parametrize("name", ["clip4clip-mean", "wti"])
def test_the_rows_are_those_made_here(
    executor: RayExecutor, library: Library, made: Path, tmp_path: Path, name: str
) -> None:
    here = Library.open(shutil.copytree(made, tmp_path / "here"), encoder=NoEncoder())
    told: list[tuple[int, int]] = []
    assert here.prepare(model_of(name)) == SEGMENTS
    made_there = library.prepare(model_of(name), executor=executor, on_progress=lambda *counts: told.append(counts))
    assert made_there == SEGMENTS
    assert rows_of(library, name) == rows_of(here, name)
    assert (told[0], told[-1]) == ((0, SEGMENTS), (SEGMENTS, SEGMENTS))
    assert library.prepare(model_of(name), executor=executor) == 0


def test_an_actor_that_dies_costs_nothing(
    executor: RayExecutor, library: Library, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wordframe.library._preparing.SEGMENTS_AT_ONCE", 50)
    over, killed = threading.Event(), 0

    def kill() -> None:
        nonlocal killed
        while not killed and not over.wait(0.02):
            for process in preparers()[:1]:
                process.kill()
                killed = process.pid

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        assert library.prepare(model_of("clip4clip-mean"), executor=executor) == SEGMENTS
    finally:
        over.set()
        killer.join()
    here = Library.open(shutil.copytree(made, tmp_path / "here"), encoder=NoEncoder())
    here.prepare(model_of("clip4clip-mean"))
    assert killed
    assert rows_of(library, "clip4clip-mean") == rows_of(here, "clip4clip-mean")
