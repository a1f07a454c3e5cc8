"""The library's tables on disk, in LanceDB: opened, read at one version, and written by one indexer at a time.

``segments``: one row a segment, with its video's facts beside it, so that one commit adds, replaces or moves whole
videos and a reader at any version sees whole videos only. ``failures``: files that gave nothing, so that an unchanged
one is not tried at every run. ``models``: for which models the library keeps rows, and where each is loaded from. Frame
features are float16, ``(F, D)`` row by row in one binary cell; the centroids by which segments are found, one byte a
number. What a model needs beyond lies in a table of its own (``_model_table.py``).
"""

from __future__ import annotations

import contextlib
import datetime
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wordframe.disk import display_path, shown_command
from wordframe.errors import LibraryError
from wordframe.library._durable import DurableTables
from wordframe.library._lance_index import (
    LARGE_SEGMENTS,
    LOOSE_ROWS,
    Effort,
    as_stored,
    is_large,
    keep_effort,
    keep_indexes,
)
from wordframe.library._rows import SEGMENT_SCHEMA, VIDEO_NAMES, VideoEntry, segment_id, video_cells
from wordframe.library._vector_index import row_ids_of

MODEL_PREFIX = "model_"
_MANY = 100_000
_KEPT_VERSIONS = datetime.timedelta(hours=1)
_FOR_EVER = datetime.timedelta(days=36_500)
_ALWAYS_BELOW_ROWS = 5000
_FULL_ROWS = 1_000_000
"""What LanceDB merges up to; a file group of that size stays as it is."""
_LOOSE_SHARE = 0.25
_FAILURE_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("path_bytes", pa.binary()),
        ("size", pa.int64()),
        ("modified_ns", pa.int64()),
        ("reason", pa.string()),
    ]
)
_MODEL_SCHEMA = pa.schema(
    [("name", pa.string()), ("fingerprint", pa.string()), ("untrained", pa.bool_()), ("table", pa.string())]
)
_DISK_LIMITS = {
    "no space left": "the disk is full",
    "os error 28": "the disk is full",
    "os error 122": "the disk quota is used up",
    "os error 27": "a file would be larger than the system allows",
}


@dataclass(frozen=True)
class FailureEntry:
    """A file that could not be read, and as it was then."""

    path: str
    size: int
    modified_ns: int
    reason: str


@dataclass(frozen=True)
class ModelEntry:
    """A model that the library keeps rows for. name: what it is loaded by; table: where its rows lie."""

    name: str
    fingerprint: str
    untrained: bool
    table: str


def ids_clause(column: str, values: Iterable[str]) -> str:
    """An SQL condition: ``column`` is one of ``values``.

    >>> ids_clause("video_id", ["a", "b"])
    "video_id IN ('a', 'b')"
    """
    listed = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
    return f"{column} IN ({listed})" if listed else "false"


_RUST_PLACE = re.compile(r"lance error: |LanceError\(\w+\): |,? ?/\S+\.rs:\d+(:\d+)?")
"""Where in LanceDB's own code an error arose, which tells a user nothing."""


@contextlib.contextmanager
def library_errors(folder: Path, doing: str) -> Iterator[None]:
    """What LanceDB, Arrow and the disk raise within the block becomes a LibraryError in one line; ``doing``: a verb."""
    try:
        yield
    except BaseException as error:  # LanceDB's panics over damaged tables are of classes that nobody can import
        is_panic = type(error).__module__.startswith("pyo3")
        if not is_panic and not isinstance(error, (OSError, RuntimeError, ValueError)):
            raise
        text = "they are damaged" if is_panic else _RUST_PLACE.sub("", " ".join(str(error).split()))
        lower = text.lower()
        for sign, reason in _DISK_LIMITS.items():
            if sign in lower:
                raise LibraryError(f"{folder}: {reason}; free some space and run the command again") from None
        if "permission denied" in lower or "read-only file system" in lower:
            raise LibraryError(f"{folder}: no permission to {doing} the library") from None
        advice = f"what is damaged is found by: {shown_command('wordframe', 'doctor', '--verify', '--library', folder)}"
        raise LibraryError(f"{folder}: cannot {doing} the library's tables: {text[:300]}; {advice}") from error


