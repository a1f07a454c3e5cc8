"""The table that a library keeps for one model: one row a segment, made of the segment's frames.

A model with one vector a video is searched by ``vector (D,)`` float32, with its ``code`` for the vector index. One with
a temporal head scores ``contextual`` frames ``(F, D)`` float16; a similarity may keep ``statistics`` float32 of each
segment's frames that take long to make (TC-MGC). Any other model works on the stored frames and has no table. A row
carries the key of what it was made of: segment, content of the file, number of frames. One whose key no segment has any
more is stale: never used, and removed by the next indexing or preparing.

``wordframe prepare`` and the indexer fill it (``_preparing.py``), never a search.
Neighbours: ``_store.py`` opens the tables, ``snapshot.py`` reads them and knows which segments have no row.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from wordframe.features import VideoFeatures
from wordframe.library._lance_index import (
    LanceIndex,
    MakeParts,
    OpenIndex,
    index_vectors,
    make_look_ups,
    note_groups,
    noted_groups,
    takes,
    usual_effort,
)
from wordframe.library._lineage import lineage_of
from wordframe.library._place import Place
from wordframe.library._segment_table import ids_clause, library_errors
from wordframe.library._store import MODEL_PREFIX, Store
from wordframe.library._vector_index import VectorIndex, to_codes
from wordframe.models import TextVideoModel, contextualize, video_statistics, video_vectors

if TYPE_CHECKING:
    from wordframe.library._fragments import TablePlace
    from wordframe.library._preparing import Made

_ROW_FORMAT = 1  # counts up when the same segment and model would give another cell
_DELETED_AT_ONCE = 1000
Cells = dict[str, NDArray[Any]]
"""What is kept of a segment for a model, flat, by column."""
KEY_COLUMNS = ("segment_id", "content_hash", "num_frames")
_KEYS = [("segment_id", pa.string()), ("video_id", pa.string()), ("key", pa.string())]
_BINARY = {"contextual": np.float16, "statistics": np.float32}


def columns_of(model: TextVideoModel) -> list[str]:
    """What is kept for a model: some of ``vector``, ``contextual`` and ``statistics``, or nothing."""
    if model.one_vector:
        return ["vector"]
    contextual = [] if model.temporal is None else ["contextual"]
    return contextual + ["statistics"] * model.similarity.keeps_statistics


def table_name(model: TextVideoModel) -> str:
    """The name of a model's table; other weights give another."""
    return MODEL_PREFIX + "-".join([model.fingerprint, *columns_of(model)])


def cells_of(model: TextVideoModel, raw: VideoFeatures) -> list[Cells]:
    """What is kept of each of some segments, from their stored frames ``(V, F, D)``.

    A search makes it of segments that have no row yet, with the same result: contextual frames are rounded to float16
    in both ways, and statistics are made of the rounded ones.
    """
    video = contextualize(model, raw)
    columns: dict[str, Sequence[NDArray[Any]]] = {}
    wanted = columns_of(model)
    if "vector" in wanted:
        columns["vector"] = list(video_vectors(model, video).numpy())
    if "contextual" in wanted:
        half, mask = video.contextual.half(), video.frame_mask.numpy()
        columns["contextual"] = [frames[real].ravel() for frames, real in zip(half.numpy(), mask, strict=True)]
        video = video.with_contextual(half.float())
    if "statistics" in wanted:
        columns["statistics"] = video_statistics(model, video)
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def model_schema(columns: Sequence[str], dimension: int) -> pa.Schema:
    """Rows with some of the columns ``vector``, ``contextual`` and ``statistics``; those two as binary cells."""
    types = {"vector": pa.list_(pa.float32(), dimension)} | dict.fromkeys(_BINARY, pa.large_binary())
    code = [("code", pa.binary())] if "vector" in columns else []
    return pa.schema([*_KEYS, *((name, types[name]) for name in columns), *code])


