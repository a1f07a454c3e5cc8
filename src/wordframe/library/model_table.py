"""The table that a library keeps for one model: one row a segment, made of the segment's frames.

A row holds a ``vector (D,)`` float32 for a model with one vector a video, with its ``code`` for the vector index; else
``contextual`` frames ``(F, D)`` float16 where there is a temporal head, and the similarity's ``numbers`` float32 where
it keeps some. It carries the key of what it was made of: segment, content of the file, number of frames. A row whose
key no segment has any more is stale: never used, and removed by the next indexing or preparing.
Neighbours: ``store.py`` opens the tables, ``prepared.py`` fills and reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from wordframe.library.tidying import tidy_table
from wordframe.library.vector_index import VectorIndex, to_codes

if TYPE_CHECKING:
    from wordframe.library.store import Store

_FORMAT = 1  # counts up when the same segment and model would give another cell
_DELETED_AT_ONCE = 1000

Told = Callable[[str], AbstractContextManager[None]]
Made = dict[str, NDArray[Any]]
"""What was made of a segment, flat, by column."""
_KEYS = [("segment_id", pa.string()), ("video_id", pa.string()), ("key", pa.string())]
_BINARY = {"contextual": np.float16, "numbers": np.float32}


def model_schema(columns: Sequence[str], dimension: int) -> pa.Schema:
    """Rows with some of the columns ``vector``, ``contextual`` and ``numbers``; the latter two as one binary cell."""
    types = {"vector": pa.list_(pa.float32(), dimension)} | dict.fromkeys(_BINARY, pa.large_binary())
    code = [("code", pa.binary())] if "vector" in columns else []
    return pa.schema([*_KEYS, *((name, types[name]) for name in columns), *code])


def keys_of(segments: pa.Table) -> pa.Array:
    """The key of each row from its ``segment_id``, ``content_hash`` and ``num_frames``.

    >>> keys_of(pa.table({"segment_id": ["a-00000"], "content_hash": ["ff"], "num_frames": [8]})).to_pylist()
    ['a-00000 ff 8 1']
    """
    frames = pc.cast(segments["num_frames"], pa.string())
    keys = pc.binary_join_element_wise(segments["segment_id"], segments["content_hash"], frames, str(_FORMAT), " ")
    return keys.combine_chunks()


class ModelTable:
    """Rows of one model. ``table`` is LanceDB's; ``told`` turns its errors into one line."""

    def __init__(self, table: Any, told: Told) -> None:
        self._table, self._told = table, told
        self._columns = [name for name in table.schema.names if name == "vector" or name in _BINARY]
        if "vector" in self._columns:
            self._index = VectorIndex(table, "code", table.schema.field("vector").type.list_size)

    def refresh(self) -> int:
        """See what was committed since; gives the number of the snapshot."""
        with self._told("read"):
            self._table.checkout_latest()
            return int(self._table.version)

    def keys(self) -> tuple[NDArray[np.int64], pa.Array]:
        """Row ids and keys of all rows."""
        with self._told("read"):
            found = self._table.search().select(["key"]).with_row_id(True).to_arrow()
        return found["_rowid"].to_numpy().astype(np.int64), found["key"].combine_chunks()

    def take(self, row_ids: Sequence[int]) -> dict[str, Made]:
        """What some rows hold, by key."""
        if not row_ids:
            return {}
        with self._told("read"):
            found = self._table.take_row_ids(list(row_ids)).select(["key", *self._columns]).to_arrow()
        columns = [_arrays(name, found[name]) for name in self._columns]
        made = (dict(zip(self._columns, cells, strict=True)) for cells in zip(*columns, strict=True))
        return dict(zip(found["key"].to_pylist(), made, strict=True))

    def nearest(self, vector: NDArray[np.float32], limit: int, where: str | None) -> list[int]:
        """Row ids of the ``limit`` vectors nearest to ``vector (D,)``, best first."""
        with self._told("read"):
            return self._index.nearest(vector, limit, where)

    def add(self, facts: Sequence[dict[str, Any]], keys: Sequence[str], made: Sequence[Made]) -> None:
        """Add rows, in one commit; ``facts`` name each one's segment and video."""
        rows = [
            {"segment_id": fact["segment_id"], "video_id": fact["video_id"], "key": key}
            | {name: cell.astype(_BINARY[name]).tobytes() if name in _BINARY else cell for name, cell in one.items()}
            | ({"code": to_codes(one["vector"]).tobytes()} if "vector" in one else {})
            for fact, key, one in zip(facts, keys, made, strict=True)
        ]
        with self._told("write"):
            self._table.add(pa.Table.from_pylist(rows, schema=self._table.schema))

    def drop_stale(self, valid: pa.Array) -> None:
        """Remove the rows whose key is not among ``valid``."""
        _, keys = self.keys()
        stale = keys.filter(pc.invert(pc.is_in(keys, value_set=valid))).to_pylist()
        with self._told("write"):
            for start in range(0, len(stale), _DELETED_AT_ONCE):
                listed = ", ".join(f"'{key}'" for key in stale[start : start + _DELETED_AT_ONCE])
                self._table.delete(f"key IN ({listed})")

    def tidy(self) -> None:
        """Merge small files, and drop old versions."""
        with self._told("write"):
            tidy_table(self._table)


def _arrays(name: str, column: pa.ChunkedArray) -> list[NDArray[Any]]:
    if name in _BINARY:
        return [np.frombuffer(cell, _BINARY[name]) for cell in column.to_pylist()]
    return list(column.combine_chunks().flatten().to_numpy().reshape(len(column), -1))


def forget_stale(store: Store) -> None:
    """Remove from every model's table what belongs to contents that the library no longer holds."""
    tables = store.model_tables()
    if tables:
        store.refresh()
        _, valid = store.segment_keys()
        for table in tables:
            table.drop_stale(valid)
