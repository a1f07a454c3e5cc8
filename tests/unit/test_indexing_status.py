"""The status of an indexing run and the roots of a library: small files that others read."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tests.colours import ColourEncoder, write_scenes
from wordframe.library import IndexProgress, Library, read_status
from wordframe.library._local import LocalFolder
from wordframe.library._manifest import add_roots, read_roots, without_nested
from wordframe.library.status import SILENT_SECONDS, STATUS_NAME, IndexingStatus, keeping_status
from wordframe.search import SearchEngine


def library_of(folder: Path) -> Library:
    return Library.open(folder, encoder=ColourEncoder())


def test_a_finished_run_says_what_it_did(tmp_path: Path) -> None:
    write_scenes(tmp_path / "videos" / "a.mp4", ("red", 1))
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"no video")
    library = library_of(tmp_path / "library")
    library.index([tmp_path / "videos"])
    status = read_status(library.folder)
    assert status is not None
    assert (status.state, status.files_done, status.files_total) == ("finished", 2, 2)
    assert status.num_failures == 1
    assert status.failures[0][0] == str(tmp_path / "videos" / "broken.mp4")
    assert status.remaining_seconds is None
    assert library.roots() == [str(tmp_path / "videos")]


def test_the_status_can_be_read_while_the_run_goes_on(tmp_path: Path) -> None:
    seen = []
    write_scenes(tmp_path / "videos" / "a.mp4", ("red", 1))
    library = library_of(tmp_path / "library")
    library.index([tmp_path / "videos"], on_progress=lambda progress: seen.append(read_status(library.folder)))
    assert seen
    assert {status.state for status in seen if status is not None} == {"running"}


def test_a_run_that_raises_has_stopped(tmp_path: Path) -> None:
    def die() -> None:
        with keeping_status(LocalFolder(tmp_path)) as (update, _, _):
            update(IndexProgress(1, 4, 10, 40, 3, 1.5))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        die()
    status = read_status(tmp_path)
    assert status is not None
    assert (status.state, status.files_done, status.bytes_total) == ("stopped", 1, 40)


@pytest.mark.parametrize("ago", [SILENT_SECONDS + 1, -3600.0], ids=["long ago", "before the clock was set back"])
def test_a_run_that_fell_silent_has_stopped(tmp_path: Path, ago: float) -> None:
    with keeping_status(LocalFolder(tmp_path)):
        running = json.loads((tmp_path / STATUS_NAME).read_text())
    assert running["state"] == "running"
    (tmp_path / STATUS_NAME).write_text(json.dumps(running | {"beat": time.time() - ago}))
    status = read_status(tmp_path)
    assert status is not None
    assert status.state == "stopped"


def test_remaining_time_follows_the_bytes(tmp_path: Path) -> None:
    with keeping_status(LocalFolder(tmp_path)) as (update, _, _):
        update(IndexProgress(1, 4, 10, 40, 3, 1.5))
    values = json.loads((tmp_path / STATUS_NAME).read_text()) | {"state": "running", "started": time.time() - 5}
    (tmp_path / STATUS_NAME).write_text(json.dumps(values | {"beat": time.time()}))
    status = read_status(tmp_path)
    assert status is not None
    assert status.remaining_seconds == pytest.approx(15, abs=0.5)


def test_a_clock_that_is_set_back_meanwhile_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour at each look; and files from the future and the far past."""
    started = time.time()
    looks = iter(range(1_000_000))
    monkeypatch.setattr("wordframe.library.status.time.time", lambda: started - 3600 * next(looks))
    for name, second in (("future", 2**33), ("past", -(2**31)), ("now", started)):
        write_scenes(tmp_path / "videos" / f"{name}.mp4", ("red", 1 + len(name)))
        os.utime(tmp_path / "videos" / f"{name}.mp4", (second, second))
    library, remaining = library_of(tmp_path / "library"), []

    def look(progress: IndexProgress) -> None:
        values = json.loads((tmp_path / "library" / STATUS_NAME).read_text()) | {"bytes_done": 1, "bytes_total": 9}
        remaining.append(IndexingStatus(**values).remaining_seconds)

    assert len(library.index([tmp_path / "videos"], on_progress=look).indexed) == 3
    assert set(remaining) == {None}
    assert len(library.index([tmp_path / "videos"]).unchanged) == 3
    assert len(SearchEngine(library).search("red")) == 3
    status = read_status(library.folder)
    assert status is not None
    assert status.state == "finished"


@pytest.mark.parametrize("content", ["", "[]", "{", '{"state": "running"}', "null"])
def test_a_status_that_makes_no_sense_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / STATUS_NAME).write_text(content)
    assert read_status(tmp_path) is None


def test_roots_grow_and_swallow_what_lies_in_them(tmp_path: Path) -> None:
    assert read_roots(LocalFolder(tmp_path)) == []
    add_roots(LocalFolder(tmp_path), ["/v/a/b", "/w"])
    add_roots(LocalFolder(tmp_path), ["/v/a"])
    assert read_roots(LocalFolder(tmp_path)) == ["/v/a", "/w"]


def test_a_library_that_kept_no_roots_names_the_folders_of_its_videos(tmp_path: Path) -> None:
    write_scenes(tmp_path / "videos" / "deep" / "a.mp4", ("red", 1))
    write_scenes(tmp_path / "videos" / "b.mp4", ("blue", 1))
    library = library_of(tmp_path / "library")
    library.index([tmp_path])
    for name in ("roots.json", "copies.json"):
        (library.folder / name).unlink()
    assert library.roots() == [str(tmp_path / "videos")]


def test_many_files_on_the_command_line_are_sorted_out_at_once() -> None:
    class CountedStr(str):
        looks = 0

        def startswith(self, *given: object) -> bool:  # type: ignore[override]
            CountedStr.looks += 1
            return str.startswith(self, *given)  # type: ignore[arg-type]

        def rstrip(self, *given: str) -> CountedStr:  # type: ignore[override]
            return CountedStr(str.rstrip(self, *given))

        def __add__(self, other: str) -> CountedStr:
            return CountedStr(str.__add__(self, other))

    files = [CountedStr(f"/videos/{number:05d}.mp4") for number in range(8000)]
    assert len(without_nested(files)) == 8000
    assert CountedStr.looks <= len(files)
