"""What a library holds for models: made, kept up to date by each run, and forgotten.

Neighbours: ``library.py`` and its ``Library`` are the door, ``_model_table.py`` is the table of one model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from wordframe.disk import shown_command
from wordframe.errors import LibraryError, WordframeError
from wordframe.interrupts import interrupts_noted
from wordframe.library._model_table import ModelTable, columns_of, lasting_name, model_schema, table_name
from wordframe.library._store import ModelEntry, Store
from wordframe.library.status import IndexSummary
from wordframe.models import TextVideoModel

if TYPE_CHECKING:
    from wordframe.library._executor import Executor
    from wordframe.library.library import Library


def prepare(
    library: Library,
    store: Store,
    model: TextVideoModel,
    name: str | None,
    *,
    untrained: bool,
    on_progress: Callable[[int, int], None],
    executor: Executor | None = None,
) -> int:
    """Make what a model needs; as ``Library.prepare``. Under a ``name`` it is kept up to date by later runs."""
    if not columns_of(model):
        return 0
    with library.locked(), interrupts_noted() as interrupted:
        if name is not None:
            entry = ModelEntry(lasting_name(name), model.fingerprint, untrained, table_name(model))
            others = [known for known in store.models() if known.table != entry.table]
            store.set_models([*others, entry])
        _forget_stale(library, store)
        return _fill_table(library, store, model, on_progress, interrupted.is_set, executor)


def forget_model(library: Library, store: Store, name: str) -> int:
    """Remove what is kept for a model; as ``Library.forget_model``."""
    with library.locked():
        known = store.models()
        gone = [entry for entry in known if name in (entry.name, entry.fingerprint) or lasting_name(name) == entry.name]
        listed = {entry.table for entry in known}
        # tables of before models were listed, or of a run that died in between
        unlisted = [table for table in store.model_table_names() if table not in listed and name in table]
        if not gone and not unlisted:
            raise LibraryError(f"{library.place}: is not prepared for {name!r}; wordframe prepare --list tells")
        store.set_models([entry for entry in known if entry not in gone])
        for table in [*(entry.table for entry in gone), *unlisted]:
            store.drop_model_table(table)
        return len(gone) + len(unlisted)


def prepare_known(
    library: Library,
    store: Store,
    summary: IndexSummary,
    should_stop: Callable[[], bool],
    executor: Executor | None = None,
) -> None:
    """Bring up to date what models need; one that cannot be had any more is told, and does not end the run. The caller
    holds the lock."""
    _forget_stale(library, store)
    for entry in store.models():
        try:
            model = library.load_model(entry.name, untrained=entry.untrained)
            if table_name(model) != entry.table:
                command = shown_command("wordframe", "prepare", entry.name)
                raise LibraryError(f"it has other weights by now; {command} follows them")
            made = _fill_table(library, store, model, lambda done, total: None, should_stop, executor)
            summary.prepared[entry.name] = made
        except WordframeError as error:
            summary.not_prepared[entry.name] = str(error)


def _forget_stale(library: Library, store: Store) -> None:
    """Remove from every model's table what belongs to contents that the library no longer holds."""
    names = store.model_table_names()
    valid = library.snapshot().keys() if names else None
    for name in names:
        table = store.open_model_table(name)
        if table is None:  # a folder without a version: whoever made or removed it died amid that
            store.drop_model_table(name)
        else:
            ModelTable(library.place, table).drop_stale(store, valid)


def _fill_table(
    library: Library,
    store: Store,
    model: TextVideoModel,
    on_progress: Callable[[int, int], None],
    should_stop: Callable[[], bool],
    executor: Executor | None,
) -> int:
    """Add what is missing to a model's table, made if there is none; gives for how many segments it was."""
    from wordframe.library._preparing import fill

    schema = model_schema(columns_of(model), model.dimension)
    table = ModelTable(library.place, store.open_model_table(table_name(model), schema))
    snapshot = library.snapshot(model)
    return fill(store, table, snapshot, on_progress=on_progress, should_stop=should_stop, executor=executor)
