"""Keeping up to date what a library holds for the models that it knows.

Neighbours: ``library.py`` calls while it holds the lock, ``_model_table.py`` is the table of one model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from wordframe.disk import shown_command
from wordframe.errors import LibraryError, WordframeError
from wordframe.library._model_table import ModelTable, columns_of, fill, model_schema, table_name
from wordframe.library._store import Store
from wordframe.library.status import IndexSummary
from wordframe.models import TextVideoModel

if TYPE_CHECKING:
    from wordframe.library.library import Library


def prepare_known(library: Library, store: Store, summary: IndexSummary, should_stop: Callable[[], bool]) -> None:
    """Bring up to date what models need; one that cannot be had any more is told, and does not end the run."""
    forget_stale(library, store)
    for entry in store.models():
        try:
            model = library.load_model(entry.name, untrained=entry.untrained)
            if table_name(model) != entry.table:
                command = shown_command("wordframe", "prepare", entry.name)
                raise LibraryError(f"it has other weights by now; {command} follows them")
            summary.prepared[entry.name] = fill_table(library, store, model, lambda done, total: None, should_stop)
        except WordframeError as error:
            summary.not_prepared[entry.name] = str(error)


def forget_stale(library: Library, store: Store) -> None:
    """Remove from every model's table what belongs to contents that the library no longer holds."""
    names = store.model_table_names()
    valid = library.snapshot().keys() if names else None
    for name in names:
        ModelTable(library.place, store.open_model_table(name)).drop_stale(store, valid)


def fill_table(
    library: Library,
    store: Store,
    model: TextVideoModel,
    on_progress: Callable[[int, int], None],
    should_stop: Callable[[], bool],
) -> int:
    """Add what is missing to a model's table, made if there is none; gives for how many segments it was."""
    schema = model_schema(columns_of(model), model.dimension)
    table = ModelTable(library.place, store.open_model_table(table_name(model), schema))
    done = fill(store, table, library.snapshot(model), on_progress=on_progress, should_stop=should_stop)
    table.tidy(store)
    return done