class SegmentTable:
    """The segments at one version, on a handle of its own: whatever is committed meanwhile, it reads the same.

    A handle that LanceDB opens stays at the version it met until it is told otherwise, and may be read by many threads.

    Raises:
        LibraryError: from every method, when the files are damaged, in one line.
    """

    def __init__(self, folder: Path, table: Any) -> None:
        self._folder, self.table = folder, table
        self.version = int(table.version)

    def _reading(self) -> contextlib.AbstractContextManager[None]:
        return library_errors(self._folder, "read")

    def count(self, where: str | None = None) -> int:
        """How many segments there are, or pass an SQL condition."""
        with self._reading():
            return int(self.table.count_rows(where))

    def row_ids(self, where: str | None = None) -> list[int]:
        """Row ids of all segments, or of those that ``where`` lets through."""
        with self._reading():
            rows: list[int] = row_ids_of(self.table, where).tolist()
        return rows

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

    def existing(self, row_ids: Collection[int]) -> list[int]:
        """Those of some row ids that there is a row of, ascending."""
        if not row_ids:
            return []
        with self._reading():
            found = self.table.take_row_ids(sorted(row_ids)).select(["segment_index"]).with_row_id().to_arrow()
        return sorted(found["_rowid"].to_pylist())

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
        first = "segment_index = 0" if where is None else f"segment_index = 0 AND ({where})"
        entries = [VideoEntry.of_row(row) for row in self.select(first, VIDEO_NAMES).to_pylist()]
        return sorted(entries, key=lambda entry: os.fsencode(entry.path))


