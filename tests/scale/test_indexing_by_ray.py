"""Indexing by Ray gives the library that indexing here gives, whatever dies on the way."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.colours import ColourEncoder, write_scenes
from tests.contract.test_large_libraries import NoEncoder, check
from tests.contract.test_large_libraries import video as made_up
from tests.object_server import ObjectServer
from tests.scale.conftest import add_node
from tests.scale.worlds import DEADLY, DeadlyEncoder, readers, rows_of, write_videos
from wordframe.errors import LibraryError
from wordframe.library import IndexProgress, Library, RayExecutor
from wordframe.library._fragments import TablePlace
from wordframe.library._lance_index import IndexPart
from wordframe.library._shards import parts_of
from wordframe.library._store import Store

pytestmark = pytest.mark.scale
ROOT = Path(__file__).parents[2]
NUM_VIDEOS = 40


@pytest.fixture(scope="module")
def executor(cluster: Any) -> Iterator[RayExecutor]:
    with RayExecutor(cluster.address, cores=1) as made:
        yield made


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_videos(tmp_path_factory.mktemp("world") / "videos", NUM_VIDEOS)


@pytest.fixture(scope="module")
def undisturbed(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    library = Library.open(tmp_path_factory.mktemp("undisturbed"), encoder=ColourEncoder())
    library.index(videos)
    return rows_of(library)


def open_slow(folder: Path) -> Library:
    return Library.open(folder, encoder=ColourEncoder(delay_seconds=0.05))


def kill_a_reader(chance: random.Random) -> bool:
    found = readers()
    if found:
        try:
            chance.choice(found).kill()
        except psutil.NoSuchProcess:
            return False
    return bool(found)


def test_a_file_that_kills_its_reader_is_a_failure_and_the_rest_is_indexed(
    executor: RayExecutor, videos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    for video in sorted(videos.iterdir())[:10]:
        (folder / video.name).symlink_to(video)
    deadly = write_scenes(folder / "005b.mp4", (DEADLY, 1.0))
    library = Library.open(tmp_path / "library", encoder=DeadlyEncoder())
    summary = library.index(folder, executor=executor)
    assert list(summary.failed) == [str(deadly)]
    assert "died twice" in summary.failed[str(deadly)]
    assert (len(summary.indexed), len(library.videos())) == (10, 10)
    again = library.index(folder, executor=executor)
    assert (again.indexed, list(again.known_failures)) == ([], [str(deadly)])


def test_ctrl_c_ends_in_order_and_the_next_run_goes_on(
    executor: RayExecutor, videos: Path, tmp_path: Path, undisturbed: list[dict[str, Any]]
) -> None:
    library = open_slow(tmp_path / "library")

    def stop(progress: IndexProgress) -> None:
        signal.raise_signal(signal.SIGINT) if progress.files_done < NUM_VIDEOS else None

    interrupts = iter([stop])
    first = library.index(videos, executor=executor, on_progress=lambda now: next(interrupts, lambda now: None)(now))
    assert first.interrupted
    assert 0 < len(first.indexed) < NUM_VIDEOS
    second = library.index(videos, executor=executor)
    assert sorted(first.indexed) == sorted(second.unchanged)
    assert rows_of(library) == undisturbed


def test_a_machine_that_is_lost_costs_nothing(
    cluster: Any, executor: RayExecutor, videos: Path, tmp_path: Path, undisturbed: list[dict[str, Any]]
) -> None:
    library = open_slow(tmp_path / "library")
    lost = add_node(cluster)
    cluster.wait_for_nodes()

    def lose(progress: IndexProgress) -> None:
        nonlocal lost
        if lost is not None and progress.files_done >= 5:
            cluster.remove_node(lost, allow_graceful=False)
            lost = None

    summary = library.index(videos, executor=executor, on_progress=lose)
    assert lost is None
    assert summary.failed == {}
    assert rows_of(library) == undisturbed


@pytest.mark.parametrize("seed", range(2))
def test_readers_killed_at_random_moments(
    executor: RayExecutor, videos: Path, tmp_path: Path, undisturbed: list[dict[str, Any]], seed: int
) -> None:
    """A file whose reader is killed twice is told to have failed, once; the next run with --retry reads it."""
    library, chance, kills = open_slow(tmp_path / "library"), random.Random(seed), 0
    over = threading.Event()

    def kill() -> None:
        nonlocal kills
        while kills < 7 and not over.wait(chance.uniform(0.2, 2.0)):
            kills += kill_a_reader(chance)

    killer = threading.Thread(target=kill)
    killer.start()
    runs = 0
    try:
        while kills < 7 and runs < 10:
            for video in library.videos()[::2] if library.exists else []:
                library._store.delete([video.video_id])  # work for the next kill
            library.index(videos, executor=executor, retry=True)
            runs += 1
    finally:
        over.set()
        killer.join()
    library.index(videos, executor=executor, retry=True)
    assert kills >= 7
    assert rows_of(library) == undisturbed
    assert library.failures() == []


def test_drivers_killed_at_random_moments(
    cluster: Any, executor: RayExecutor, videos: Path, tmp_path: Path, undisturbed: list[dict[str, Any]]
) -> None:
    folder, chance = tmp_path / "library", random.Random(2)
    command = [sys.executable, "-m", "tests.scale.index_target", cluster.address, str(videos), str(folder)]
    for _ in range(6):
        driver = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert driver.stdout is not None
        for _ in range(chance.randrange(1, 12)):
            if not driver.stdout.readline():
                break
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        if Library.open(folder).exists:
            held = rows_of(Library.open(folder))
            assert [row for row in undisturbed if row["segment_id"] in {each["segment_id"] for each in held}] == held
    library = Library.open(folder, encoder=ColourEncoder())
    library.index(videos, executor=executor)
    assert rows_of(library) == undisturbed


def test_actors_write_the_vectors_of_a_large_library(
    executor: RayExecutor, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wordframe.library._lance_index.takes", lambda _: True)  # its colours are no 8 · n numbers
    monkeypatch.setattr("wordframe.library._lance_index.index_vectors", lambda *_: None)  # LanceDB's asks for D = 8 · n
    library = Library.open(tmp_path / "library", encoder=ColourEncoder())
    library.index(videos / "000.mp4")
    library.tidy(large_from=1)
    monkeypatch.setattr("wordframe.library._store.Store.tidy", lambda self, **_: None)
    library.index([videos / f"{number:03d}.mp4" for number in range(9)], executor=executor)
    rows = library.snapshot().select("true", ["vectors", "path"])
    assert len({row["path"] for row in rows}) == 9
    assert all(row["vectors"] for row in rows)


def test_the_parts_of_an_index_on_disk_are_made_by_the_cluster(
    executor: RayExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each by a task; a process that is killed meanwhile costs nothing but time."""
    monkeypatch.setattr("wordframe.library._lance_index._SEGMENTS_A_PART", 200)
    monkeypatch.setattr("wordframe.library._store.wants_merging", lambda *_: False)  # files as small as that
    library = Library.open(tmp_path / "library", encoder=NoEncoder())
    for first in range(0, 600, 200):
        library.add_videos(made_up(number) for number in range(first, first + 200))
    killed: list[int] = []

    def make(parts: Sequence[IndexPart]) -> list[Any]:
        kill = threading.Thread(target=lambda: killed.append(kill_a_worker()))
        kill.start()
        try:
            return executor.make_index(parts)
        finally:
            kill.join()

    Store(library.place).tidy(large_from=600, make_parts=make)
    assert killed
    assert killed[0]
    snapshot = library.snapshot()
    assert snapshot.disk_index is not None
    parts = parts_of(snapshot.disk_index.table.to_lance())
    assert [(len(part.parts), part.num_rows) for part in parts] == [(1, 200)] * 3
    check(snapshot, list(range(600)))
    with pytest.raises(LibraryError, match=r"nothing cannot be read on .*: a library must be at the same path"):
        executor.make_index([IndexPart(TablePlace(str(tmp_path / "nothing")), 1, "vectors", (0,), 200)])


