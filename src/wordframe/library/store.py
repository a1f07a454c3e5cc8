"""The library's tables on disk, in LanceDB; the only module that imports it.

``segments``: one row a segment, with its video's facts beside it, so that one commit adds, replaces or moves whole
videos and a reader at any version sees whole videos only. ``failures``: files that gave nothing, so that an unchanged
one is not tried at every run. Frame features are float16, ``(F, D)`` row by row in one binary cell; the directions of
scenes, by which segments are found, one byte a number. What models need beyond lies in tables of their own
(``model_table.py``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wordframe.library.model_table import ModelTable, keys_of
from wordframe.library.tidying import tidy_table
from wordframe.library.told import Told
from wordframe.library.vector_index import VectorIndex, row_ids_of, to_codes

_VIDEO_COLUMNS = [
    ("video_id", pa.string()),
    ("path", pa.string()),
    ("path_bytes", pa.binary()),
    ("size", pa.int64()),
    ("modified_ns", pa.int64()),
    ("content_hash", pa.string()),
    ("duration_seconds", pa.float64()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("codec", pa.string()),
    ("container", pa.string()),
    ("problem", pa.string()),
    ("num_segments", pa.int32()),
]
SCENES = 3
"""Directions a segment, at most: one alone would hide a short scene (``benchmarks/two_stage.py`` compares)."""
_MODEL_PREFIX = "model_"
_MANY = 100_000
_VIDEO_NAMES = [name for name, _ in _VIDEO_COLUMNS]
_SEGMENT_SCHEMA = pa.schema(
    [
        ("segment_id", pa.string()),
        *_VIDEO_COLUMNS,
        ("segment_index", pa.int32()),
        ("start_seconds", pa.float64()),
        ("end_seconds", pa.float64()),
        ("num_frames", pa.int32()),
        ("frames", pa.large_binary()),
        ("seconds", pa.list_(pa.float32())),
        ("scenes", pa.binary()),
        ("thumbnail", pa.binary()),
    ]
)
_FAILURE_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("path_bytes", pa.binary()),
        ("size", pa.int64()),
        ("modified_ns", pa.int64()),
        ("reason", pa.string()),
    ]
)


@dataclass(frozen=True)
class VideoEntry:
    """One indexed file. ``path`` is absolute; ``problem`` says why it was read only in part, if so."""

    video_id: str
    path: str
    size: int
    modified_ns: int
    content_hash: str
    duration_seconds: float
    width: int
    height: int
    codec: str
    container: str
    problem: str | None
    num_segments: int


@dataclass(frozen=True)
class Segment:
    """A part ``[start_seconds, end_seconds)`` of a video with its frames.

    frames: ``(F, D)`` float16, raw; seconds: ``(F,)``; vectors: ``(K, D)``, directions for the vector index, at least
    one; thumbnail: JPEG.
    """

    start_seconds: float
    end_seconds: float
    frames: NDArray[np.float16]
    seconds: NDArray[np.float32]
    vectors: NDArray[np.float32]
    thumbnail: bytes


@dataclass(frozen=True)
class FailureEntry:
    """A file that could not be read, and as it was then."""

    path: str
    size: int
    modified_ns: int
    reason: str


def display_path(path: str) -> str:
    """``path`` with bytes that are not UTF-8 replaced, for people and for columns of text."""
    return os.fsencode(path).decode("utf-8", "replace")


def _video_cells(video: VideoEntry) -> dict[str, Any]:
    cells = {name: getattr(video, name) for name in _VIDEO_NAMES if name != "path_bytes"}
    return cells | {"path": display_path(video.path), "path_bytes": os.fsencode(video.path)}


def segment_rows(video: VideoEntry, segments: Sequence[Segment]) -> list[dict[str, Any]]:
    """The rows of one video."""
    return [
        _video_cells(video)
        | {
            "segment_id": f"{video.video_id}-{index:05d}",
            "segment_index": index,
            "start_seconds": segment.start_seconds,
            "end_seconds": segment.end_seconds,
            "num_frames": len(segment.frames),
            "frames": segment.frames.astype(np.float16).tobytes(),
            "seconds": segment.seconds.astype(np.float32),
            "scenes": to_codes(segment.vectors).tobytes(),
            "thumbnail": segment.thumbnail,
        }
        for index, segment in enumerate(segments)
    ]


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def ids_clause(column: str, values: Iterable[str]) -> str:
    """An SQL condition: ``column`` is one of ``values``.

    >>> ids_clause("video_id", ["a", "b"])
    "video_id IN ('a', 'b')"
    """
    listed = ", ".join(_quoted(value) for value in values)
    return f"{column} IN ({listed})" if listed else "false"


class Store:
    """The two tables of one library folder.

    Raises:
        LibraryError: from every method, when the files are damaged or the disk is full, in one line.
    """

    def __init__(self, folder: Path, dimension: int) -> None:
        self._folder = folder
        self.dimension = dimension
        with self._told("open"):
            self._database = lancedb.connect(folder / "tables")
            self.segments = self._table("segments", _SEGMENT_SCHEMA)
            self._index = VectorIndex(self.segments, "scenes", dimension)
            self._failures = self._table("failures", _FAILURE_SCHEMA)

    def _table(self, name: str, schema: pa.Schema) -> Any:
        return self._database.create_table(name, schema=schema, exist_ok=True)

    def _told(self, doing: str) -> Told:
        return Told(self._folder, doing)

    # Reading ---------------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """See what an indexer has committed since."""
        with self._told("read"):
            self.segments.checkout_latest()
            self._failures.checkout_latest()

    def version(self) -> int:
        """The number of the snapshot that is being read."""
        return int(self.segments.version)

    def count(self, where: str | None = None) -> int:
        """How many segments there are."""
        with self._told("read"):
            return int(self.segments.count_rows(where))

    def videos(self) -> list[VideoEntry]:
        """All indexed videos, by path."""
        with self._told("read"):
            rows = self.segments.search().where("segment_index = 0").select(_VIDEO_NAMES).to_arrow().to_pylist()
        entries = [
            VideoEntry(**{k: v for k, v in row.items() if k != "path_bytes"} | {"path": os.fsdecode(row["path_bytes"])})
            for row in rows
        ]
        return sorted(entries, key=lambda entry: os.fsencode(entry.path))

    def paths(self) -> dict[str, str]:
        """Where each video lies, by its id."""
        with self._told("read"):
            found = self.segments.search().where("segment_index = 0").select(["video_id", "path_bytes"]).to_arrow()
        return dict(zip(found["video_id"].to_pylist(), map(os.fsdecode, found["path_bytes"].to_pylist()), strict=True))

    def failures(self) -> list[FailureEntry]:
        """Files that could not be read when they were last tried."""
        with self._told("read"):
            rows = self._failures.search().to_arrow().to_pylist()
        return [
            FailureEntry(os.fsdecode(row["path_bytes"]), row["size"], row["modified_ns"], row["reason"]) for row in rows
        ]

    def nearest(self, vector: NDArray[np.float32], limit: int, where: str | None = None) -> list[int]:
        """Row ids of the ``limit`` segments that have the scenes nearest to ``vector (D,)`` by cosine, best first.

        The first call after a change of the tables reads what is new into memory.
        """
        with self._told("read"):
            return self._index.nearest(vector, limit, where)

    def select(self, where: str, columns: Sequence[str]) -> list[dict[str, Any]]:
        """Some columns of the rows that ``where`` lets through."""
        with self._told("read"):
            rows: list[dict[str, Any]] = self.segments.search().where(where).select([*columns]).to_arrow().to_pylist()
            return rows

    def row_ids(self, where: str | None = None) -> list[int]:
        """Row ids of all segments, or of those that ``where`` lets through."""
        with self._told("read"):
            rows: list[int] = row_ids_of(self.segments, where).tolist()
        return rows

    def take(self, row_ids: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """The wanted columns of the wanted rows, in that order, in one random-access read."""
        with self._told("read"):
            if not row_ids:
                return _SEGMENT_SCHEMA.empty_table().select(columns)
            found = self.segments.take_row_ids(list(row_ids)).select([*columns]).with_row_id().to_arrow()
        place = {row: i for i, row in enumerate(found["_rowid"].to_pylist())}
        return found.take(pa.array([place[row] for row in row_ids])).select(columns)

    def segment_keys(self) -> tuple[NDArray[np.int64], pa.Array]:
        """Row ids of all segments and, for each, the key that changes with its content (``model_table.py``)."""
        with self._told("read"):
            query = self.segments.search().select(["segment_id", "content_hash", "num_frames"])
            found = query.with_row_id(True).to_arrow()
        return found["_rowid"].to_numpy().astype(np.int64), keys_of(found)

    def model_tables(self) -> list[ModelTable]:
        """The tables of all models that the library was prepared for."""
        with self._told("read"):
            names = self._database.list_tables(limit=_MANY).tables
            models = [name for name in names if name.startswith(_MODEL_PREFIX)]
            return [ModelTable(self._database.open_table(name), self._told) for name in models]

    def model_table(self, fingerprint: str, schema: pa.Schema | None = None) -> ModelTable | None:
        """The table of the model with this fingerprint; a new one if there is none and ``schema`` is given."""
        name = _MODEL_PREFIX + fingerprint
        with self._told("open"):
            if schema is not None:
                return ModelTable(self._database.create_table(name, schema=schema, exist_ok=True), self._told)
            if name not in self._database.list_tables(limit=_MANY).tables:
                return None
            return ModelTable(self._database.open_table(name), self._told)

    # Writing, by one indexer at a time -------------------------------------------------------------------------------

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Add whole videos, in one commit."""
        with self._told("write"):
            self.segments.add(pa.Table.from_pylist(rows, schema=_SEGMENT_SCHEMA))

    def replace(self, video_ids: Sequence[str], rows: list[dict[str, Any]]) -> None:
        """Put ``rows`` in the place of all rows of ``video_ids``, in one commit."""
        with self._told("write"):
            merge = self.segments.merge_insert("segment_id").when_matched_update_all().when_not_matched_insert_all()
            merge = merge.when_not_matched_by_source_delete(ids_clause("video_id", video_ids))
            merge.execute(pa.Table.from_pylist(rows, schema=_SEGMENT_SCHEMA))

    def copy_video(self, source_id: str, entry: VideoEntry, *, replaced: bool) -> None:
        """Give ``entry`` the segments of the video ``source_id``; ``replaced`` if ``entry.video_id`` has rows now."""
        with self._told("write"):
            where = ids_clause("video_id", [source_id])
            rows = self.segments.search().where(where).select(_SEGMENT_SCHEMA.names).to_arrow().to_pylist()
            ids = [{"segment_id": f"{entry.video_id}-{row['segment_index']:05d}"} for row in rows]
            copies = [row | _video_cells(entry) | new_id for row, new_id in zip(rows, ids, strict=True)]
        if replaced:
            self.replace([entry.video_id], copies)
        else:
            self.add(copies)

    def move(self, moves: Mapping[str, tuple[str, int, int]]) -> None:
        """Note where contents lie now, in one commit: ``{video_id: (path, size, modified_ns)}``."""
        if not moves:
            return
        with self._told("write"):
            where = ids_clause("video_id", moves)
            rows = self.segments.search().where(where).select(["segment_id", "video_id"]).to_arrow().to_pylist()
            cells = []
            for row in rows:
                path, size, modified_ns = moves[row["video_id"]]
                place = {"path": display_path(path), "path_bytes": os.fsencode(path)}
                cells.append({"segment_id": row["segment_id"], **place, "size": size, "modified_ns": modified_ns})
            names = ["segment_id", "path", "path_bytes", "size", "modified_ns"]
            table = pa.Table.from_pylist(cells, schema=pa.schema([_SEGMENT_SCHEMA.field(name) for name in names]))
            self.segments.merge_insert("segment_id").when_matched_update_all().execute(table)

    def delete(self, video_ids: Sequence[str]) -> None:
        """Remove videos, in one commit."""
        if video_ids:
            with self._told("write"):
                self.segments.delete(ids_clause("video_id", video_ids))

    def set_failures(self, entries: Sequence[FailureEntry]) -> None:
        """Replace the whole list of failed files."""
        rows = [
            {
                "path": display_path(entry.path),
                "path_bytes": os.fsencode(entry.path),
                "size": entry.size,
                "modified_ns": entry.modified_ns,
                "reason": entry.reason,
            }
            for entry in entries
        ]
        with self._told("write"):
            self._failures.add(pa.Table.from_pylist(rows, schema=_FAILURE_SCHEMA), mode="overwrite")

    def tidy(self) -> None:
        """Merge small files, and drop versions older than an hour, which no reader still holds."""
        with self._told("write"):
            tidy_table(self.segments)
            tidy_table(self._failures)
