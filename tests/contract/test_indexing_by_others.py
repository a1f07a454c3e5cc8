"""What the indexer asks of whoever reads its videos, and what it promises whoever that is."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.colours import ColourEncoder, write_scenes
from tests.scale.worlds import rows_of
from wordframe.errors import LibraryError
from wordframe.library import Library, indexer
from wordframe.library._executor import LocalExecutor
from wordframe.library._files import FoundFile
from wordframe.library._fragments import TablePlace, need_table, write_rows
from wordframe.library._ray import _batches, connect_to_ray
from wordframe.library._ray_pool import own_error
from wordframe.library._reading import Done, Event, Failed, Settings, UnderWay, VideoJob

pytest.importorskip("lance", reason="of the extra ray")


class FragmentExecutor(LocalExecutor):
    """Reads here, but writes as others would: beside the table, two videos at a time."""

    writes_fragments = True

    def read(
        self, jobs: Sequence[VideoJob], settings: Settings, table: TablePlace, should_stop: Callable[[], bool]
    ) -> Generator[Event, None, None]:
        waiting: list[Done] = []
        for event in super().read(jobs, settings, table, should_stop):
            waiting += [event] if isinstance(event, Done) else []
            if not isinstance(event, Done):
                yield event
            if len(waiting) == 2:
                yield self._write(waiting, table)
                waiting = []
        if waiting:
            yield self._write(waiting, table)

    def _write(self, waiting: list[Done], table: TablePlace) -> Done:
        rows = [row for done in waiting for row in done.rows]
        return Done([video for done in waiting for video in done.videos], fragments=write_rows(table, rows))


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for number, colour in enumerate(("red", "green", "blue", "white", "cyan")):
        write_scenes(tmp_path / "videos" / f"{colour}.mp4", (colour, 1 + number / 4), ("black", 1.0))
    return tmp_path / "videos"


def open_library(folder: Path) -> Library:
    return Library.open(folder, encoder=ColourEncoder())


def ids(library: Library) -> dict[str, str]:
    return {Path(video.path).name: video.video_id for video in library.videos()}


def test_rows_written_by_others_are_those_written_here(tmp_path: Path, videos: Path) -> None:
    shutil.copy(videos / "red.mp4", videos / "twin.mp4")
    (videos / "bad.mp4").write_bytes(b"no video")
    here, there = open_library(tmp_path / "here"), open_library(tmp_path / "there")
    for change in (lambda: None, lambda: write_scenes(videos / "blue.mp4", ("white", 40), ("red", 1))):
        change()
        first, second = here.index(videos), there.index(videos, executor=FragmentExecutor())
        assert (sorted(first.indexed), first.failed) == (sorted(second.indexed), second.failed)
        assert len(first.copied) == len(second.copied)
        assert (first.frames, first.frames_reused) == (second.frames, second.frames_reused)
        assert rows_of(here) == rows_of(there)


def test_new_rows_and_the_removal_of_old_ones_are_one_commit(tmp_path: Path, videos: Path) -> None:
    library = open_library(tmp_path / "library")
    library.index(videos, executor=FragmentExecutor())
    write_scenes(videos / "red.mp4", ("white", 2.0))
    write_scenes(videos / "yellow.mp4", ("yellow", 2.0))
    store = library._store
    table = store.segments_place()
    rows = [
        row | {"segment_id": f"{row['segment_id']}x"}
        for row in store.open_segments().select(None, table.open().schema.names).to_pylist()
    ]
    before, replaced = table.open().version, sorted(ids(library).values())
    store.add_fragments(write_rows(table, rows), replaced=replaced)
    assert table.open().version == before + 1
    assert sorted(row["segment_id"] for row in rows_of(library)) == sorted(row["segment_id"] for row in rows)


def test_rows_for_a_large_library_have_its_vectors_before_it_is_tidied(
    tmp_path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # LanceDB's asks for D = 8 · n
    monkeypatch.setattr("wordframe.library._lance_index.index_vectors", lambda *_: None)
    monkeypatch.setattr("wordframe.library._lance_index.takes", lambda _: True)
    libraries = open_library(tmp_path / "here"), open_library(tmp_path / "there")
    for library, executor in zip(libraries, (None, FragmentExecutor()), strict=True):
        library.index(videos / "red.mp4")
        library.tidy(large_from=1)
        with monkeypatch.context() as patch:
            patch.setattr("wordframe.library._store.Store.tidy", lambda self, **_: None)
            library.index(videos, executor=executor)
    here, there = ({row["segment_id"]: row["vectors"] for row in vectors_of(library)} for library in libraries)
    assert len(here) == len(rows_of(libraries[0]))
    assert here == there


def vectors_of(library: Library) -> list[dict[str, Any]]:
    return library.snapshot().select("vectors IS NOT NULL", ["segment_id", "vectors"])


def test_what_a_dead_run_wrote_beside_the_table_goes_with_the_next(tmp_path: Path, videos: Path) -> None:
    library = open_library(tmp_path / "library")
    library.index(videos / "red.mp4")
    place = library._store.segments_place()
    rows = library._store.open_segments().select(None, place.open().schema.names).to_pylist()
    data = Path(place.uri) / "data"
    before = set(data.iterdir())
    write_rows(place, rows)
    (left,) = set(data.iterdir()) - before
    library.index(videos, executor=FragmentExecutor())
    held = rows_of(library)
    assert len(held) == len({row["segment_id"] for row in held})
    assert {video.path for video in library.videos()} == {str(path) for path in videos.iterdir()}
    assert not left.exists()


def test_a_machine_with_another_folder_at_the_librarys_path_breaks_nothing(tmp_path: Path, videos: Path) -> None:
    library = open_library(tmp_path / "library")
    library.index(videos / "red.mp4")
    before = rows_of(library)
    shutil.copytree(tmp_path / "library", tmp_path / "elsewhere")
    place = open_library(tmp_path / "elsewhere")._store.segments_place()

    class Elsewhere(FragmentExecutor):
        def _write(self, waiting: list[Done], table: TablePlace) -> Done:
            return super()._write(waiting, place)

    with pytest.raises(LibraryError, match=r"segments\.lance: what another machine wrote is not here"):
        library.index(videos, executor=Elsewhere())
    assert rows_of(library) == before


def test_a_machine_without_the_library_says_where_and_what_to_do(tmp_path: Path) -> None:
    missing = str(tmp_path / "library" / "segments.lance")
    with pytest.raises(LibraryError) as told:
        need_table(TablePlace(missing))
    assert str(told.value).startswith(f"{missing} cannot be read on {socket.gethostname()}: a library must be at the")
    assert not re.search(r"\n|\.rs:", str(told.value))


def test_a_machine_with_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        LibraryError, match=rf"^{socket.gethostname()} has wordframe .* machine that commits 0\.0\.9; give"
    ):
        need_table(TablePlace(str(tmp_path), wordframe_version="0.0.9"))


def test_what_fails_on_the_cluster_is_told_with_its_machine() -> None:
    raised = "ray::Reader.read() (pid=7, ip=10.0.0.2)\n  File …\nOSError: [Errno 28] No space left on device"
    told = "a reader on the Ray cluster failed on 10.0.0.2: OSError: [Errno 28] No space left on device"
    assert str(own_error(RuntimeError(raised))) == told


def test_two_libraries_give_a_file_the_same_id(tmp_path: Path, videos: Path) -> None:
    one, other = open_library(tmp_path / "one"), open_library(tmp_path / "other")
    one.index(videos)
    other.index(videos / "red.mp4")
    other.index(videos)
    assert ids(one) == ids(other)


def test_an_id_stays_with_its_content_and_its_old_path_gets_another(tmp_path: Path, videos: Path) -> None:
    library = open_library(tmp_path / "library")
    library.index(videos)
    first = ids(library)
    (videos / "red.mp4").rename(videos / "moved.mp4")
    write_scenes(videos / "red.mp4", ("yellow", 3))
    library.index(videos)
    second = ids(library)
    assert second["moved.mp4"] == first["red.mp4"]
    assert len(set(second.values())) == len(second) == 6
    (videos / "moved.mp4").rename(videos / "again.mp4")
    shutil.copy(videos / "blue.mp4", videos / "moved.mp4")
    library.index(videos)
    third = ids(library)
    assert (third["again.mp4"], third["red.mp4"]) == (first["red.mp4"], second["red.mp4"])
    assert len(set(third.values())) == len(third) == 7


class Told(LocalExecutor):
    """Tells what it is given to tell, calling ``look`` before each."""

    def __init__(self, events: Sequence[Event], look: Callable[[], None]) -> None:
        self._events, self._look = events, look

    def read(
        self, jobs: Sequence[VideoJob], settings: Settings, table: TablePlace, should_stop: Callable[[], bool]
    ) -> Generator[Event, None, None]:
        for event in self._events:
            self._look()
            yield event


def test_failures_are_remembered_with_each_commit(
    tmp_path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexer, "COMMIT_SECONDS", 0.0)
    library = open_library(tmp_path / "library")
    seen: list[list[str]] = []
    names = ["red.mp4", "blue.mp4", "white.mp4"]
    events = [Failed(str(videos / name), f"{name}: broken") for name in names]
    library.index(
        [videos / name for name in names],
        executor=Told(events, lambda: seen.append([failure.reason for failure in library.failures()])),
    )
    assert seen == [[], ["red.mp4: broken"], ["red.mp4: broken", "blue.mp4: broken"]]


def test_a_file_that_cannot_be_looked_at_keeps_what_is_known_of_it(tmp_path: Path, videos: Path) -> None:
    library = open_library(tmp_path / "library")
    library.index(videos)
    write_scenes(videos / "red.mp4", ("yellow", 3))
    path = str(videos / "red.mp4")
    summary = library.index(videos, executor=Told([Failed(path, "no permission", is_unseen=True)], lambda: None))
    assert (summary.failed, path in {video.path for video in library.videos()}) == ({path: "no permission"}, True)
    library.index(videos, retry=True, executor=Told([Failed(path, "no video")], lambda: None))
    assert path not in {video.path for video in library.videos()}


def test_progress_counts_all_that_is_under_way_and_a_second_try_once(tmp_path: Path, videos: Path) -> None:
    library = open_library(tmp_path / "library")
    red, blue = str(videos / "red.mp4"), str(videos / "blue.mp4")
    told = [UnderWay(red, 10, 0, 0.5), UnderWay(blue, 20, 0, 0.5), UnderWay(red, 4, 0, 0.2), Failed(red, "broken")]
    frames: list[tuple[int, int]] = []
    library.index(
        [red, blue],
        on_progress=lambda now: frames.append((now.frames, now.files_done)),
        executor=Told(told, lambda: None),
    )
    assert frames == [(10, 0), (30, 0), (24, 0), (24, 1)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_says_so(tmp_path: Path, videos: Path) -> None:
    (videos / "red.mp4").chmod(0)
    summary = open_library(tmp_path / "library").index(videos)
    assert summary.failed[str(videos / "red.mp4")].endswith("cannot be read (permission denied)")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--ray-actors", "2"], "goes with --ray ADDRESS"),
        (["--ray", "somewhere"], "local, auto or HOST:PORT"),
        (["--ray", "ray://127.0.0.1:10001"], "ray job submit"),
        (["--ray", "localhost:port"], "no Ray cluster at localhost:port: it is no HOST:PORT"),
    ],
)
def test_options_that_make_no_sense_are_refused_in_one_line(
    tmp_path: Path, videos: Path, options: list[str], told: str
) -> None:
    command = [sys.executable, "-m", "wordframe", "index", str(videos), "-l", str(tmp_path / "library"), *options]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"})
    assert done.returncode in (1, 2)
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "library").exists()


@pytest.mark.parametrize("way", ["--ray HOST:PORT", pytest.param("RAY_ADDRESS", marks=pytest.mark.slow)])
def test_a_cluster_that_is_not_there_is_told_in_one_line_and_soon(tmp_path: Path, videos: Path, way: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        named, variables = (address, {}) if way == "--ray HOST:PORT" else ("auto", {"RAY_ADDRESS": address})
        command = [sys.executable, "-m", "wordframe", "index", str(videos), "-l", str(tmp_path / "library")]
        started = time.monotonic()
        done = subprocess.run([*command, "--ray", named], capture_output=True, text=True, env=os.environ | variables)
    assert time.monotonic() - started < 60
    assert done.returncode == 1
    assert done.stderr == (
        f"wordframe: no Ray cluster at {address}: nothing listens there (connection refused); "
        "start one with: ray start --head\n"
    )


@pytest.mark.slow
def test_the_command_indexes_by_a_cluster_of_its_own(tmp_path: Path, videos: Path) -> None:
    command = [sys.executable, "-m", "wordframe", "index", str(videos), "-l", str(tmp_path / "library"), "--json"]
    done = subprocess.run([*command, "--ray", "local"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sorted(json.loads(done.stdout)["indexed"]) == sorted(str(path) for path in videos.iterdir())
    assert len(Library.open(tmp_path / "library").videos()) == 5
    assert "Traceback" not in done.stderr


def test_workers_of_an_own_cluster_do_not_stand_behind_all_else_on_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    started: list[dict[str, str]] = []
    monkeypatch.setattr(ray, "init", lambda **_: started.append(dict(os.environ)))
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    for wanted in ("", "5"):
        monkeypatch.setattr(os, "environ", {**os.environ, **({"RAY_worker_niceness": wanted} if wanted else {})})
        connect_to_ray("local")
    assert [environment["RAY_worker_niceness"] for environment in started] == ["0", "5"]


def test_who_keeps_the_claims_of_a_run_loads_nothing_for_it() -> None:
    """It is a process beside the readers, on the same cores."""
    heavy = ("torch", "av", "lancedb", "lance", "pyarrow", "numpy", "openvino")
    told = f"import sys, wordframe.library._claims; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_batches_keep_all_actors_busy_and_are_small_where_files_are_large() -> None:
    def sizes(count: int, actors: int, size: int) -> list[int]:
        jobs = [VideoJob(FoundFile(f"/{number}", size, 0), f"{number}") for number in range(count)]
        batches = list(_batches(jobs, actors))
        assert [job for batch in batches for job in batch] == jobs
        return [len(batch) for batch in batches]

    assert sizes(3, 8, 1) == [1, 1, 1]
    assert sizes(34, 2, 1) == [4] * 8 + [2]
    assert set(sizes(1600, 2, 1)) == {16}
    assert set(sizes(1600, 2, 600 << 20)) == {2}
