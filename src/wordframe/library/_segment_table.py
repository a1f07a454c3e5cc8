"""The table ``segments`` at one version, and what all tables share: SQL conditions, and what their errors mean.

Neighbours: ``_store.py`` opens and writes the tables, ``snapshot.py`` reads the segments.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from wordframe.disk import shown_command
from wordframe.errors import LibraryError
from wordframe.library._fragments import without_rust_place
from wordframe.library._lance_index import has_lance, num_groups, rows_by_group
from wordframe.library._lineage import lineage_of
from wordframe.library._place import Place
from wordframe.library._rows import SEGMENT_SCHEMA, VIDEO_NAMES, VideoEntry
from wordframe.library._vector_index import row_ids_of

SEGMENTS = "segments"
"""The table's name."""
_DISK_LIMITS = {
    "no space left": "the disk is full",
    "os error 28": "the disk is full",
    "os error 122": "the disk quota is used up",
    "os error 27": "a file would be larger than the system allows",
}


def ids_clause(column: str, values: Iterable[str]) -> str:
    """An SQL condition: ``column`` is one of ``values``.

    >>> ids_clause("video_id", ["a", "b"])
    "video_id IN ('a', 'b')"
    """
    listed = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
    return f"{column} IN ({listed})" if listed else "false"


@contextlib.contextmanager
def library_errors(place: Place, doing: str, table: Any | None = None) -> Iterator[None]:
    """What LanceDB, Arrow and the disk raise within the block becomes a LibraryError in one line.

    Args:
        doing: a verb; table: that is read, at its version.
    """
    try:
        yield
    except BaseException as error:  # LanceDB's panics over damaged tables are of classes that nobody can import
        is_panic = type(error).__module__.startswith("pyo3")
        if not is_panic and not isinstance(error, (OSError, RuntimeError, ValueError)):
            raise
        text = "they are damaged" if is_panic else without_rust_place(error)
        lower = text.lower()
        for sign, reason in _DISK_LIMITS.items():
            if sign in lower:
                raise LibraryError(f"{place}: {reason}; free some space and run the command again") from None
        told = place.explain(text)
        if told is not None:
            raise LibraryError(f"{place}: cannot {doing} the library's tables: {told}") from None
        if "permission denied" in lower or "read-only file system" in lower:
            raise LibraryError(f"{place}: no permission to {doing} the library") from None
        if table is not None and _is_dropped(table):
            raise LibraryError(
                f"{place}: the state that was read is more than an hour behind, and is no longer kept; run the command "
                "again"
            ) from None
        advice = (
            f"what is damaged is found by: {shown_command('wordframe', 'doctor', '--verify', '--library', str(place))}"
        )
        raise LibraryError(f"{place}: cannot {doing} the library's tables: {text[:300]}; {advice}") from error


def _is_dropped(table: Any) -> bool:
    """Whether the version that a handle reads was removed, as those are that nobody should read any more."""
    with contextlib.suppress(OSError, RuntimeError, ValueError):
        return table.version not in {version["version"] for version in table.list_versions()}
    return False


