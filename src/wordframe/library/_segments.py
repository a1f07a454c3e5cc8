"""Segments as they are read from a library's tables: what a search shows of one, what it scores, and rows to keep.

Neighbours: ``snapshot.py`` reads and keeps them; ``_rows.py`` is how they are written.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wordframe.features import VideoFeatures
from wordframe.library._model_table import Cells

FACT_COLUMNS = (
    "segment_id",
    "video_id",
    "path_bytes",
    "duration_seconds",
    "start_seconds",
    "end_seconds",
    "segment_index",
    "num_segments",
    "content_hash",
)
_ROW_OVERHEAD_BYTES = 4000
"""What a row's facts, its direction and the objects around its arrays take, about."""
_TINY = 1e-12


@dataclass(frozen=True)
class SegmentFacts:
    """What a search shows of a segment. path, duration_seconds, num_segments, content_hash: of its video."""

    segment_id: str
    video_id: str
    path: str
    duration_seconds: float
    start_seconds: float
    end_seconds: float
    segment_index: int
    num_segments: int
    content_hash: str

    @property
    def content(self) -> str:
        """What copies of a video share: the hash, or the video's id where none was given."""
        return self.content_hash or self.video_id


@dataclass(frozen=True)
class SegmentRow:
    """One segment as it is read. frames: ``(F, D)`` float16, raw; seconds: ``(F,)``; cells: what the model keeps."""

    facts: SegmentFacts
    frames: NDArray[np.float16]
    seconds: NDArray[np.float32]
    cells: Cells

    @cached_property
    def direction(self) -> NDArray[np.float32]:
        """``(D,)``, of length 1: where the mean of the normalised frames points to."""
        frames = self.frames.astype(np.float32)
        frames /= np.maximum(np.linalg.norm(frames, axis=1, keepdims=True), _TINY)
        mean = frames.sum(axis=0)
        direction: NDArray[np.float32] = mean / max(float(np.linalg.norm(mean)), _TINY)
        return direction

    @property
    def nbytes(self) -> int:
        """Memory that it takes, about."""
        cells = sum(cell.nbytes for cell in self.cells.values())
        return _ROW_OVERHEAD_BYTES + self.frames.nbytes + self.seconds.nbytes + cells


class KeptRows:
    """Rows that were asked for last, by their ids, within ``most_bytes``; for any number of threads.

    A search asks for hundreds, so this is a plain dictionary in order of use: ``cachetools``, which calls several
    methods for each row, takes a millisecond of the nine that a search takes.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most, self._bytes = most_bytes, 0
        self._rows: OrderedDict[int, SegmentRow] = OrderedDict()
        self._asking = threading.Lock()

    def get(self, row_ids: Collection[int]) -> list[SegmentRow | None]:
        """Each row, or None where it is not kept."""
        with self._asking:
            rows = [self._rows.get(row_id) for row_id in row_ids]
            for row_id, row in zip(row_ids, rows, strict=True):
                if row is not None:
                    self._rows.move_to_end(row_id)
        return rows

    def keep(self, row_ids: Sequence[int], rows: Sequence[SegmentRow]) -> None:
        """Keep rows in the place of those that were asked for least lately."""
        with self._asking:
            for row_id, row in zip(row_ids, rows, strict=True):
                if row.nbytes > self._most:
                    continue
                before = self._rows.pop(row_id, None)
                self._bytes += row.nbytes - (0 if before is None else before.nbytes)
                self._rows[row_id] = row
            while self._bytes > self._most:
                self._bytes -= self._rows.popitem(last=False)[1].nbytes


@dataclass(frozen=True)
class Segments:
    """Some segments as a model scores them.

    video: ``V`` videos with ``seconds``; statistics: what its similarity keeps of each, None where it keeps nothing.
    """

    facts: list[SegmentFacts]
    video: VideoFeatures
    statistics: list[NDArray[np.float32]] | None


def facts_of(table: pa.Table) -> list[SegmentFacts]:
    """From rows with ``FACT_COLUMNS``; the path from its bytes, which a file name may need."""
    cells = {name: table[name].to_pylist() for name in FACT_COLUMNS}
    cells["path_bytes"] = list(map(os.fsdecode, cells["path_bytes"]))
    return [SegmentFacts(*row) for row in zip(*cells.values(), strict=True)]


def video_of(rows: Sequence[SegmentRow], dimension: int) -> VideoFeatures:
    """The raw frames of rows, padded to the longest; they stand in for contextual ones, too."""
    seconds = [row.seconds for row in rows]
    return VideoFeatures.from_ragged([row.frames for row in rows], seconds=seconds, dimension=dimension)
