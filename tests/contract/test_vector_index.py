"""The index over centroids: finds what a comparison with everything finds, at every moment of a library's life."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from wordframe.errors import LibraryError
from wordframe.library import SegmentEntry, VideoEntry, ids_clause, run_centroids
from wordframe.library._local import LocalFolder
from wordframe.library._rows import segment_rows
from wordframe.library._segment_table import SegmentTable, library_errors
from wordframe.library._store import Store
from wordframe.library._vector_index import CodedRows, VectorIndex, best_cosines

D = 32
Query = NDArray[np.float32]


class Index:
    """A library's segments, and the index over them: that of each version made from the one before."""

    def __init__(self, folder: Path) -> None:
        self.place = LocalFolder(folder)
        self.store = Store(self.place)
        self.refresh()

    def refresh(self) -> None:
        self.table: SegmentTable = self.store.open_segments()
        self.index = VectorIndex(self.table.table, "centroids", D, getattr(self, "index", None))

    def add(self, numbers: range) -> None:
        self.store.add([row for number in numbers for row in rows_of(number)])
        self.refresh()

    def nearest(self, query: Query, limit: int, where: str | None = None) -> list[int]:
        """Numbers of the videos."""
        among = None if where is None else self.table.row_ids(where)
        with library_errors(self.place, "read"):
            rows = self.index.nearest(query, limit, among)
        return [int(name) for name in self.table.take(rows, ["video_id"])["video_id"].to_pylist()]


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    monkeypatch.setattr("wordframe.library._vector_index.BLOCK_ROWS", 100)
    return Index(tmp_path / "library")


