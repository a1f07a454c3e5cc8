"""Makes what a model keeps, block by block of segments: the same rows in whichever process does it.

    missing segments ──► blocks ──► rows, here or beside the model's table ──► ``fill`` commits

A run that is cut short goes on from its last commit, a few seconds before. Neighbours: ``_known_models.py`` calls
``fill``, ``_executor.py`` hands out the blocks, ``_model_table.py`` is the table.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from wordframe.library._executor import LocalExecutor
from wordframe.library._model_table import KEY_COLUMNS, ModelTable, cells_of, rows_of
from wordframe.library._place import place_of
from wordframe.library._row_reader import RowReader
from wordframe.library._segment_table import SEGMENTS, SegmentTable
from wordframe.library._store import Store, connect
from wordframe.models import TextVideoModel

if TYPE_CHECKING:
    from wordframe.library._executor import Executor
    from wordframe.library._fragments import TablePlace
    from wordframe.library.snapshot import Snapshot

SEGMENTS_AT_ONCE = 512
COMMIT_SECONDS = 5.0
_FEW_BLOCKS = 4
"""So many are made here before others have begun."""


@dataclass(frozen=True)
class Block:
    """Some segments, by their rows in the state that is prepared."""

    key: str
    row_ids: list[int]


@dataclass(frozen=True)
class Made:
    """Blocks with all their rows: as cells, or as fragments that lie beside the model's table and wait for a commit.

    keys: of the blocks; count: of their segments.
    """

    keys: list[str]
    count: int
    rows: pa.Table | None = None
    fragments: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Preparing:
    """What all blocks of a run are made of and for. Travels to other machines.

    Attributes:
        where, storage_options, version, dimension: of the segments, at the state that is prepared.
        table, schema: of the model, for whoever writes rows beside its table.
    """

    model: TextVideoModel
    where: str
    storage_options: Mapping[str, str] = field(repr=False)
    version: int
    dimension: int
    table: TablePlace
    schema: pa.Schema


def prepare_blocks(
    blocks: Sequence[Block], asked: Preparing, should_stop: Callable[[], bool]
) -> Generator[Made, None, None]:
    """The rows of each block, in order; an end that was asked for comes between two."""
    place = place_of(asked.where, asked.storage_options)
    table = connect(place).open_table(SEGMENTS)
    table.checkout(asked.version)
    segments = SegmentTable(place, table)
    frames = RowReader(segments, asked.dimension).frames
    for block in blocks:
        if should_stop():
            return
        facts = segments.take(block.row_ids, ["video_id", *KEY_COLUMNS])
        rows = rows_of(facts, cells_of(asked.model, frames(block.row_ids)), asked.schema)
        yield Made([block.key], len(block.row_ids), rows)


def fill(
    store: Store,
    table: ModelTable,
    snapshot: Snapshot,
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
    executor: Executor | None = None,
) -> int:
    """Add a row for each segment of the snapshot that has none, and tidy up; gives how many were added.

    Args:
        on_progress: called with the segments done and their total, first with 0.
        executor: makes the rows, of more than a few blocks; default: this process.
    """
    missing = snapshot.unprepared()
    starts = range(0, len(missing), SEGMENTS_AT_ONCE)
    blocks = [Block(str(start), missing[start : start + SEGMENTS_AT_ONCE]) for start in starts]
    waiting: list[Made] = []
    done, last_commit = 0, time.monotonic()
    on_progress(done, len(missing))
    asked = Preparing(
        snapshot.model,
        str(snapshot.place),
        snapshot.place.storage_options,
        snapshot.version,
        snapshot.manifest.dimension,
        table.place_of(store),
        table.schema,
    )
    executor = executor or LocalExecutor()
    maker = LocalExecutor() if len(blocks) <= _FEW_BLOCKS else executor
    if maker.writes_fragments:
        store.drop_unfinished(asked.table)
    with contextlib.closing(maker.prepare(blocks, asked, should_stop)) as all_made:
        for made in all_made:
            waiting.append(made)
            done += made.count
            if time.monotonic() - last_commit > COMMIT_SECONDS:
                table.add_made(store, waiting)
                waiting, last_commit = [], time.monotonic()
            on_progress(done, len(missing))
    table.add_made(store, waiting)
    table.tidy(store)
    if snapshot.disk_index is not None and done == len(missing):
        table.keep_on_disk(store, snapshot.num_groups, executor.make_index)
    return done