class SegmentTable:
    """The segments at one version, on a handle of its own: whatever is committed meanwhile, it reads the same.

    A handle that LanceDB opens stays at the version it met until it is told otherwise, and may be read by many threads.

    Raises:
        LibraryError: from every method, when the files are damaged, in one line.
    """

    def __init__(self, place: Place, table: Any) -> None:
        self._place, self.table = place, table
        self.version, self.lineage = int(table.version), lineage_of(table.schema)

    def _reading(self) -> contextlib.AbstractContextManager[None]:
        return library_errors(self._place, "read", self.table)

    def count(self, where: str | None = None) -> int:
        """How many segments there are, or pass an SQL condition."""
        with self._reading():
            return int(self.table.count_rows(where))

    def row_ids(self, where: str | None = None) -> list[int]:
        """Row ids of all segments, or of those that ``where`` lets through."""
        with self._reading():
            rows: list[int] = row_ids_of(self.table, where).tolist()
        return rows

    @property
    def num_groups(self) -> int:
        """One more than the highest number of the file groups, which is in the upper half of a row's id."""
        with self._reading():
            return num_groups(self.table)

    def groups(self) -> dict[int, str]:
        """The file groups by number, and a text of each that is another as soon as one of its rows or cells is."""
        with self._reading():
            if not has_lance():
                return dict.fromkeys(rows_by_group(self.table), str(self.version))
            return {group.fragment_id: str(group.metadata) for group in self.table.to_lance().get_fragments()}

    def select_in_groups(self, groups: Collection[int], where: str, columns: Sequence[str]) -> pa.Table:
        """As ``select`` with ``_rowid``, of some file groups alone: no other is looked at."""
        if not groups:
            return self.select("false", columns, row_ids=True)
        if not has_lance():
            return self.select(f"({groups_clause(groups)}) AND ({where})", columns, row_ids=True)
        with self._reading():
            data_set = self.table.to_lance()
            read = [data_set.get_fragment(number) for number in sorted(groups)]
            scanner = data_set.scanner(fragments=read, columns=[*columns], filter=where, with_row_id=True)
            return scanner.to_table().select([*columns, "_rowid"])

    def row_blocks(self, size: int) -> Iterator[NDArray[np.int64]]:
        """Row ids of all segments, at most ``size`` at a time."""
        with self._reading():
            for batch in self.table.search().select(["_rowid"]).to_batches(size):
                yield batch["_rowid"].to_numpy().astype(np.int64)

    def select(self, where: str | None, columns: Sequence[str], *, row_ids: bool = False) -> pa.Table:
        """Some columns of the rows that ``where`` lets through, with ``_rowid`` if that is wanted."""
        with self._reading():
            query = self.table.search()
            query = query if where is None else query.where(where)
            return query.select([*columns]).with_row_id(row_ids).to_arrow().select([*columns, *["_rowid"] * row_ids])

    def take(self, row_ids: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """The wanted columns of the wanted rows, in that order, in one random-access read."""
        if not row_ids:
            return SEGMENT_SCHEMA.empty_table().select(columns)
        with self._reading():
            found = self.table.take_row_ids(list(row_ids)).select([*columns]).with_row_id().to_arrow()
        # LanceDB gives them in the order of the files
        place = {row: i for i, row in enumerate(found["_rowid"].to_pylist())}
        return found.take(pa.array([place[row] for row in row_ids])).select(columns)

    def take_existing(self, row_ids: Collection[int], columns: Sequence[str]) -> tuple[list[int], pa.Table]:
        """Those of some row ids that there is a row of, and the wanted columns of these rows, in one read."""
        if not row_ids:
            return [], SEGMENT_SCHEMA.empty_table().select(columns)
        with self._reading():
            found = self.table.take_row_ids(sorted(row_ids)).select([*columns]).with_row_id().to_arrow()
        return found["_rowid"].to_pylist(), found.select(columns)

    def spread(self, count: int) -> list[int]:
        """Row ids of at most ``count`` rows, evenly spread over the table, in its order."""
        total = self.count()
        if total <= count:
            return self.row_ids()
        with self._reading():
            places = [place * total // count for place in range(count)]
            found = self.table.take_offsets(places).select(["segment_index"]).with_row_id().to_arrow()
        rows: list[int] = found["_rowid"].to_pylist()
        return rows

    def videos(self, where: str | None = None) -> list[VideoEntry]:
        """The videos, or those that ``where`` lets through, by path."""
        entries = [VideoEntry.of_row(row) for row in self.select(first_segments(where), VIDEO_NAMES).to_pylist()]
        return sorted(entries, key=lambda entry: os.fsencode(entry.path))

    def videos_by_path(self, where: str) -> NDArray[np.int64]:
        """Row ids of the first segments of the videos that ``where`` lets through, by path; of all: ``VideoList``."""
        found = self.select(first_segments(where), ["path_bytes"], row_ids=True)
        rows: NDArray[np.int64] = found["_rowid"].to_numpy().astype(np.int64)
        order: NDArray[np.uint64] = pc.array_sort_indices(found["path_bytes"].combine_chunks()).to_numpy()
        return rows[order]


def groups_clause(groups: Iterable[int]) -> str:
    """An SQL condition: a row lies in one of these file groups.

    >>> groups_clause([1])
    '(_rowid >= 4294967296 AND _rowid < 8589934592)'
    """
    return " OR ".join(f"(_rowid >= {group << 32} AND _rowid < {(group + 1) << 32})" for group in groups)


def first_segments(where: str | None) -> str:
    """An SQL condition that one segment of each video passes whose segments pass ``where``."""
    return "segment_index = 0" if where is None else f"segment_index = 0 AND ({where})"
