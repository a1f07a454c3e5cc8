"""The column of a large library that its index on disk is made over: a segment's directions as numbers.

Whoever writes rows writes it, here and on other machines; so LanceDB is not loaded for it. Neighbours:
``_lance_index.py`` gives a library the column, ``_store.py`` and ``_fragments.py`` write rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from wordframe.library._vector_index import codes_in

VECTORS = "vectors"


def is_large(table: Any) -> bool:
    """Whether stage one of a table's version is the index on disk. Of LanceDB's tables, or of Lance's data sets."""
    return VECTORS in table.schema.names


def vectors_type(dimension: int) -> pa.DataType:
    """One or more directions of half precision a row."""
    return pa.list_(pa.list_(pa.float16(), dimension))


def with_vectors(rows: pa.Table, type_: pa.DataType) -> pa.Table:
    """Rows with ``vectors`` beside their ``centroids``, of the type that the column has."""
    dimension = type_.value_type.list_size
    ends, vectors = [np.zeros(1, np.int32)], []
    for cells in rows["centroids"].chunks:
        first, codes = codes_in(cells, dimension)
        lengths = np.maximum(np.linalg.norm(codes.astype(np.float32), axis=1, keepdims=True), 1e-12)
        vectors.append((codes / lengths).astype(np.float16).ravel())
        ends.append(first[1:] + ends[-1][-1])
    flat = pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate([np.empty(0, np.float16), *vectors])), dimension)
    return rows.append_column(VECTORS, pa.ListArray.from_arrays(pa.array(np.concatenate(ends).astype(np.int32)), flat))


def as_stored(rows: pa.Table, table: Any) -> pa.Table:
    """Rows with all columns that a table has."""
    return with_vectors(rows, table.schema.field(VECTORS).type) if is_large(table) else rows
