"""Filling a model's table: what ``wordframe prepare`` and the indexer do, never a search.

A run that is cut short goes on from its last commit, a few seconds before.
Neighbours: ``_model_table.py`` (what a row is), ``snapshot.py`` (which segments have none), ``library.py`` (the lock).
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pyarrow as pa

from wordframe.library._model_table import Cells, ModelTable, cells_of
from wordframe.library._store import Store
from wordframe.library.snapshot import Snapshot

SEGMENTS_AT_ONCE = 512
COMMIT_SECONDS = 5.0


def fill(
    store: Store,
    table: ModelTable,
    snapshot: Snapshot,
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> int:
    """Add a row for each segment of the snapshot that has none; gives how many were added.

    Args:
        on_progress: called with the segments done and their total, first with 0.
    """
    missing = snapshot.unprepared()
    facts: list[pa.Table] = []
    cells: list[Cells] = []
    done, last_commit = 0, time.monotonic()
    on_progress(done, len(missing))
    while done < len(missing) and not should_stop():
        block = missing[done : done + SEGMENTS_AT_ONCE]
        facts.append(snapshot.key_columns(block))
        cells += cells_of(snapshot.model, snapshot.frames(block))
        done += len(block)
        if time.monotonic() - last_commit > COMMIT_SECONDS:
            table.add(store, pa.concat_tables(facts), cells)
            facts, cells, last_commit = [], [], time.monotonic()
        on_progress(done, len(missing))
    if facts:
        table.add(store, pa.concat_tables(facts), cells)
    return done
