"""The index on disk of a large library cut into shards, each read by a process of its own, and their answers merged.

The index consists of parts, each over some groups of rows. A shard has whole parts, and groups that no part covers yet.
Which ones follows from the state of the table and its own number, so nobody hands them out, and two states may be asked
in turn. So it is with what a model with one vector a video keeps, too: a shard has a part of each table. Each compares
exactly what it gives, so the best of all shards are the best of the library: cutting loses nothing, and each holds the
codes of its own parts alone.
Neighbours: ``_lance_index.py`` makes the index; ``server/on_ray.py`` runs a shard in each process; ``snapshot.py`` asks
them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from wordframe.errors import LibraryError, counted
from wordframe.library._lance_index import LARGE_SEGMENTS, Effort, LanceIndex, effort_of, rows_of_data_set
from wordframe.library._lineage import lineage_of
from wordframe.library._manifest import Manifest
from wordframe.library._place import Place
from wordframe.library._segment_table import SEGMENTS, library_errors
from wordframe.library._store import connect
from wordframe.library._vectors import VECTORS, is_large

_KEPT_STATES = 3
"""A new state is asked for while searches of the one before still run."""
_KEPT_TABLES = 2
"""A server asks for the segments, and for what its model keeps."""


class Found(NamedTuple):
    """What a shard found: row ids ``(K,)`` and their distances ``(K,)``, best first."""

    rows: NDArray[np.int64]
    distances: NDArray[np.float32]


@dataclass(frozen=True)
class Look:
    """A question to all shards. fingerprint: of the library's encoder; table, lineage, version, column: the name of a
    table, which of that name it is, its state, and what rows are found by; the rest as ``LanceIndex.nearest``."""

    fingerprint: str
    table: str
    lineage: str
    version: int
    column: str
    query: NDArray[np.float32]
    limit: int
    where: str | None
    effort: Effort


AskShards = Callable[[Look], Sequence[Found]]
"""Asks all shards the same, and gives their answers in any order."""


@dataclass(frozen=True)
class Part:
    """What one shard reads. groups: of rows; parts: of the index over them, by their ids in Lance."""

    groups: tuple[int, ...] = ()
    parts: tuple[str, ...] = ()
    num_rows: int = 0

    def with_(self, other: Part) -> Part:
        return Part(self.groups + other.groups, self.parts + other.parts, self.num_rows + other.num_rows)


def parts_of(data_set: Any, column: str = VECTORS) -> list[Part]:
    """The parts of the index over a column of a table, and each group that is in none."""
    left, found = rows_of_data_set(data_set), []
    for index in data_set.describe_indices():
        for part in index.segments if list(index.field_names) == [column] else ():
            groups = tuple(sorted(group for group in part.fragment_ids if group in left))
            if groups:  # rows of a part that are all gone are no part of the table
                found.append(Part(groups, (str(part.uuid),), sum(left.pop(group) for group in groups)))
    return found + [Part((group,), (), count) for group, count in left.items()]


def cut(parts: Sequence[Part], shards: int) -> list[Part]:
    """``parts`` dealt out to ``shards``, about as many rows to each: the largest first, to who has fewest.

    >>> [shard.num_rows for shard in cut([Part((0,), ("a",), 5), Part((1,), ("b",), 4), Part((2,), (), 2)], 2)]
    [5, 6]
    """
    dealt = [Part() for _ in range(shards)]
    for part in sorted(parts, key=lambda part: (-part.num_rows, part.groups)):
        least = min(range(shards), key=lambda number: (dealt[number].num_rows, number))
        dealt[least] = dealt[least].with_(part)
    return dealt


class Shard:
    """Number ``number`` of ``shards`` of a library's index, in any of its states. Any number of threads may ask.

    Raises:
        LibraryError: from every method, when the library has no index on disk, or its files are damaged.
    """

    def __init__(self, place: Place, number: int, shards: int) -> None:
        self._place, self._number, self._shards = place, number, shards
        self._opening = threading.Lock()
        self._tables: dict[str, Any] = {}
        self._states: LRUCache[tuple[str, str, int], tuple[Any, Part]] = LRUCache(_KEPT_STATES * _KEPT_TABLES)
        self._open()

    def nearest(self, look: Look) -> Found:
        """The ``look.limit`` nearest of the shard's own rows, or fewer."""
        with library_errors(self._place, "read"):
            data_set, part = self._state(look)
            if not part.num_rows:
                return Found(np.empty(0, np.int64), np.empty(0, np.float32))
            nearest: dict[str, Any] = {"column": look.column, "q": look.query, "k": look.limit, "metric": "cosine"}
            if part.parts:
                nearest |= {"nprobes": look.effort.partitions, "refine_factor": look.effort.refine}
            else:
                nearest["use_index"] = False
            found = data_set.scanner(
                columns=["_distance"],
                nearest=nearest,
                fragments=[data_set.get_fragment(group) for group in part.groups],
                index_segments=list(part.parts) or None,
                filter=look.where,
                prefilter=True,
                with_row_id=True,
            ).to_table()
        return Found(found["_rowid"].to_numpy().astype(np.int64), found["_distance"].to_numpy())

    def warm(self) -> None:
        """Read the codes of the segments, so that no search waits for them."""
        newest = self._tables[SEGMENTS]
        dimension = newest.schema.field(VECTORS).type.value_type.list_size
        version, ones = int(newest.version), np.ones(dimension, np.float32)
        lineage = lineage_of(newest.schema)
        self.nearest(Look(self._fingerprint, SEGMENTS, lineage, version, VECTORS, ones, 1, None, self._effort))

    def num_rows(self, look: Look) -> int:
        """How many rows it reads for a question."""
        with library_errors(self._place, "read"):
            return self._state(look)[1].num_rows

    def _open(self) -> None:
        manifest = Manifest.read(self._place)
        self._fingerprint = "" if manifest is None else manifest.fingerprint
        with library_errors(self._place, "read"):
            table = connect(self._place).open_table(SEGMENTS)
            if not is_large(table):
                raise LibraryError(f"{self._place}: has no index on disk, so there is nothing to cut into shards")
            self._effort, self._tables = effort_of(table), {SEGMENTS: table.to_lance()}
        self._states.clear()

    def _state(self, look: Look) -> tuple[Any, Part]:
        with self._opening:
            if look.fingerprint != self._fingerprint:
                self._open()  # wordframe upgrade --encoder put another in its place
                if look.fingerprint != self._fingerprint:
                    raise LibraryError(f"{self._place}: was made anew with another encoder; ask again")
            state = look.table, look.lineage, look.version
            known = self._states.get(state)
            if known is None:
                data_set = self._table(look).checkout_version(look.version)
                known = data_set, cut(parts_of(data_set, look.column), self._shards)[self._number]
                self._states[state] = known
            return known

    def _table(self, look: Look) -> Any:
        """One is kept, since what it has read of the index serves all states of it."""
        kept = self._tables.get(look.table)
        if kept is None or lineage_of(kept.schema) != look.lineage:
            kept = self._tables[look.table] = connect(self._place).open_table(look.table).to_lance()
            if lineage_of(kept.schema) != look.lineage:
                raise LibraryError(f"{self._place}: what it keeps was made anew meanwhile; ask again")
        return kept