class Store:
    """The tables of one library folder.

    Raises:
        LibraryError: from every method, when the files are damaged or the disk is full, in one line.
    """

    LARGE_FROM = LARGE_SEGMENTS

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with self._errors("open"):
            self._database = lancedb.connect(folder / "tables")
            self._segments = self._table("segments", SEGMENT_SCHEMA)
            self._failures = self._table("failures", _FAILURE_SCHEMA)
            self._models = self._table("models", _MODEL_SCHEMA)
        self._durable = DurableTables(folder)

    @contextlib.contextmanager
    def commit(self) -> Iterator[None]:
        """Write within the block; at its end what was committed is on the disk, and survives a loss of power."""
        with self._errors("write"):
            before = self._durable.files()
            yield
            self._durable.sync(before)

    def _table(self, name: str, schema: pa.Schema) -> Any:
        try:  # a large library's segments have a column more
            return self._database.open_table(name)
        except ValueError as error:
            if "was not found" not in str(error):
                raise
        return self._database.create_table(name, schema=schema, exist_ok=True)

    def _errors(self, doing: str) -> contextlib.AbstractContextManager[None]:
        return library_errors(self._folder, doing)

    # Reading ---------------------------------------------------------------------------------------------------------

    def open_segments(self) -> SegmentTable:
        """The segments as they are now."""
        with self._errors("read"):
            return SegmentTable(self._folder, self._database.open_table("segments"))

    def open_model_table(self, name: str, schema: pa.Schema | None = None) -> Any:
        """LanceDB's table of one model as it is now; a new one if there is none and ``schema`` is given, else None."""
        with self._errors("open"):
            if schema is not None:
                self._table(name, schema)
            elif name not in self.model_table_names():
                return None
            try:
                return self._database.open_table(name)
            except ValueError as error:
                # its folder is listed before its first version is there, while another thread or process makes it
                if schema is None and "was not found" in str(error):
                    return None
                raise

    def model_table_names(self) -> list[str]:
        """The tables of models, those that ``models()`` lists and others."""
        with self._errors("read"):
            names = self._database.list_tables(limit=_MANY).tables
        return [name for name in names if name.startswith(MODEL_PREFIX)]

    def failures(self) -> list[FailureEntry]:
        """Files that could not be read when they were last tried."""
        with self._errors("read"):
            self._failures.checkout_latest()
            rows = self._failures.search().to_arrow().to_pylist()
        return [
            FailureEntry(os.fsdecode(row["path_bytes"]), row["size"], row["modified_ns"], row["reason"]) for row in rows
        ]

    def models(self) -> list[ModelEntry]:
        """The models that rows are kept for, by name."""
        with self._errors("read"):
            self._models.checkout_latest()
            rows = self._models.search().to_arrow().to_pylist()
        return sorted((ModelEntry(**row) for row in rows), key=lambda entry: (entry.name, entry.table))

    # Writing, by one at a time ---------------------------------------------------------------------------------------

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Add whole videos, in one commit."""
        with self.commit():
            self._segments.checkout_latest()
            self._segments.add(as_stored(pa.Table.from_pylist(rows, schema=SEGMENT_SCHEMA), self._segments))

    def replace(self, video_ids: Sequence[str], rows: list[dict[str, Any]]) -> None:
        """Put ``rows`` in the place of all rows of ``video_ids``, in one commit."""
        with self.commit():
            self._segments.checkout_latest()
            merge = self._segments.merge_insert("segment_id").when_matched_update_all().when_not_matched_insert_all()
            merge = merge.when_not_matched_by_source_delete(ids_clause("video_id", video_ids))
            merge.execute(as_stored(pa.Table.from_pylist(rows, schema=SEGMENT_SCHEMA), self._segments))

    def copy_video(self, source_id: str, entry: VideoEntry, *, replaced: bool) -> None:
        """Give ``entry`` the segments of the video ``source_id``; ``replaced`` if ``entry.video_id`` has rows now."""
        rows = self.open_segments().select(ids_clause("video_id", [source_id]), SEGMENT_SCHEMA.names).to_pylist()
        ids = [{"segment_id": segment_id(entry.video_id, row["segment_index"])} for row in rows]
        copies = [row | video_cells(entry) | new_id for row, new_id in zip(rows, ids, strict=True)]
        if replaced:
            self.replace([entry.video_id], copies)
        else:
            self.add(copies)

    def move(self, moves: Mapping[str, tuple[str, int, int]]) -> None:
        """Note where contents lie now, in one commit: ``{video_id: (path, size, modified_ns)}``."""
        if not moves:
            return
        found = self.open_segments().select(ids_clause("video_id", moves), ["segment_id", "video_id"])
        cells = []
        for row in found.to_pylist():
            path, size, modified_ns = moves[row["video_id"]]
            place = {"path": display_path(path), "path_bytes": os.fsencode(path)}
            cells.append({"segment_id": row["segment_id"], **place, "size": size, "modified_ns": modified_ns})
        names = ["segment_id", "path", "path_bytes", "size", "modified_ns"]
        table = pa.Table.from_pylist(cells, schema=pa.schema([SEGMENT_SCHEMA.field(name) for name in names]))
        with self.commit():
            self._segments.checkout_latest()
            self._segments.merge_insert("segment_id").when_matched_update_all().execute(table)

    def delete(self, video_ids: Sequence[str]) -> None:
        """Remove videos, in one commit."""
        if video_ids:
            with self.commit():
                self._segments.delete(ids_clause("video_id", video_ids))

    def set_failures(self, entries: Sequence[FailureEntry]) -> None:
        """Replace the whole list of failed files."""
        rows = [
            asdict(entry) | {"path": display_path(entry.path), "path_bytes": os.fsencode(entry.path)}
            for entry in entries
        ]
        with self.commit():
            self._failures.add(pa.Table.from_pylist(rows, schema=_FAILURE_SCHEMA), mode="overwrite")

    def set_models(self, entries: Sequence[ModelEntry]) -> None:
        """Replace the whole list of models."""
        with self.commit():
            rows = [asdict(entry) for entry in entries]
            self._models.add(pa.Table.from_pylist(rows, schema=_MODEL_SCHEMA), mode="overwrite")

    def drop_model_table(self, name: str) -> None:
        """Remove a model's rows."""
        with self.commit():
            self._database.drop_table(name, ignore_missing=True)

    def tidy(self, *, large_from: int = LARGE_SEGMENTS) -> None:
        """Merge small files, and drop versions older than an hour, which no reader still holds.

        With it a library gets the indexes that its size asks for, and keeps them (``_lance_index.py``).

        Args:
            large_from: so many segments are found by an index on disk, fewer by codes in memory.
        """
        for table in (self._segments, self._failures, self._models):
            self.tidy_table(table)
        with self.commit():
            keep_indexes(self._segments, large_from)

    def tidy_table(self, table: Any) -> None:
        """Merge a table's small files where that pays, and then drop its old versions."""
        with self._errors("write"):
            table.checkout_latest()
            most_loose = LOOSE_ROWS if is_large(table) else table.count_rows()
            if not wants_merging(row_ids_of(table), most_loose):
                return
        with self.commit():
            table.optimize(cleanup_older_than=_FOR_EVER)
        # The merged files are on the disk now, so those that they stand for may go.
        with self.commit():
            table.optimize(cleanup_older_than=_KEPT_VERSIONS)

    def keep_effort(self, effort: Effort) -> None:
        """Keep how much of the index on disk a search reads; LibraryError if the library has none."""
        with self.commit():
            self._segments.checkout_latest()
            if not is_large(self._segments):
                raise LibraryError(f"{self._folder}: has no index on disk, so there is nothing to choose")
            keep_effort(self._segments, effort)


def wants_merging(row_ids: NDArray[np.int64], most_loose: int = _FULL_ROWS) -> bool:
    """Whether so many rows lie outside the largest file group that writing all anew is worth it.

    A row's id holds its group's number in the upper 32 bits. Merging when a quarter came in since keeps what is written
    in all below five times what was added; small tables are always merged.

    >>> group = np.arange(4, dtype=np.int64) << 32
    >>> wants_merging(np.repeat(group, [50_000, 5_000, 5_000, 2_000]))
    False
    >>> wants_merging(np.repeat(group, [50_000, 5_000, 5_000, 3_000])), wants_merging(group)
    (True, True)
    """
    if len(row_ids) < _ALWAYS_BELOW_ROWS:
        return True
    _, rows = np.unique(row_ids >> 32, return_counts=True)
    rows = rows[rows < _FULL_ROWS]
    return bool(rows.sum() - rows.max(initial=0) > min(_LOOSE_SHARE * rows.max(initial=0), most_loose))