def centroids_of(number: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Frames of a video, between one and six, and their centroids."""
    chance = np.random.default_rng((seed, number))
    frames = chance.standard_normal((1 + number % 6, D)).astype(np.float32)
    return frames, run_centroids(frames[None])[0]


def rows_of(number: int, seed: int = 0) -> list[dict[str, object]]:
    frames, vectors = centroids_of(number, seed)
    entry = VideoEntry(f"{number:06d}", f"/{number}.mp4", 1, 1, str(seed), 6.0, 64, 48, "h264", "mp4", None, 1)
    seconds = np.arange(len(frames), dtype=np.float32)
    return segment_rows(entry, [SegmentEntry(0.0, 6.0, frames.astype(np.float16), seconds, vectors, b"")])


def best_of(query: Query, number: int, seed: int = 0) -> float:
    return float(np.max(centroids_of(number, seed)[1] @ query))


def check(index: Index, numbers: list[int], seeds: dict[int, int] | None = None) -> None:
    """It finds the 20 of ``numbers`` that comparing with all of them finds, but for what rounding may swap."""
    seeds = seeds or {}
    for seed in range(5):
        query = np.random.default_rng(10_000 + seed).standard_normal(D).astype(np.float32)
        query /= np.linalg.norm(query)
        cosines = {number: best_of(query, number, seeds.get(number, 0)) for number in numbers}
        found = index.nearest(query, 20)
        assert len(found) == len(set(found)) == 20
        assert set(found) <= set(numbers)
        wanted = sorted(cosines.values(), reverse=True)[:20]
        np.testing.assert_allclose([cosines[number] for number in found], wanted, atol=0.01)


@pytest.mark.parametrize("plain_bytes", [0, 10**9])
def test_all_that_is_nearest_is_found(index: Index, plain_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wordframe.library._vector_index.PLAIN_BYTES", plain_bytes)
    index.add(range(330))
    check(index, list(range(330)))


def test_one_search_does_not_wait_for_the_compiled_loop(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    forms = []
    monkeypatch.setattr("wordframe.library._vector_index.PLAIN_BYTES", 5 * D)
    monkeypatch.setattr(
        "wordframe.library._vector_index.best_cosines",
        lambda *given, compiled: forms.append(compiled) or best_cosines(*given, compiled=compiled),
    )
    index.add(range(2, 3))  # three frames, so three codes
    for _ in range(3):
        index.nearest(np.ones(D, np.float32), 1)
    index.refresh()  # another version of the same library goes on counting
    index.nearest(np.ones(D, np.float32), 1)
    assert forms == [False, False, True, True]


def test_who_answers_many_searches_loads_the_compiled_loop_before_the_first(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    forms = []
    monkeypatch.setattr(
        "wordframe.library._vector_index.best_cosines",
        lambda *given, compiled: forms.append(compiled) or best_cosines(*given, compiled=compiled),
    )
    index.add(range(3))
    index.index.warm()
    index.nearest(np.ones(D, np.float32), 1)
    assert forms == [True]


def test_new_rows_are_found_at_once(index: Index) -> None:
    index.add(range(250))
    check(index, list(range(250)))
    start = 250
    for stop in (251, 300, 330, 900):
        index.add(range(start, stop))
        start = stop
        check(index, list(range(stop)))


def test_only_what_is_new_is_read(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index.add(range(250))
    check(index, list(range(250)))
    read = []
    original = VectorIndex._read
    monkeypatch.setattr(VectorIndex, "_read", lambda self, rows=None: read.append(rows) or original(self, rows))
    index.refresh()
    check(index, list(range(250)))
    assert read == []
    index.add(range(250, 255))
    index.add(range(255, 260))  # and nobody asked in between
    check(index, list(range(260)))
    assert [len(rows) for rows in read] == [10]


def test_deleted_and_replaced_and_moved_videos(index: Index) -> None:
    index.add(range(300))
    query = centroids_of(7)[1][0]
    assert index.nearest(query, 1) == [7]
    index.store.delete(["000007"])
    index.refresh()
    left = [number for number in range(300) if number != 7]
    check(index, left)
    assert 7 not in index.nearest(query, 299)
    index.store.replace(["000008"], rows_of(8, seed=1))
    index.refresh()
    check(index, left, {8: 1})
    assert index.nearest(centroids_of(8, seed=1)[1][0], 1) == [8]
    index.store.move({"000009": ("/elsewhere.mp4", 1, 2)})
    index.refresh()
    (row,) = index.index.nearest(centroids_of(9)[1][0], 1)
    assert index.table.take([row], ["path"])["path"].to_pylist() == ["/elsewhere.mp4"]
    check(index, left, {8: 1})


def test_it_follows_when_files_are_merged(index: Index) -> None:
    for start in range(0, 300, 50):
        index.add(range(start, start + 50))
    index.store.delete(["000003"])
    index.refresh()
    left = [number for number in range(300) if number != 3]
    check(index, left)
    before = index.table.row_ids()
    index.store.tidy()
    index.refresh()
    assert index.table.row_ids() != before  # merged, so all row ids are new
    check(index, left)


def test_an_index_stays_at_its_version(index: Index, tmp_path: Path) -> None:
    index.add(range(200))
    reader = Index(tmp_path / "library")
    late = Index(tmp_path / "library")
    check(reader, list(range(200)))
    index.add(range(200, 320))
    index.store.delete(["000000"])
    index.store.tidy()
    check(reader, list(range(200)))
    check(late, list(range(200)))  # also one that was first asked afterwards
    reader.refresh()
    check(reader, list(range(1, 320)))


def test_many_threads_ask_one_index_and_its_codes_are_read_once(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index.add(range(330))
    reads: list[int] = []
    original = VectorIndex._read
    monkeypatch.setattr(VectorIndex, "_read", lambda self, rows=None: reads.append(1) or original(self, rows))
    queries = [np.random.default_rng(seed).standard_normal(D).astype(np.float32) for seed in range(16)]
    together = threading.Barrier(8)

    def ask(number: int) -> list[int]:
        if number < 8:
            together.wait(30)
        return index.nearest(queries[number], 20)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(16)))
    assert found == [index.nearest(query, 20) for query in queries]
    assert len(reads) == 1


def test_a_filter_still_fills_the_shortlist(index: Index) -> None:
    index.add(range(600))
    allowed = list(range(0, 600, 12))
    query = np.ones(D, np.float32) / np.float32(np.sqrt(D))
    where = ids_clause("video_id", [f"{number:06d}" for number in allowed])
    found = index.nearest(query, 30, where)
    wanted = sorted((best_of(query, number) for number in allowed), reverse=True)[:30]
    np.testing.assert_allclose([best_of(query, number) for number in found], wanted, atol=0.01)
    assert set(found) <= set(allowed)
    assert sorted(index.nearest(query, 1000, where)) == allowed


@pytest.mark.parametrize("added", [20, 500], ids=["some rows", "all anew"])
def test_reading_that_breaks_off_is_told_and_done_again(
    index: Index, added: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(index: VectorIndex, rows: NDArray[np.int64] | None = None) -> Iterator[CodedRows]:
        yield next(iter(original(index, rows)))
        raise OSError("the disk is gone")

    original = VectorIndex._read
    index.add(range(200))
    check(index, list(range(200)))
    index.add(range(200, 200 + added))
    with monkeypatch.context() as patch:
        patch.setattr(VectorIndex, "_read", broken)
        for _ in range(2):
            with pytest.raises(LibraryError, match=r"cannot read .* tables: the disk is gone"):
                index.nearest(np.ones(D, np.float32), 1)
    check(index, list(range(200 + added)))


def test_rows_without_a_whole_code_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one entry more than row_ids \(2\) and end with the number of codes \(3\)"):
        CodedRows(np.arange(2), np.array([0, 1, 2]), np.zeros((3, D), np.int8))
