"""Keeps a table in few files: merges small ones and drops versions that no reader still holds."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wordframe.library.vector_index import row_ids_of

_ALWAYS_BELOW_ROWS = 5000
_FULL_ROWS = 1_000_000
"""What LanceDB merges up to; a file group of that size stays as it is."""
_LOOSE_SHARE = 0.25


def tidy_table(table: Any) -> None:
    """Merge small files where that pays, and then drop versions older than an hour."""
    if wants_merging(row_ids_of(table)):
        table.optimize(cleanup_older_than=datetime.timedelta(hours=1))


def wants_merging(row_ids: NDArray[np.int64]) -> bool:
    """Whether so many rows lie outside the largest file group that writing all anew is worth it.

    A row's id holds its group's number in the upper 32 bits. Merging when a quarter came in since keeps what is written
    in all below five times what was added; small tables are always merged.

    >>> group = np.arange(4, dtype=np.int64) << 32
    >>> wants_merging(np.repeat(group, [50_000, 5_000, 5_000, 2_000]))
    False
    >>> wants_merging(np.repeat(group, [50_000, 5_000, 5_000, 3_000])), wants_merging(group)
    (True, True)
    """
    if len(row_ids) < _ALWAYS_BELOW_ROWS:
        return True
    _, rows = np.unique(row_ids >> 32, return_counts=True)
    rows = rows[rows < _FULL_ROWS]
    return bool(rows.sum() - rows.max(initial=0) > _LOOSE_SHARE * rows.max(initial=0))