class ShardedIndex(LanceIndex):
    """An index on disk of a library, looked into by its shards. fingerprint: of the library's encoder."""

    def __init__(self, fingerprint: str, ask: AskShards, table: Any, effort: Effort, column: str = VECTORS) -> None:
        super().__init__(table, effort, column)
        self._fingerprint, self._ask = fingerprint, ask

    def nearest(self, query: NDArray[np.float32], limit: int, where: str | None = None) -> list[int]:
        """See ``LanceIndex``."""
        version = int(self.table.version)
        found = self._ask(
            Look(
                self._fingerprint,
                self.table.name,
                lineage_of(self.table.schema),
                version,
                self._column,
                query,
                limit,
                where,
                self.effort,
            )
        )
        rows = np.concatenate([one.rows for one in found])
        order = np.lexsort((rows, np.concatenate([one.distances for one in found])))
        best: list[int] = rows[order[:limit]].tolist()
        return best


def check_shards(index: LanceIndex | None, shards: int, name: str) -> None:
    """Refuse to cut a library into shards of which some would have no codes.

    Args:
        index: its index on disk, if it has one; name: what the library is called.

    Raises:
        LibraryError: it cannot be cut so.
    """
    if index is None:
        raise LibraryError(
            f"{name}: is small enough that each replica has its codes in memory; leave --shards out, and it is for "
            f"libraries of {LARGE_SEGMENTS:,} segments and more"
        )
    most = max(1, sum(bool(part.parts) for part in parts_of(index.table.to_lance())))  # none: all rows came in since
    if shards > most:
        raise LibraryError(
            f"{name}: its index has {counted(most, 'part')}, one for each shard at least; say --shards {most}"
        )
