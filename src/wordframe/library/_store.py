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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wordframe.disk import display_path
from wordframe.errors import LibraryError
from wordframe.library._fragments import TablePlace, commit_fragments, drop_unfinished
from wordframe.library._lance_index import (
    LARGE_SEGMENTS,
    LOOSE_ROWS,
    Effort,
    MakeParts,
    keep_effort,
    keep_indexes,
    lacks_index,
    make_parts_here,
    rows_by_group,
)
from wordframe.library._lineage import with_lineage
from wordframe.library._local import LocalFolder
from wordframe.library._place import Place
from wordframe.library._rows import SEGMENT_SCHEMA, VideoEntry, segment_id, video_cells
from wordframe.library._segment_table import SEGMENTS, SegmentTable, ids_clause, library_errors
from wordframe.library._vectors import as_stored, is_large

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


class Store:
    """The tables of one library.

    Raises:
        LibraryError: from every method, when the files are damaged or the disk is full, in one line.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        with self._errors("open"):
            self._database = connect(place)
            self._segments = self._table(SEGMENTS, SEGMENT_SCHEMA)
            self._failures = self._table("failures", _FAILURE_SCHEMA)
            self._models = self._table("models", _MODEL_SCHEMA)

    @contextlib.contextmanager
    def commit(self, table: Any | None = None) -> Iterator[None]:
        """Make one commit within the block, to ``table`` if it is given; at its end it lasts, as its place says."""
        with self._errors("write"):
            if table is not None:
                table.checkout_latest()
            with self._place.commit(table):
                yield

    def _table(self, name: str, schema: pa.Schema) -> Any:
        try:  # a large library's segments have a column more
            return self._database.open_table(name)
        except ValueError as error:
            if "was not found" not in str(error):
                raise
            return self._database.create_table(name, schema=with_lineage(schema), exist_ok=True)

    def _errors(self, doing: str) -> contextlib.AbstractContextManager[None]:
        return library_errors(self._place, doing)

    # Reading ---------------------------------------------------------------------------------------------------------

    def open_segments(self) -> SegmentTable:
        """The segments as they are now."""
        with self._errors("read"):
            return SegmentTable(self._place, self._database.open_table(SEGMENTS))

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
        with self.commit(self._segments):
            self._segments.add(as_stored(pa.Table.from_pylist(rows, schema=SEGMENT_SCHEMA), self._segments))

    def replace(self, video_ids: Sequence[str], rows: list[dict[str, Any]]) -> None:
        """Put ``rows`` in the place of all rows of ``video_ids``, in one commit."""
        with self.commit(self._segments):
            merge = self._segments.merge_insert("segment_id").when_matched_update_all().when_not_matched_insert_all()
            merge = merge.when_not_matched_by_source_delete(ids_clause("video_id", video_ids))
            merge.execute(as_stored(pa.Table.from_pylist(rows, schema=SEGMENT_SCHEMA), self._segments))

    def segments_place(self) -> TablePlace:
        """Where the segments lie, for whoever writes fragments beside them."""
        return self.place_of_table(self._segments)

    def place_of_table(self, table: Any) -> TablePlace:
        """Where one of LanceDB's tables lies."""
        with self._errors("read"):
            return TablePlace(table.uri, table.latest_storage_options())

    def add_fragments(self, fragments: Sequence[Any], *, replaced: Sequence[str]) -> None:
        """Make fragments that ``write_rows`` wrote a part of the table, and remove all other rows of the videos
        ``replaced``, in one commit."""
        with self._errors("write"):
            dataset = self.segments_place().open()
        with self.commit():
            commit_fragments(dataset, fragments, ids_clause("video_id", replaced) if replaced else None)
            self._segments.checkout_latest()

    def append_fragments(self, table: Any, fragments: Sequence[Any]) -> None:
        """Make fragments a part of a model's table, in one commit."""
        with self._errors("write"):
            dataset = self.place_of_table(table).open()
        with self.commit():
            commit_fragments(dataset, fragments, None)
            table.checkout_latest()

    def drop_unfinished(self, table: TablePlace) -> None:
        """Remove what runs that died wrote beside a table and never committed. The caller holds the lock: what
        another writes at the same time would go, too. A lease may end meanwhile: there Lance does it, a week later."""
        if isinstance(self._place, LocalFolder):
            with self.commit():
                drop_unfinished(table)

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
        with self.commit(self._segments):
            self._segments.merge_insert("segment_id").when_matched_update_all().execute(table)

    def delete(self, video_ids: Sequence[str]) -> None:
        """Remove videos, in one commit."""
        if video_ids:
            with self.commit(self._segments):
                self._segments.delete(ids_clause("video_id", video_ids))

    def set_failures(self, entries: Sequence[FailureEntry]) -> None:
        """Replace the whole list of failed files."""
        rows = [
            asdict(entry) | {"path": display_path(entry.path), "path_bytes": os.fsencode(entry.path)}
            for entry in entries
        ]
        self._set(self._failures, "path_bytes", pa.Table.from_pylist(rows, schema=_FAILURE_SCHEMA))

    def set_models(self, entries: Sequence[ModelEntry]) -> None:
        """Replace the whole list of models."""
        rows = [asdict(entry) for entry in entries]
        self._set(self._models, "table", pa.Table.from_pylist(rows, schema=_MODEL_SCHEMA))

    def _set(self, table: Any, key: str, rows: pa.Table) -> None:
        """Put ``rows`` in the place of all. Not by LanceDB's overwriting, which comes through whatever else was
        committed meanwhile, even by a writer that took over."""
        with self.commit(table):
            if not len(rows):
                table.delete("true")
                return
            merge = table.merge_insert(key).when_matched_update_all().when_not_matched_insert_all()
            merge.when_not_matched_by_source_delete("true").execute(rows)

    def drop_model_table(self, name: str) -> None:
        """Remove a model's rows."""
        with self.commit():
            self._database.drop_table(name, ignore_missing=True)

    def tidy(self, *, large_from: int = LARGE_SEGMENTS, make_parts: MakeParts = make_parts_here) -> None:
        """Merge small files, and drop versions older than an hour, which no reader still holds.

        With it a library gets the indexes that its size asks for, and keeps them (``_lance_index.py``).

        Args:
            large_from: so many segments are found by an index on disk, fewer by codes in memory.
            make_parts: who makes the parts of that index.
        """
        with self._errors("write"):
            self._segments.checkout_latest()
        self.tidy_table(self._segments, is_indexed=is_large(self._segments))
        for table in (self._failures, self._models):
            self.tidy_table(table)
        with self.commit(self._segments):
            keep_indexes(self._segments, large_from, make_parts)

    def tidy_table(self, table: Any, *, is_indexed: bool = False) -> None:
        """Merge a table's small files where that pays, and then drop its old versions.

        Args:
            is_indexed: few rows may lie outside of its index on disk, so merging pays sooner.
        """
        with self._errors("write"):
            table.checkout_latest()
            most_loose = LOOSE_ROWS if is_indexed else table.count_rows()
            if not wants_merging(np.array([*rows_by_group(table).values()], np.int64), most_loose):
                return
        with self.commit(table):
            table.optimize(cleanup_older_than=_FOR_EVER)
        # The merged files are on the disk now, so those that they stand for may go.
        with self.commit(table):
            table.optimize(cleanup_older_than=_KEPT_VERSIONS)

    def lacks_index(self) -> bool:
        """Whether the library is so large that it should have an index on disk, which this install cannot make."""
        with self._errors("read"):
            return lacks_index(self._segments)

    def keep_effort(self, effort: Effort) -> None:
        """Keep how much of the index on disk a search reads; LibraryError if the library has none."""
        with self.commit(self._segments):
            if not is_large(self._segments):
                raise LibraryError(f"{self._place}: has no index on disk, so there is nothing to choose")
            keep_effort(self._segments, effort)


def connect(place: Place) -> Any:
    """LanceDB over the tables of a library."""
    return lancedb.connect(place.tables, storage_options=place.storage_options)


def restore_all(place: Place) -> None:
    """Commit to each table what it holds anyway: nothing that was begun before is committed after that."""
    with library_errors(place, "write"):
        database = connect(place)
        for name in database.list_tables(limit=_MANY).tables:
            table = database.open_table(name)
            table.restore(table.version)


def wants_merging(rows: NDArray[np.int64], most_loose: int = _FULL_ROWS) -> bool:
    """Whether so many rows lie outside the largest of file groups with ``rows`` each that writing all anew is worth it.

    Merging when a quarter came in since keeps what is written in all below five times what was added; small tables are
    always merged.

    >>> wants_merging(np.array([50_000, 5_000, 5_000, 2_000]))
    False
    >>> wants_merging(np.array([50_000, 5_000, 5_000, 3_000])), wants_merging(np.array([4]))
    (True, True)
    """
    if rows.sum() < _ALWAYS_BELOW_ROWS:
        return True
    rows = rows[rows < _FULL_ROWS]
    return bool(rows.sum() - rows.max(initial=0) > min(_LOOSE_SHARE * rows.max(initial=0), most_loose))
