"""A server makes in the background what its model needs: once told, under the library's lock, and only if it may."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.colours import ColourEncoder, write_scenes
from tests.served import ADDRESS, four_part_checkpoint, get, index, make_library
from wordframe.library import Library
from wordframe.server import ServedLibrary, create_app


@contextmanager
def serving(library: Path, model: Path, *, prepare: bool = True) -> Iterator[tuple[TestClient, ServedLibrary]]:
    served = ServedLibrary(library, model=str(model), encoder=ColourEncoder())
    with TestClient(create_app(served, prepare=prepare), base_url=ADDRESS) as client:
        yield client, served


def wait_until(done: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until
        time.sleep(0.05)


class Told:
    """What has been said on standard error so far."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd, self.text = capfd, ""

    def __call__(self, words: str) -> bool:
        self.text += self._capfd.readouterr().err
        return words in self.text


@pytest.fixture
def told(capfd: pytest.CaptureFixture[str]) -> Told:
    return Told(capfd)


def missing(served: ServedLibrary) -> int:
    return len(served.need_snapshot().unprepared())


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return make_library(tmp_path)


@pytest.fixture(autouse=True)
def low(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The priorities that the processes which prepare were to get. They get none: the tests beside these would leave
    them little of the machine."""
    asked: list[int] = []
    monkeypatch.setattr("os.setpriority", lambda which, process, priority: asked.append(priority))
    monkeypatch.setattr("wordframe.server.preparing.LOOK_SECONDS", 0.2)
    return asked


def test_what_the_model_needs_is_made_and_kept_up_to_date(
    tmp_path: Path, library: Path, told: Told, low: list[int]
) -> None:
    model = four_part_checkpoint(tmp_path / "model")
    with serving(library, model) as (client, served):
        segments = len(served.need_snapshot().row_ids())
        before = get(client, "/search", text="red", exact=True)["items"]
        wait_until(lambda: told(f"prepared for {model}\n"))  # all is there a little before, with the lock still held
        assert missing(served) == 0
        assert get(client, "/search", text="red", exact=True)["items"] == before
        assert [entry.name for entry in Library.open(library).models()] == [str(model)]
        write_scenes(tmp_path / "more" / "new.mp4", ("cyan", 2))
        index(tmp_path, "more", 1)
        wait_until(lambda: missing(served) == 0 and served.need_snapshot().num_segments == segments + 1)
    assert told(f"preparing {segments} segments for {model} in the background; until then searches are slower\n")
    assert told.text.count("in the background") == 1
    assert set(low) == {10}  # once, or again for the new video, which the indexer may have done before


@pytest.mark.slow
def test_an_indexer_at_work_comes_first(tmp_path: Path, library: Path, told: Told, low: list[int]) -> None:
    model = four_part_checkpoint(tmp_path / "model")
    with serving(library, model) as (client, served):
        with Library.open(library).locked():
            wait_until(lambda: len(low) >= 2)  # the first has found the lock taken
            assert missing(served)
            assert get(client, "/search", text="red")["items"]
        wait_until(lambda: missing(served) == 0)
    assert not told("could not")


def test_one_that_cannot_be_prepared_is_told_once(tmp_path: Path, library: Path, told: Told) -> None:
    model = four_part_checkpoint(tmp_path / "model")
    served = ServedLibrary(library, model=str(model), encoder=ColourEncoder())
    served.need_snapshot()  # the server has it in memory
    (model / "config.json").unlink()
    with TestClient(create_app(served, prepare=True), base_url=ADDRESS) as client:
        wait_until(lambda: told(f"could not prepare for {model}: "))
        assert get(client, "/search", text="red")["items"]
        wait_until(lambda: not any(thread.name == "preparing" for thread in threading.enumerate()))
    assert not told("Traceback")
    assert told.text.count("could not prepare") == 1


def test_it_can_be_left_out(tmp_path: Path, library: Path) -> None:
    with serving(library, four_part_checkpoint(tmp_path / "model"), prepare=False) as (client, served):
        assert get(client, "/search", text="red")["items"]
        assert missing(served)
        assert not any(thread.name == "preparing" for thread in threading.enumerate())


def test_the_server_ends_while_it_prepares(tmp_path: Path, library: Path, told: Told) -> None:
    with serving(library, four_part_checkpoint(tmp_path / "model")):
        wait_until(lambda: told("in the background"))
    with Library.open(library).locked():  # nobody is left who writes
        pass
    assert not told("could not")
