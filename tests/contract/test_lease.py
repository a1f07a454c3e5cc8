"""Writers of a library on object storage: one at a time, and one that lost its lease commits nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.colours import ColourEncoder, write_scenes
from tests.object_server import Environ, ObjectServer
from wordframe.errors import LibraryError
from wordframe.library import Library, place_of
from wordframe.library._lease import LEASE_NAME
from wordframe.library._store import FailureEntry, ModelEntry, Store


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    write_scenes(folder / "red.mp4", ("red", 2))
    write_scenes(folder / "sea.mp4", ("blue", 2))
    return folder


def opened(address: str) -> Library:
    return Library.open(address, encoder=ColourEncoder())


def take_over(address: str) -> None:
    """What another does who finds that the lease has ended."""
    place = place_of(address)
    place.write(LEASE_NAME, json.dumps(json.loads(place.read(LEASE_NAME)) | {"until": time.time() - 1}))
    with place.writing():
        pass


def test_who_comes_second_is_told_who_writes(on_store: str, videos: Path) -> None:
    library = opened(on_store)
    with (
        library.locked(),
        pytest.raises(LibraryError, match=r"another run of wordframe \(process \d+ on .+\) is writing"),
    ):
        opened(on_store).index(videos)
    opened(on_store).index(videos)  # given up at once, and not after the lease's end


def test_a_run_that_failed_gives_its_lease_up_at_once(on_store: str) -> None:
    with pytest.raises(RuntimeError, match="of its own"), place_of(on_store).writing():
        raise RuntimeError("of its own")
    with place_of(on_store).writing():
        pass


def test_a_lease_is_renewed_as_long_as_its_holder_lives(on_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORDFRAME_LEASE_SECONDS", "0.5")
    place = place_of(on_store)
    with place.writing():
        first = until = json.loads(place.read(LEASE_NAME))["until"]
        ends = time.monotonic() + 60
        while until < first + 1 and time.monotonic() < ends:
            until = json.loads(place.read(LEASE_NAME))["until"]
        assert until >= first + 1
    assert json.loads(place.read(LEASE_NAME))["until"] == 0


def _video(store: Store) -> str:
    return next(video.video_id for video in store.open_segments().videos() if video.path.endswith("red.mp4"))


COMMITS: dict[str, Callable[[Store], None]] = {
    "add": lambda store: store.copy_video(_video(store), store.open_segments().videos()[1], replaced=False),
    "replace": lambda store: store.copy_video(_video(store), store.open_segments().videos()[1], replaced=True),
    "move": lambda store: store.move({_video(store): ("/elsewhere.mp4", 1, 1)}),
    "delete": lambda store: store.delete([_video(store)]),
    "failures": lambda store: store.set_failures([FailureEntry("/a.mp4", 1, 1, "broken")]),
    "models": lambda store: store.set_models([ModelEntry("m", "f", False, "model_m")]),
    "tidy": lambda store: store.tidy(),
}


@pytest.mark.parametrize("commit", COMMITS)
def test_who_slept_through_the_end_of_its_lease_commits_nothing(
    commit: str, on_store: str, videos: Path, object_server: ObjectServer
) -> None:
    """It slept at the worst moment: after it had asked whether the lease was its own, before its first byte was out."""
    opened(on_store).index(videos)
    place, slept = place_of(on_store), []
    store = Store(place)
    with place.writing():  # so that there is something to tidy up
        store.copy_video(_video(store), replace(store.open_segments().videos()[1], video_id="twin"), replaced=False)
    before = _state(on_store)

    def sleep(environ: Environ, usual: object) -> None:
        if environ["REQUEST_METHOD"] == "PUT" and "/tables/" in environ["PATH_INFO"] and not slept:
            slept.append(environ["PATH_INFO"])
            take_over(on_store)

    told = r"process \d+ on .+ took over the writing, since this run was silent for longer than 30 s"
    with pytest.raises(LibraryError, match=told), place.writing(), object_server.failing(sleep):
        COMMITS[commit](store)
    assert slept
    assert _state(on_store) == before


def test_who_lost_its_lease_cannot_end_as_if_all_were_well(on_store: str, videos: Path) -> None:
    opened(on_store).index(videos)
    with pytest.raises(LibraryError, match="took over the writing"), place_of(on_store).writing():
        take_over(on_store)
    opened(on_store).index(videos)


def test_who_loses_its_lease_during_a_run_says_so(on_store: str, videos: Path, object_server: ObjectServer) -> None:
    taken = []

    def take(environ: Environ, usual: object) -> None:
        if "/segments.lance/data/" in environ["PATH_INFO"] and not taken:
            taken.append(environ["PATH_INFO"])
            take_over(on_store)

    with object_server.failing(take), pytest.raises(LibraryError, match="took over the writing"):
        opened(on_store).index(videos)
    assert opened(on_store).videos() == []
    assert len(opened(on_store).index(videos).indexed) == 2


def test_a_program_that_commits_without_the_lease_is_told_so(on_store: str, videos: Path) -> None:
    opened(on_store).index(videos)
    with pytest.raises(AssertionError, match=r"a commit without the lease; do it within Library\.locked\(\)"):
        Store(place_of(on_store)).delete(["000000000000"])


def _state(address: str) -> object:
    store = Store(place_of(address))
    rows = store.open_segments().select(None, ["segment_id", "path"]).to_pylist()
    return sorted(map(str, rows)), store.failures(), store.models()
