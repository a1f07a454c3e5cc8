"""What a model keeps of the segments of a large library: looked up by keys on disk, where small ones match all keys.

Nothing here is as long as the library. Its table says up to which group of segments it holds all (``keep_on_disk``), so
the keys of those that came in since are the only ones that a state looks up; what a model with one vector a video finds
comes from an index on disk, and from keys to segments by an index over ids.
Neighbours: ``_prepared.py`` is the same for small libraries; ``snapshot.py`` asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from wordframe.library._lance_index import widened
from wordframe.library._model_table import KEY_COLUMNS, Cells, ModelTable, keys_of
from wordframe.library._prepared import Nearest, Prepared
from wordframe.library._segment_table import ids_clause

_FEW = 2_000
"""So many segments that pass a filter are looked for by their keys; of more the nearest of all are looked through."""
_LOOKED_UP = 20_000
"""Of more keys than that all are read and compared."""


class PreparedOnDisk(Prepared):
    """As ``Prepared``, of a table that ``is_on_disk``."""

    _stored: ModelTable

    def missing(self) -> list[int]:
        """See ``Prepared``."""
        with self._matching:
            return self._missing

    @cached_property
    def _missing(self) -> list[int]:
        """Once, since neither table changes. After a loss of power either may have gone back; then too many are held
        to be there, and all are looked at."""
        missing = self._missing_from(self._stored.complete_groups)
        is_complete = self._stored.count() >= self._table.count() - len(missing)
        return missing if is_complete else self._missing_from(0)

    def _missing_from(self, first: int) -> list[int]:
        unknown = [number for number in self._table.groups() if number >= first]
        found = self._table.select_in_groups(unknown, "true", KEY_COLUMNS)
        if not len(found):
            return []
        keys = keys_of(found)
        known = self._stored.keys()[1] if len(keys) > _LOOKED_UP else self._stored.known(keys.to_pylist())
        rows: list[int] = found["_rowid"].filter(pc.invert(pc.is_in(keys, value_set=known))).to_pylist()
        return rows

    def _stored_cells(self, row_ids: Sequence[int], keys: Sequence[str]) -> dict[str, Cells]:
        return self._stored.by_key(keys)

    def found(self, vector: NDArray[np.float32], size: int, where: str | None, by_centroids: Nearest) -> list[int]:
        """As ``nearest``, with an SQL condition in the place of rows; few more rows are read than are found."""
        missing = self.missing()
        if missing and where is not None:
            missing = np.intersect1d(missing, self._table.row_ids(where)).tolist()
        found = by_centroids(vector, size, np.array(missing, np.int64)) if missing else []
        total = self._table.count()
        passing = total if where is None else self._table.count(where)
        if passing <= _FEW:
            rows = self._rows_by_key(where)
            return found + [rows[key] for key in self._stored.nearest_keys(vector, size, list(rows))]

        def look(limit: int) -> list[int]:
            keys = self._stored.nearest_keys(vector, limit)
            ids = ids_clause("segment_id", [key.split(" ", 1)[0] for key in keys])
            rows = self._rows_by_key(ids if where is None else f"{ids} AND ({where})")
            return [rows[key] for key in keys if key in rows]  # no segment has a stale key

        return found + widened(look, size, passing / total, self._stored.count())

    def _rows_by_key(self, where: str | None) -> dict[str, int]:
        found = self._table.select(where, KEY_COLUMNS, row_ids=True)
        return dict(zip(keys_of(found).to_pylist(), found["_rowid"].to_pylist(), strict=True))
