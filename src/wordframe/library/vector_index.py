"""The index over a table's vectors: partitions around centres, the vectors in them as they are (LanceDB's IVF_FLAT).

A query looks into the partitions nearest to it and compares exactly there, so all that can be lost is a vector in a
partition not looked into; ``benchmarks/two_stage.py`` measures how much. Rows added since the index was built are
scanned beside it until there are many. Small tables have none: scanning them is exact and as quick.
"""

from __future__ import annotations

import datetime
import math
from typing import Any

from lancedb.index import IvfFlat

INDEX_FROM_ROWS = 5000
_REBUILD_SHARE = 0.25
"""So many rows beside the index, as a share of those in it, and it is built anew."""


def num_partitions(num_vectors: int) -> int:
    """As many as each holds vectors.

    >>> num_partitions(30_000), num_partitions(300_000)
    (173, 547)
    """
    return max(1, math.isqrt(num_vectors))


def num_probes(num_vectors: int) -> int:
    """Partitions a query looks into: an eighth, at least 20. The share that finds enough does not shrink with size.

    >>> num_probes(30_000), num_probes(300_000)
    (21, 68)
    """
    return max(20, num_partitions(num_vectors) // 8)


def tidy_table(table: Any, column: str | None = None, *, distance: str = "cosine", vectors_a_row: int = 1) -> None:
    """Merge small files, drop versions older than an hour, and index ``column`` where the table is large.

    An index is dropped before files are merged, since merging would also join its partitions into a few large ones, and
    built again after; a table whose index still serves is left as it is. A sample of 64 vectors a partition and 20
    rounds place the centres; LanceDB's defaults, four times the sample and 50 rounds, cost ten times the work.
    """
    rows = table.count_rows()
    indices = [index.name for index in table.list_indices()]
    wants_index = column is not None and rows >= INDEX_FROM_ROWS
    if wants_index and indices:
        state = table.index_stats(indices[0])
        if state.num_unindexed_rows <= _REBUILD_SHARE * state.num_indexed_rows:
            return
    for name in indices:
        table.drop_index(name)
    table.optimize(cleanup_older_than=datetime.timedelta(hours=1))
    if wants_index:
        partitions = num_partitions(rows * vectors_a_row)
        config = IvfFlat(distance_type=distance, num_partitions=partitions, sample_rate=64, max_iterations=20)
        table.create_index(column, config=config)
