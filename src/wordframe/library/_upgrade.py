"""Bringing a library of an older format up to the one that this version reads and writes.

Each step leaves a library of the next format, and may be done again after it was cut short. The manifest is written
last, so a library that is half-way is still known as the older one.

3 → 4: the column ``scenes`` is called ``centroids``; tables of models, which are made again by ``wordframe prepare``,
had no list and other column names.
"""

from __future__ import annotations

from dataclasses import replace

import lancedb

from wordframe.library._manifest import FORMAT, MANIFEST_NAME, OLDEST_FORMAT, Manifest
from wordframe.library._place import Place
from wordframe.library._segment_table import SEGMENTS, library_errors
from wordframe.library._store import MODEL_PREFIX

_MANY = 100_000


def upgrade_in_place(place: Place) -> bool:
    """Do all steps; False if the library has the newest format already. The caller holds the lock."""
    manifest = Manifest.read(place, formats=range(OLDEST_FORMAT, FORMAT + 1))
    if manifest is None or manifest.schema_version == FORMAT:
        return False
    with library_errors(place, "upgrade"), place.commit(None):
        _from_3(place)
    place.write(MANIFEST_NAME, replace(manifest, schema_version=FORMAT).text())
    return True


def _from_3(place: Place) -> None:
    database = lancedb.connect(place.tables, storage_options=place.storage_options)
    segments = database.open_table(SEGMENTS)
    if "scenes" in segments.schema.names:
        segments.alter_columns({"path": "scenes", "rename": "centroids"})
    for name in database.list_tables(limit=_MANY).tables:
        if name.startswith(MODEL_PREFIX):
            database.drop_table(name)
