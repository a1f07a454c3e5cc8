"""Segments as a search read them last, in memory: what a process that serves many queries need not read again.

Entries belong to one state of the tables, since a row id means something in one snapshot only; another state empties
the cache. Neighbour: ``prepared.py``, which fills it with the candidates of each search.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wordframe.library.model_table import Made

_FACTS_BYTES = 2000
"""What a row's facts and the objects around its arrays take, about."""


@dataclass(frozen=True)
class SegmentRow:
    """One segment. facts: by column; frames: ``(F, D)`` float16, raw; seconds: ``(F,)``; made: what a model keeps."""

    facts: dict[str, Any]
    frames: NDArray[np.float16]
    seconds: NDArray[np.float32]
    made: Made

    @property
    def nbytes(self) -> int:
        """Memory that it takes, about."""
        return _FACTS_BYTES + self.frames.nbytes + self.seconds.nbytes + sum(x.nbytes for x in self.made.values())


class SegmentCache:
    """The rows used last, by row id, in at most ``max_bytes``."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self.nbytes = max_bytes, 0
        self._rows: OrderedDict[int, SegmentRow] = OrderedDict()
        self._state: Hashable = None

    def __len__(self) -> int:
        return len(self._rows)

    def belongs_to(self, state: Hashable) -> None:
        """Forget everything unless it was read in this state of the tables."""
        if state != self._state:
            self._rows.clear()
            self._state, self.nbytes = state, 0

    def get(self, row_id: int) -> SegmentRow | None:
        """The row, now the one used last; None if it is not here."""
        row = self._rows.get(row_id)
        if row is not None:
            self._rows.move_to_end(row_id)
        return row

    def put(self, row_id: int, row: SegmentRow) -> None:
        """Keep a row, and let go of those used longest ago."""
        before = self._rows.pop(row_id, None)
        self._rows[row_id] = row
        self.nbytes += row.nbytes - (0 if before is None else before.nbytes)
        while self.nbytes > self._max_bytes:
            _, oldest = self._rows.popitem(last=False)
            self.nbytes -= oldest.nbytes
