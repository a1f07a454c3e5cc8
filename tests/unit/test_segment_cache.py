"""The rows that a search keeps in memory: the last ones, within their bytes, of one state of the tables."""

from __future__ import annotations

import numpy as np

from wordframe.library.segment_cache import SegmentCache, SegmentRow


def row(frames: int = 4) -> SegmentRow:
    made = {"numbers": np.zeros(10, np.float32)}
    return SegmentRow({"segment_id": "a"}, np.zeros((frames, 8), np.float16), np.zeros(frames, np.float32), made)


def test_the_rows_used_longest_ago_go_first() -> None:
    cache = SegmentCache(3 * row().nbytes)
    for number in range(3):
        cache.put(number, row())
    assert cache.get(0) is not None  # used again, so 1 is the oldest now
    cache.put(3, row())
    assert [cache.get(number) is not None for number in range(4)] == [True, False, True, True]
    assert cache.nbytes == 3 * row().nbytes


def test_bytes_count_everything_that_is_kept() -> None:
    assert row(4).nbytes - row(2).nbytes == 2 * 8 * 2 + 2 * 4
    cache = SegmentCache(10**6)
    cache.put(1, row(2))
    cache.put(1, row(4))
    assert (len(cache), cache.nbytes) == (1, row(4).nbytes)


def test_nothing_is_kept_where_nothing_fits() -> None:
    cache = SegmentCache(0)
    cache.put(1, row())
    assert (len(cache), cache.nbytes, cache.get(1)) == (0, 0, None)


def test_another_state_empties_it() -> None:
    cache = SegmentCache(10**6)
    cache.belongs_to((1, 1))
    cache.put(1, row())
    cache.belongs_to((1, 1))
    assert cache.get(1) is not None
    cache.belongs_to((2, 1))
    assert (len(cache), cache.nbytes) == (0, 0)
