"""What a model keeps of one state's segments: read where it is stored, made of the frames where it is not.

Neighbours: ``snapshot.py`` asks, ``_model_table.py`` stores; ``_prepared_on_disk.py`` is the same for large libraries.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from wordframe.features import VideoFeatures
from wordframe.library._model_table import KEY_COLUMNS, Cells, ModelTable, cells_of, columns_of, keys_of
from wordframe.library._segment_table import SegmentTable
from wordframe.models import TextVideoModel

MADE_AT_ONCE = 512
Nearest = Callable[[NDArray[np.float32], int, NDArray[np.int64]], list[int]]


@dataclass(frozen=True)
class PreparedRows:
    """Which row of the model's table belongs to which segment.

    segments: row ids ``(N,)``, ascending; rows: row ids in the model's table, -1 where there is none.
    """

    segments: NDArray[np.int64]
    rows: NDArray[np.int64]

    def of(self, row_ids: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """The model's rows of some segments."""
        if not len(self.segments):
            return np.full(len(row_ids), -1, np.int64)
        return self.rows[np.searchsorted(self.segments, np.asarray(row_ids, np.int64))]


class Prepared:
    """What ``model`` keeps of the segments of ``table``. Any number of threads may ask.

    Args:
        stored: the model's table, if there is one; frames: gives the features of some rows.

    Attributes:
        columns: the names of what the model keeps; none for most.
    """

    def __init__(
        self,
        table: SegmentTable,
        stored: ModelTable | None,
        model: TextVideoModel,
        frames: Callable[[Sequence[int]], VideoFeatures],
    ) -> None:
        self._table, self._stored, self._model, self._frames = table, stored, model, frames
        self.columns = columns_of(model)
        self._matching = threading.Lock()

    def missing(self) -> list[int]:
        """Row ids of the segments that nothing is kept for, though the model needs it."""
        if not self.columns:
            return []
        return list(self.rows.segments[self.rows.rows < 0].tolist())

    def cells(self, row_ids: Sequence[int], keys: Sequence[str]) -> list[Cells]:
        """What the model keeps of each segment: stored under the key it has now, else made of its frames."""
        stored = self._stored_cells(row_ids, keys)
        found = [stored.get(key) for key in keys]
        unknown = [row_id for row_id, cells in zip(row_ids, found, strict=True) if cells is None]
        made = iter(self._made(unknown))
        return [next(made) if cells is None else cells for cells in found]

    def _stored_cells(self, row_ids: Sequence[int], keys: Sequence[str]) -> dict[str, Cells]:
        if self._stored is None:
            return {}
        places = self.rows.of(row_ids)
        return self._stored.take(places[places >= 0].tolist())

    def _made(self, row_ids: Sequence[int]) -> list[Cells]:
        made: list[Cells] = []
        for start in range(0, len(row_ids), MADE_AT_ONCE):
            made += cells_of(self._model, self._frames(row_ids[start : start + MADE_AT_ONCE]))
        return made

    def nearest(
        self, vector: NDArray[np.float32], size: int, allowed: NDArray[np.int64] | None, by_centroids: Nearest
    ) -> list[int]:
        """Of a model with one vector a video: row ids of the ``size`` segments whose vectors are nearest.

        Where it keeps none, the best ``size`` of these by their centroids come in addition.

        Args:
            allowed: ids of the rows that may be given; None for all.
        """
        rows = self.rows.segments if allowed is None else allowed
        places = self.rows.of(rows)
        without = rows[places < 0]
        found = by_centroids(vector, size, without) if len(without) else []
        if self._stored is not None and len(without) < len(rows):
            order = np.argsort(places)
            nearest = self._stored.nearest(vector, size, places[places >= 0])
            found += rows[order[np.searchsorted(places, nearest, sorter=order)]].tolist()
        return found

    @property
    def rows(self) -> PreparedRows:
        """For each segment the row of the model's table that is its own."""
        with self._matching:  # it takes memory for each segment: one thread does it, the others wait
            return self._matched

    @cached_property
    def _matched(self) -> PreparedRows:
        """Once, since neither table changes."""
        found = self._table.select(None, KEY_COLUMNS, row_ids=True)
        segments = found["_rowid"].to_numpy().astype(np.int64)
        rows = np.full(len(segments), -1, np.int64)
        if self._stored is not None:
            ids, known = self._stored.keys()
            index = pc.fill_null(pc.index_in(keys_of(found), value_set=known), -1).to_numpy(zero_copy_only=False)
            rows[index >= 0] = ids[index[index >= 0]]
        order = np.argsort(segments)
        return PreparedRows(segments[order], rows[order])
