"""Which table it is: versions and row ids are counted anew in one that was dropped and made again, or set back.

What was read of a table serves the versions that follow it, and is told apart by version and row id. A model that is
forgotten and prepared again, a library that is removed and made anew under a running server, and one that went back to
an older version after damage all use both a second time, for other rows. So a table carries a random text since it was
made, another one since it was set back; of tables that were made before there were such texts it is empty.
Neighbours: ``_store.py`` makes tables, ``_snapshots.py`` and ``_shards.py`` keep what they read.
"""

from __future__ import annotations

import uuid
from typing import Any

import pyarrow as pa

_COLUMN, _KEY = "segment_id", b"wordframe.lineage"


def with_lineage(schema: pa.Schema) -> pa.Schema:
    """Columns for a new table; of a table that nothing is kept of as they are."""
    if _COLUMN not in schema.names:
        return schema
    return schema.set(schema.get_field_index(_COLUMN), schema.field(_COLUMN).with_metadata({_KEY: _new().encode()}))


def lineage_of(schema: pa.Schema) -> str:
    """The text of a table, by its columns; empty where there is none, as of a damaged table without columns."""
    if _COLUMN not in schema.names:
        return ""
    text: bytes = (schema.field(_COLUMN).metadata or {}).get(_KEY, b"")
    return text.decode()


def begin_lineage(table: Any) -> None:
    """Tell a table, by a commit, from what it was before it was set back."""
    if _COLUMN in table.schema.names:
        table.update_field_metadata({"path": _COLUMN, "metadata": {_KEY.decode(): _new()}})


def _new() -> str:
    return uuid.uuid4().hex
