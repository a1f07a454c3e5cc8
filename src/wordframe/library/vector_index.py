"""The index over a table's vectors: partitions around centres, the vectors in them as they are (LanceDB's IVF_FLAT).

A query looks into the partitions nearest to it and compares exactly there, so all that can be lost is a vector in a
partition not looked into; ``benchmarks/two_stage.py`` measures how much. Rows added since the index was built are
scanned beside it until it takes them in. Small tables have none: scanning them is exact and as quick.
"""

from __future__ import annotations

from typing import Any

from lancedb.index import IvfFlat

INDEX_FROM_ROWS = 5000
PROBES = 20
"""Partitions a query looks into at least; more if a filter leaves too few rows in them."""
_OUTGROWN = 4
"""So many times the rows it was built for, an index has too few partitions and is built anew."""


def keep_index(table: Any, column: str, *, distance: str, vectors_a_row: int = 1) -> None:
    """Build the index when a table has grown large, or has outgrown the one it has.

    There are as many partitions as the square root of the number of vectors. A sample of 64 vectors a partition and 20
    rounds place the centres; LanceDB's defaults, four times the sample and 50 rounds, cost ten times the work.
    """
    rows = table.count_rows()
    built = {index.name: int(index.name.rpartition("_")[2]) for index in table.list_indices()}
    if rows < INDEX_FROM_ROWS or any(rows < _OUTGROWN * before for before in built.values()):
        return
    partitions = max(1, round((rows * vectors_a_row) ** 0.5))
    config = IvfFlat(distance_type=distance, num_partitions=partitions, sample_rate=64, max_iterations=20)
    table.create_index(column, config=config, name=f"{column}_{rows}")
    for name in built:
        table.drop_index(name)
