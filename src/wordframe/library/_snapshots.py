"""The snapshots that were taken last, one a model: the same object as long as nothing is committed.

Neighbours: ``library.py`` asks for them, ``snapshot.py`` is one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias

from cachetools import LRUCache

from wordframe.library._lance_index import OpenIndex
from wordframe.library._model_table import ModelTable, columns_of, table_name
from wordframe.library._place import Place
from wordframe.library._segment_table import SEGMENTS, SegmentTable
from wordframe.library._store import Store
from wordframe.library.snapshot import Snapshot
from wordframe.models import TextVideoModel

_MODELS_AT_ONCE = 4
"""Of so many models the last snapshot is held, with what was read of it."""
Make: TypeAlias = Callable[[SegmentTable, ModelTable | None, Snapshot | None], Snapshot]
"""Makes a snapshot of the tables as they are now, and of the one before, if there is one."""


class Snapshots:
    """Those of the library at ``place``, whose tables ``store`` opens, and ``open_index`` their indexes on disk. Any
    number of threads may ask."""

    def __init__(self, place: Place, store: Callable[[], Store], open_index: OpenIndex) -> None:
        self._place, self._store, self._open_index = place, store, open_index
        self._last: LRUCache[TextVideoModel | None, tuple[object, Snapshot]] = LRUCache(_MODELS_AT_ONCE)
        self._table_names: LRUCache[TextVideoModel, str] = LRUCache(_MODELS_AT_ONCE)
        self._looking = threading.Lock()

    def now(self, model: TextVideoModel | None, make: Make) -> Snapshot:
        """The library as it is now for a model: the snapshot before if nothing was committed since, else a new one."""
        with self._looking:
            state = self._place.state([SEGMENTS, *self._names_of_tables(model)])  # what comes later is seen next time
            known, before = self._last.get(model, (None, None))
            if before is not None and state is not None and known == state:
                return before
            table = self._store().open_segments()
            if before is not None and before.lineage != table.lineage:
                before = None  # nothing that it read is of this table
            model_table = None if model is None else self._open_model_table(model, before)
            if before is None or not before.is_of(table, model_table):
                before = make(table, model_table, before)
            self._last[model] = (state, before)
            return before

    def _names_of_tables(self, model: TextVideoModel | None) -> list[str]:
        """Of the tables that hold what a model keeps: one or none."""
        if model is None or not columns_of(model):
            return []
        if model not in self._table_names:  # the name hashes all weights
            self._table_names[model] = table_name(model)
        return [self._table_names[model]]

    def _open_model_table(self, model: TextVideoModel, before: Snapshot | None) -> ModelTable | None:
        for name in self._names_of_tables(model):
            table = self._store().open_model_table(name)
            if table is not None:
                earlier = None if before is None else before.model_table
                return ModelTable(self._place, table, earlier, self._open_index)
        return None