def keys_of(segments: pa.Table) -> pa.Array:
    """The key of each row from its ``KEY_COLUMNS``.

    >>> keys_of(pa.table({"segment_id": ["a-00000"], "content_hash": ["ff"], "num_frames": [8]})).to_pylist()
    ['a-00000 ff 8 1']
    """
    frames = pc.cast(segments["num_frames"], pa.string())
    keys = pc.binary_join_element_wise(segments["segment_id"], segments["content_hash"], frames, str(_ROW_FORMAT), " ")
    return keys.combine_chunks()


def rows_of(segments: pa.Table, cells: Sequence[Cells], schema: pa.Schema) -> pa.Table:
    """Rows for a model's table, of segments (``KEY_COLUMNS`` and ``video_id``) and what is kept of each."""
    keys = keys_of(segments).to_pylist()
    rows = [
        {"segment_id": fact["segment_id"], "video_id": fact["video_id"], "key": key}
        | {name: cell.astype(_BINARY[name]).tobytes() if name in _BINARY else cell for name, cell in one.items()}
        | ({"code": to_codes(one["vector"]).tobytes()} if "vector" in one else {})
        for fact, key, one in zip(segments.to_pylist(), keys, cells, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=schema)


class ModelTable:
    """Rows of one model, at the version that the handle ``table`` met.

    Args:
        before: the table at an earlier version, whose index is used again if it is the same one.
        open_index: gives the index on disk of a large library's.
    """

    def __init__(
        self, place: Place, table: Any, before: ModelTable | None = None, open_index: OpenIndex = LanceIndex
    ) -> None:
        self._place, self._table = place, table
        self.version, self.lineage = int(table.version), lineage_of(table.schema)
        self._columns = [name for name in table.schema.names if name == "vector" or name in _BINARY]
        self._num_groups = noted_groups(table, "key")
        if "vector" in self._columns:
            dimension = table.schema.field("vector").type.list_size
            earlier = None if before is None or before.lineage != self.lineage else before._index
            codes_before = earlier if isinstance(earlier, VectorIndex) else None
            self._index: VectorIndex | LanceIndex = VectorIndex(table, "code", dimension, codes_before)
            if self.is_on_disk:
                self._index = open_index(table, usual_effort(table), "vector")

    @property
    def schema(self) -> pa.Schema:
        """Its columns."""
        return self._table.schema

    def _errors(self, doing: str) -> contextlib.AbstractContextManager[None]:
        return library_errors(self._place, doing, self._table)

    @property
    def is_on_disk(self) -> bool:
        """Whether it is that of a large library: found by indexes on disk, and complete up to ``complete_groups``."""
        return self._num_groups is not None

    @property
    def complete_groups(self) -> int:
        """What each segment needs that is in a file group of a lower number was here when the table was last filled."""
        return self._num_groups or 0

    def count(self) -> int:
        """How many rows there are."""
        with self._errors("read"):
            return int(self._table.count_rows())

    def keys(self) -> tuple[NDArray[np.int64], pa.Array]:
        """Row ids and keys of all rows."""
        with self._errors("read"):
            found = self._table.search().select(["key"]).with_row_id(True).to_arrow()
        return found["_rowid"].to_numpy().astype(np.int64), found["key"].combine_chunks()

    def known(self, keys: Sequence[str]) -> pa.Array:
        """Those of some keys that there is a row of."""
        with self._errors("read"):
            return (
                self._table.search().where(ids_clause("key", keys)).select(["key"]).to_arrow()["key"].combine_chunks()
            )

    def take(self, row_ids: Sequence[int]) -> dict[str, Cells]:
        """What some rows hold, by key."""
        if not row_ids:
            return {}
        with self._errors("read"):
            return self._cells(self._table.take_row_ids(list(row_ids)).select(["key", *self._columns]).to_arrow())

    def by_key(self, keys: Sequence[str]) -> dict[str, Cells]:
        """What is held under some keys, as far as there are rows of them."""
        with self._errors("read"):
            found = self._table.search().where(ids_clause("key", keys)).select(["key", *self._columns]).to_arrow()
            return self._cells(found)

    def _cells(self, found: pa.Table) -> dict[str, Cells]:
        columns = [_arrays(name, found[name]) for name in self._columns]
        cells = (dict(zip(self._columns, row, strict=True)) for row in zip(*columns, strict=True))
        return dict(zip(found["key"].to_pylist(), cells, strict=True))

    def nearest(self, vector: NDArray[np.float32], limit: int, among: NDArray[np.int64] | None) -> list[int]:
        """Row ids of the ``limit`` vectors nearest to ``vector (D,)``, best first; ``among`` these rows, or all."""
        assert isinstance(self._index, VectorIndex), "of a large library's table keys are asked for"
        with self._errors("read"):
            return self._index.nearest(vector, limit, among)

    def nearest_keys(self, vector: NDArray[np.float32], limit: int, among: Sequence[str] | None = None) -> list[str]:
        """Keys of the ``limit`` vectors nearest to ``vector (D,)``, best first; ``among`` these keys, or all."""
        assert isinstance(self._index, LanceIndex), "of a small library's table rows are asked for"
        where = None if among is None else ids_clause("key", among)
        with self._errors("read"):
            rows = self._index.nearest(vector, limit, where)
            if not rows:
                return []
            found = self._table.take_row_ids(rows).select(["key"]).with_row_id().to_arrow()
        keys = dict(zip(found["_rowid"].to_pylist(), found["key"].to_pylist(), strict=True))
        return [keys[row] for row in rows]

    # Writing ---------------------------------------------------------------------------------------------------------

    def place_of(self, store: Store) -> TablePlace:
        """Where it lies, for whoever writes rows beside it."""
        return store.place_of_table(self._table)

    def add_made(self, store: Store, made: Sequence[Made]) -> None:
        """Add the rows of blocks, in one commit; or in two, where they come as cells and as fragments."""
        rows = [block.rows for block in made if block.rows is not None]
        if rows:
            with store.commit(self._table):
                self._table.add(pa.concat_tables(rows))
        fragments = [fragment for block in made for fragment in block.fragments]
        if fragments:
            store.append_fragments(self._table, fragments)

    def drop_stale(self, store: Store, valid: pa.Array) -> None:
        """Remove the rows whose key is not among ``valid``."""
        _, keys = self.keys()
        stale = keys.filter(pc.invert(pc.is_in(keys, value_set=valid))).to_pylist()
        for start in range(0, len(stale), _DELETED_AT_ONCE):
            with store.commit(self._table):
                listed = ", ".join(f"'{key}'" for key in stale[start : start + _DELETED_AT_ONCE])
                self._table.delete(f"key IN ({listed})")

    def tidy(self, store: Store) -> None:
        """Merge small files, and drop old versions."""
        store.tidy_table(self._table, is_indexed=self.is_on_disk and "vector" in self._columns)

    def keep_on_disk(self, store: Store, num_groups: int, make_parts: MakeParts) -> None:
        """Make the indexes of a large library, as far as they are missing, and note what is here. Vectors that no such
        index takes stay in memory.

        Args:
            num_groups: of the segments' table; of each segment in one of them there is a row.
            make_parts: who makes the parts of an index over vectors.
        """
        if "vector" in self._columns and not takes(self._table.schema.field("vector").type.list_size):
            return
        with store.commit(self._table):
            make_look_ups(self._table)
            if "vector" in self._columns:
                index_vectors(self._table, "vector", make_parts)
            note_groups(self._table, "key", num_groups)


def _arrays(name: str, column: pa.ChunkedArray) -> list[NDArray[Any]]:
    if name in _BINARY:
        return [np.frombuffer(cell, _BINARY[name]) for cell in column.to_pylist()]
    return list(column.combine_chunks().flatten().to_numpy().reshape(len(column), -1))


def lasting_name(name: str) -> str:
    """A model's name that means the same from another folder."""
    return os.path.abspath(name) if os.path.isdir(name) else name