def kill_a_worker() -> int:
    """The first process of Ray that makes a part, as soon as there is one; its number, or 0 if none came."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for process in psutil.process_iter(["cmdline"]):
            if "ray::_make" in " ".join(process.info["cmdline"] or []):
                process.kill()
                return process.pid
    return 0


def test_videos_on_object_storage_need_no_shared_folder_and_the_same_options_everywhere(
    executor: RayExecutor,
    videos: Path,
    on_store: str,
    object_server: ObjectServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = on_store.removesuffix("library") + "videos"
    for number, path in enumerate(sorted(videos.iterdir())[:6]):
        object_server.put(f"{address}/{number}.mp4", path.read_bytes())
    # the actors began before this environment; what they need of it they are sent
    monkeypatch.setenv(
        "WORDFRAME_STORAGE_OPTIONS", json.dumps({k.lower(): v for k, v in object_server.environment.items()})
    )
    here = Library.open(tmp_path / "here", encoder=ColourEncoder())
    there = Library.open(tmp_path / "there", encoder=ColourEncoder())
    here.index(address)
    with object_server.counted() as requests:
        summary = there.index(address, executor=executor)
    assert summary.failed == {}
    assert rows_of(there) == rows_of(here)
    assert len([path for method, path in requests if path.endswith(".mp4")]) == 6
