"""The index over scene vectors: there once a library is large, right about new rows and filters, built anew in time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wordframe.library import Segment, VideoEntry
from wordframe.library.segmenting import scene_vectors
from wordframe.library.store import Store, ids_clause, segment_rows

D = 16


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr("wordframe.library.vector_index.INDEX_FROM_ROWS", 400)
    return Store(tmp_path / "library", D)


def add(store: Store, numbers: range) -> None:
    rows = []
    for number in numbers:
        frames = np.random.default_rng(number).standard_normal((6, D)).astype(np.float32)
        entry = VideoEntry(f"{number:06d}", f"/{number}.mp4", 1, 1, "", 6.0, 64, 48, "h264", "mp4", None, 1)
        seconds = np.arange(6, dtype=np.float32)
        vectors = scene_vectors(frames[None])[0]
        rows += segment_rows(entry, [Segment(0.0, 6.0, frames.astype(np.float16), seconds, vectors, b"")])
    store.add(rows)


def names(store: Store, rows: list[int]) -> list[str]:
    found: list[str] = store.take(rows, ["video_id"])["video_id"].to_pylist()
    return found


def scanned(store: Store, query: np.ndarray[tuple[int], np.dtype[np.float32]], count: int) -> list[str]:
    """The same by comparing with everything."""
    table = store.take(store.row_ids(), ["video_id", "vectors"])
    best = [np.max(np.array(vectors, np.float32) @ query) for vectors in table["vectors"].to_pylist()]
    return [table["video_id"][int(place)].as_py() for place in np.argsort(best)[::-1][:count]]


def recall(store: Store, *, count: int = 20) -> float:
    shares = []
    for seed in range(20):
        query = np.random.default_rng(10_000 + seed).standard_normal(D).astype(np.float32)
        query /= np.linalg.norm(query)
        found = names(store, store.nearest(query, count))
        assert len(found) == len(set(found)) == count
        shares.append(len(set(found) & set(scanned(store, query, count))) / count)
    return float(np.mean(shares))


def test_a_small_library_is_scanned(store: Store) -> None:
    add(store, range(100))
    store.tidy()
    assert store.segments.list_indices() == []
    assert recall(store) == 1.0


def test_a_large_one_is_indexed_and_finds_nearly_all(store: Store) -> None:
    add(store, range(600))
    store.tidy()
    (index,) = store.segments.list_indices()
    assert store.segments.index_stats(index.name).num_indexed_rows == 600
    assert recall(store) > 0.85  # directions without any structure are the worst case, and where centres lie is chance


def test_new_rows_are_found_at_once_and_taken_in_when_there_are_many(store: Store) -> None:
    add(store, range(600))
    store.tidy()
    (before,) = store.segments.list_indices()
    add(store, range(600, 660))
    store.tidy()
    (kept,) = store.segments.list_indices()
    assert kept.index_uuid == before.index_uuid
    for number in (600, 659):
        frames = np.random.default_rng(number).standard_normal((6, D)).astype(np.float32)
        query = scene_vectors(frames[None])[0, 0]
        assert names(store, store.nearest(query, 1)) == [f"{number:06d}"]
    add(store, range(660, 900))
    store.tidy()
    (rebuilt,) = store.segments.list_indices()
    assert rebuilt.index_uuid != before.index_uuid
    assert store.segments.index_stats(rebuilt.name).num_unindexed_rows == 0
    assert recall(store) > 0.85  # directions without any structure are the worst case, and where centres lie is chance


def test_a_narrow_filter_still_fills_the_shortlist(store: Store) -> None:
    add(store, range(600))
    store.tidy()
    allowed = [f"{number:06d}" for number in range(0, 600, 12)]
    query = np.ones(D, np.float32) / 4
    found = names(store, store.nearest(query, 30, ids_clause("video_id", allowed)))
    assert len(found) == 30
    assert set(found) <= set(allowed)


def test_deleted_rows_are_not_found(store: Store) -> None:
    add(store, range(600))
    store.tidy()
    query = np.ones(D, np.float32) / 4
    (first, *_) = names(store, store.nearest(query, 5))
    store.delete([first])
    assert first not in names(store, store.nearest(query, 5))
    store.tidy()
    assert first not in names(store, store.nearest(query, 5))
