"""Reads the segments of one state, row by row, and keeps those that were read last.

Neighbours: ``snapshot.py`` asks, ``_segments.py`` is what comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from wordframe.features import VideoFeatures
from wordframe.library._model_table import KEY_COLUMNS, Cells, keys_of
from wordframe.library._segment_table import SegmentTable, ids_clause
from wordframe.library._segments import FACT_COLUMNS, KeptRows, SegmentFacts, SegmentRow, facts_of, video_of

CACHE_MB = 256
"""For candidates of earlier searches: some 17,000 segments of 12 frames at D = 512."""
CACHE_MB_OF_LARGE = 128
"""In a large library few segments are candidates twice, and its index wants memory, too."""
MOST_KEPT_AT_ONCE = 1024
CellsOf: TypeAlias = Callable[[Sequence[int], Sequence[str]], list[Cells]]


class RowReader:
    """The rows of ``table``, whose frames have ``dimension`` numbers. Any number of threads may ask."""

    def __init__(self, table: SegmentTable, dimension: int, *, is_large: bool = False) -> None:
        self._table, self._dimension = table, dimension
        self._kept = KeptRows((CACHE_MB_OF_LARGE if is_large else CACHE_MB) * 2**20)

    def facts(self, row_ids: Sequence[int]) -> list[SegmentFacts]:
        """What a search shows of some segments, from memory where they were read before."""
        kept = self._kept.get(row_ids)
        missing = [row_id for row_id, row in zip(row_ids, kept, strict=True) if row is None]
        rest = iter(facts_of(self._table.take(missing, FACT_COLUMNS)) if missing else ())
        return [next(rest) if row is None else row.facts for row in kept]

    def rows(self, row_ids: Sequence[int], cells_of: CellsOf | None = None) -> list[SegmentRow]:
        """Rows from memory or the disk; what a whole scan reads passes memory by.

        Args:
            cells_of: gives what a model keeps of some rows, by their keys, if that is wanted.
        """
        kept = self._kept.get(row_ids)
        if cells_of is not None:
            kept = [row if row is not None and row.cells else None for row in kept]
        missing = [row_id for row_id, row in zip(row_ids, kept, strict=True) if row is None]
        fresh = self._read(missing, cells_of)
        if len(row_ids) <= MOST_KEPT_AT_ONCE:
            self._kept.keep(missing, fresh)
        rest = iter(fresh)
        return [next(rest) if row is None else row for row in kept]

    def frames(self, row_ids: Sequence[int]) -> VideoFeatures:
        """The raw frames of some rows, with ``seconds``; they stand in for contextual ones, too."""
        return video_of(self.rows(row_ids), self._dimension)

    def _read(self, row_ids: Sequence[int], cells_of: CellsOf | None) -> list[SegmentRow]:
        if not row_ids:
            return []
        names = dict.fromkeys([*FACT_COLUMNS, *(() if cells_of is None else KEY_COLUMNS)])
        table = self._table.take(row_ids, [*names, "frames", "seconds"])
        cells = [Cells()] * len(table) if cells_of is None else cells_of(row_ids, keys_of(table).to_pylist())
        return self._rows_of(table, cells)

    def _rows_of(self, table: pa.Table, cells: Sequence[Cells]) -> list[SegmentRow]:
        frames = (np.frombuffer(cell, np.float16) for cell in table["frames"].to_pylist())
        shaped = [cell.reshape(-1, self._dimension) for cell in frames]
        seconds = [np.array(cell, np.float32) for cell in table["seconds"].to_pylist()]
        return [SegmentRow(*parts) for parts in zip(facts_of(table), shaped, seconds, cells, strict=True)]

    def around(self, row_ids: Sequence[int], reach: int) -> dict[int, list[SegmentRow]]:
        """Each segment with up to ``reach`` before and behind it in its video, in the order of time.

        Videos are written whole, so neighbours in time are nearly always neighbours on the disk: these are read, and
        only where they turn out not to be all (a video that was moved, say) is the table asked for them.
        """
        facts = self.facts(row_ids)
        near = self._by_id(
            {row for row_id, fact in zip(row_ids, facts, strict=True) for row in _beside(row_id, fact, reach)}
        )
        places = [_places_around(fact, reach) for fact in facts]
        rows = {(row.facts.video_id, row.facts.segment_index): row for row in near.values()}
        scattered = {place for several in places for place in several if place not in rows}
        if scattered:
            others = self._by_id(self._rows_at(scattered))
            rows |= {(row.facts.video_id, row.facts.segment_index): row for row in others.values()}
        return {
            row_id: [rows[place] for place in several if place in rows]
            for row_id, several in zip(row_ids, places, strict=True)
        }

    def _rows_at(self, places: Collection[tuple[str, int]]) -> list[int]:
        clause = ids_clause("video_id", sorted({video_id for video_id, _ in places}))
        found = self._table.select(clause, ["video_id", "segment_index"], row_ids=True).to_pylist()
        return [row["_rowid"] for row in found if (row["video_id"], row["segment_index"]) in places]

    def _by_id(self, row_ids: Collection[int]) -> dict[int, SegmentRow]:
        """Those of some rows that there are, without what the model keeps: from memory, the rest in one read."""
        found = {row_id: row for row_id, row in zip(row_ids, self._kept.get(row_ids), strict=True) if row is not None}
        if len(found) == len(row_ids):
            return found
        read, table = self._table.take_existing(set(row_ids) - found.keys(), [*FACT_COLUMNS, "frames", "seconds"])
        fresh = self._rows_of(table, [Cells()] * len(table))
        self._kept.keep(read, fresh)
        return found | dict(zip(read, fresh, strict=True))


def _beside(row_id: int, fact: SegmentFacts, reach: int) -> range:
    """Where a segment and its neighbours lie if the video was written whole."""
    first, last = min(reach, fact.segment_index), min(reach, fact.num_segments - 1 - fact.segment_index)
    return range(max(0, row_id - first), row_id + last + 1)


def _places_around(fact: SegmentFacts, reach: int) -> list[tuple[str, int]]:
    """``(video_id, segment_index)`` of a segment and its neighbours."""
    first, stop = max(0, fact.segment_index - reach), min(fact.num_segments, fact.segment_index + reach + 1)
    return [(fact.video_id, index) for index in range(first, stop)]
