"""When a library's files are merged: always while it is small, and then only where enough came in since."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wordframe.library import SegmentEntry, VideoEntry
from wordframe.library._lance_index import rows_by_group
from wordframe.library._local import LocalFolder
from wordframe.library._rows import segment_rows
from wordframe.library._store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(LocalFolder(tmp_path / "library"))


def add(store: Store, count: int) -> None:
    """``count`` segments in one commit, so in one file group."""
    start = store.open_segments().count()
    ones = np.ones((1, 4), np.float32)
    rows = []
    for number in range(start, start + count):
        entry = VideoEntry(f"{number:06d}", f"/{number}.mp4", 1, 1, "", 6.0, 64, 48, "h264", "mp4", None, 1)
        rows += segment_rows(entry, [SegmentEntry(0.0, 6.0, ones.astype(np.float16), ones[0, :1], ones, b"")])
    store.add(rows)


def groups(store: Store) -> list[int]:
    """Rows in each file group."""
    return np.unique(np.array(store.open_segments().row_ids()) >> 32, return_counts=True)[1].tolist()


def test_rows_are_counted_alike_with_and_without_lances_own_package(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for count in (9, 4, 6):
        add(store, count)
    store.delete(["000002", "000011"])
    table = store.open_segments().table
    assert rows_by_group(table) == {0: 8, 1: 3, 2: 6}
    monkeypatch.setattr("wordframe.library._lance_index.find_spec", lambda name: None)
    assert rows_by_group(table) == {0: 8, 1: 3, 2: 6}


def test_a_small_library_is_merged_each_time(store: Store) -> None:
    add(store, 90)
    add(store, 2)
    assert groups(store) == [90, 2]
    store.tidy()
    assert groups(store) == [92]


def test_a_large_one_is_merged_when_a_quarter_came_in(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wordframe.library._store._ALWAYS_BELOW_ROWS", 50)
    for _ in range(5):
        add(store, 20)
    store.tidy()
    assert groups(store) == [100]
    add(store, 15)
    add(store, 10)
    store.tidy()
    assert groups(store) == [100, 15, 10]
    add(store, 1)
    store.tidy()
    assert groups(store) == [126]


def test_full_groups_are_left_out_of_account(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wordframe.library._store._ALWAYS_BELOW_ROWS", 50)
    monkeypatch.setattr("wordframe.library._store._FULL_ROWS", 100)
    for count in (100, 120, 40, 8):
        add(store, count)
    store.tidy()
    assert groups(store) == [100, 120, 40, 8]
    add(store, 8)
    store.tidy()
    assert len(groups(store)) == 1  # LanceDB itself merges up to a million
    add(store, 8)
    store.tidy()
    assert groups(store) == [276, 8]
