"""The index over scene vectors: finds what a comparison with everything finds, at every moment of a library's life."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from wordframe.errors import LibraryError
from wordframe.library import Segment, Store, VideoEntry, ids_clause, scene_vectors, segment_rows
from wordframe.library.code_scan import best_cosines
from wordframe.library.vector_index import CodedRows, VectorIndex

D = 32
Query = NDArray[np.float32]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr("wordframe.library.vector_index.BLOCK_ROWS", 100)
    return Store(tmp_path / "library", D)


def scenes_of(number: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Frames of a video, between one and six, and its scenes."""
    chance = np.random.default_rng((seed, number))
    frames = chance.standard_normal((1 + number % 6, D)).astype(np.float32)
    return frames, scene_vectors(frames[None])[0]


def rows_of(number: int, seed: int = 0) -> list[dict[str, object]]:
    frames, vectors = scenes_of(number, seed)
    entry = VideoEntry(f"{number:06d}", f"/{number}.mp4", 1, 1, str(seed), 6.0, 64, 48, "h264", "mp4", None, 1)
    seconds = np.arange(len(frames), dtype=np.float32)
    return segment_rows(entry, [Segment(0.0, 6.0, frames.astype(np.float16), seconds, vectors, b"")])


def add(store: Store, numbers: range) -> None:
    store.add([row for number in numbers for row in rows_of(number)])


def names(store: Store, rows: list[int]) -> list[int]:
    return [int(name) for name in store.take(rows, ["video_id"])["video_id"].to_pylist()]


def best_of(query: Query, number: int, seed: int = 0) -> float:
    return float(np.max(scenes_of(number, seed)[1] @ query))


def check(store: Store, numbers: list[int], seeds: dict[int, int] | None = None) -> None:
    """The store finds the 20 of ``numbers`` that comparing with all of them finds, but for what rounding may swap."""
    seeds = seeds or {}
    for seed in range(5):
        query = np.random.default_rng(10_000 + seed).standard_normal(D).astype(np.float32)
        query /= np.linalg.norm(query)
        cosines = {number: best_of(query, number, seeds.get(number, 0)) for number in numbers}
        found = names(store, store.nearest(query, 20))
        assert len(found) == len(set(found)) == 20
        assert set(found) <= set(numbers)
        wanted = sorted(cosines.values(), reverse=True)[:20]
        np.testing.assert_allclose([cosines[number] for number in found], wanted, atol=0.01)


@pytest.mark.parametrize("plain_bytes", [0, 10**9])
def test_all_that_is_nearest_is_found(store: Store, plain_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wordframe.library.vector_index.PLAIN_BYTES", plain_bytes)
    add(store, range(330))
    check(store, list(range(330)))


def test_one_search_does_not_wait_for_the_compiled_loop(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    forms = []
    monkeypatch.setattr("wordframe.library.vector_index.PLAIN_BYTES", 5 * D)
    monkeypatch.setattr(
        "wordframe.library.vector_index.best_cosines",
        lambda *given, compiled: forms.append(compiled) or best_cosines(*given, compiled=compiled),
    )
    store.add(rows_of(2))  # three frames, so three codes
    for _ in range(4):
        store.nearest(np.ones(D, np.float32), 1)
    assert forms == [False, False, True, True]


def test_new_rows_are_found_at_once(store: Store) -> None:
    add(store, range(250))
    check(store, list(range(250)))
    for stop in (251, 300, 330, 900):
        add(store, range(store.count(), stop))
        check(store, list(range(stop)))


def test_only_what_is_new_is_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    add(store, range(250))
    check(store, list(range(250)))
    read = []
    original = VectorIndex._read
    monkeypatch.setattr(VectorIndex, "_read", lambda self, rows=None: read.append(rows) or original(self, rows))
    check(store, list(range(250)))
    assert read == []
    add(store, range(250, 260))
    check(store, list(range(260)))
    assert [len(rows) for rows in read] == [10]


def test_deleted_and_replaced_and_moved_videos(store: Store) -> None:
    add(store, range(300))
    query = scenes_of(7)[1][0]
    assert names(store, store.nearest(query, 1)) == [7]
    store.delete(["000007"])
    left = [number for number in range(300) if number != 7]
    check(store, left)
    assert 7 not in names(store, store.nearest(query, 299))
    store.replace(["000008"], rows_of(8, seed=1))
    check(store, left, {8: 1})
    assert names(store, store.nearest(scenes_of(8, seed=1)[1][0], 1)) == [8]
    store.move({"000009": ("/elsewhere.mp4", 1, 2)})
    (row,) = store.nearest(scenes_of(9)[1][0], 1)
    assert store.take([row], ["path"])["path"].to_pylist() == ["/elsewhere.mp4"]
    check(store, left, {8: 1})


def test_it_follows_when_files_are_merged(store: Store) -> None:
    for start in range(0, 300, 50):
        add(store, range(start, start + 50))
    store.delete(["000003"])
    left = [number for number in range(300) if number != 3]
    check(store, left)
    before = store.row_ids()
    store.tidy()
    assert store.row_ids() != before  # merged, so all row ids are new
    check(store, left)


def test_a_reader_keeps_its_snapshot_until_it_looks_again(store: Store, tmp_path: Path) -> None:
    add(store, range(200))
    reader = Store(tmp_path / "library", D)
    check(reader, list(range(200)))
    add(store, range(200, 320))
    store.delete(["000000"])
    store.tidy()
    check(reader, list(range(200)))
    reader.refresh()
    check(reader, list(range(1, 320)))


def test_a_filter_still_fills_the_shortlist(store: Store) -> None:
    add(store, range(600))
    allowed = list(range(0, 600, 12))
    query = np.ones(D, np.float32) / np.float32(np.sqrt(D))
    where = ids_clause("video_id", [f"{number:06d}" for number in allowed])
    found = names(store, store.nearest(query, 30, where))
    wanted = sorted((best_of(query, number) for number in allowed), reverse=True)[:30]
    np.testing.assert_allclose([best_of(query, number) for number in found], wanted, atol=0.01)
    assert set(found) <= set(allowed)
    assert sorted(names(store, store.nearest(query, 1000, where))) == allowed


@pytest.mark.parametrize("added", [20, 500], ids=["some rows", "all anew"])
def test_reading_that_breaks_off_is_told_and_done_again(
    store: Store, added: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(index: VectorIndex, rows: NDArray[np.int64] | None = None) -> Iterator[CodedRows]:
        yield next(iter(original(index, rows)))
        raise OSError("the disk is gone")

    original = VectorIndex._read
    add(store, range(200))
    check(store, list(range(200)))
    add(store, range(200, 200 + added))
    with monkeypatch.context() as patch:
        patch.setattr(VectorIndex, "_read", broken)
        for _ in range(2):
            with pytest.raises(LibraryError, match=r"cannot read .* tables: the disk is gone"):
                store.nearest(np.ones(D, np.float32), 1)
    check(store, list(range(200 + added)))


def test_rows_without_a_whole_code_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one entry more than row_ids \(2\) and end with the number of codes \(3\)"):
        CodedRows(np.arange(2), np.array([0, 1, 2]), np.zeros((3, D), np.int8))
