"""What is left of a table when some of its files are damaged: they go, and with them all that needs them.

A version of a table is a manifest; it names groups of rows (LanceDB's fragments), each with its files of data and one
file that says which of its rows were deleted. Without the newest manifest the last whole one is the table. A group
that misses a file is found by asking for one of its rows, and is deleted by row ids, whose upper 32 bits are its
number: for that LanceDB opens no data. It opens the file of deleted rows, so one that says none is put there first.
Of ``segments`` whole videos are kept; any other table can be made again, and goes altogether.
Neighbours: ``_verify.py`` finds the damage, and asks what would be lost by the same code, on a copy made of links.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wordframe.library._durable import HINT_NAME, newest_version
from wordframe.library._lineage import begin_lineage
from wordframe.library._local import LocalFolder
from wordframe.library._rows import VIDEO_NAMES, VideoEntry
from wordframe.library._segment_table import SEGMENTS, SegmentTable, groups_clause, ids_clause
from wordframe.library._vector_index import row_ids_of

_AT_ONCE = 200
_NONE_DELETED = pa.record_batch(
    {"row_id": pa.array([], pa.uint32())}, pa.schema([pa.field("row_id", pa.uint32(), False)])
)
_EMPTY_BITMAP = bytes([0x3A, 0x30, 0, 0, 0, 0, 0, 0])
"""A roaring bitmap without a member, in its portable format: a cookie and a count."""


@dataclass(frozen=True)
class Loss:
    """What a table lost.

    whole: all of it; is_older: its newest version, so that an older one took its place; groups: numbers of groups of
    rows, and rows: how many lay in them; videos: those of ``segments`` of which a part was lost, so that the rest was
    given up.
    """

    whole: bool = False
    is_older: bool = False
    groups: list[int] = field(default_factory=list)
    rows: int = 0
    videos: list[VideoEntry] = field(default_factory=list)

    def __bool__(self) -> bool:
        return self.whole or self.is_older or bool(self.groups)


def rescue(folder: Path, table: str, damaged: Collection[str], version: int, *, read_all: bool = False) -> Loss:
    """Leave of a table what can be read without its ``damaged`` files, which are removed.

    Args:
        folder: of the library; the caller holds its lock.
        damaged: paths below the table's folder, with slashes.
        version: the newest that the table had.
        read_all: nothing is known of the files, so each row is read.
    """
    place = folder / "tables" / f"{table}.lance"
    for name in [*damaged, f"_versions/{HINT_NAME}"]:
        (place / name).unlink(missing_ok=True)
    found = newest_version(place)
    if found == 0:
        shutil.rmtree(place, ignore_errors=True)
        return Loss(whole=version > 0)
    handle = lancedb.connect(folder / "tables").open_table(table)
    lost = sorted(_without_deletions(handle, place, damaged) | _without_data(handle, read_all=read_all))
    if not lost and found >= version:
        return Loss()
    if table != SEGMENTS:
        shutil.rmtree(place)
        return Loss(whole=True)
    if found < version:
        begin_lineage(handle)
    rows = _delete_groups(handle, lost)
    return Loss(
        is_older=found < version,
        groups=lost,
        rows=rows,
        videos=_delete_partial_videos(SegmentTable(LocalFolder(folder), handle)),
    )


def _without_deletions(handle: Any, place: Path, damaged: Collection[str]) -> set[int]:
    """Groups whose file of deleted rows is among ``damaged``; it is replaced. Those of older versions do not count."""
    lost = set()
    for name in damaged:
        if name.startswith("_deletions/"):
            group = int(Path(name).name.split("-")[0])  # GROUP-VERSION-ID.arrow or .bin
            if not _is_readable(handle, [group << 32]):
                lost.add(group)
                _write_none_deleted(place / name)
    return lost


def _write_none_deleted(path: Path) -> None:
    if path.suffix == ".bin":
        path.write_bytes(_EMPTY_BITMAP)
        return
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, _NONE_DELETED.schema) as writer:
        writer.write_batch(_NONE_DELETED)  # LanceDB wants one batch


def _without_data(handle: Any, *, read_all: bool) -> set[int]:
    return {group for group, rows in _groups(row_ids_of(handle)) if not _is_readable(handle, rows, read_all=read_all)}


def _groups(row_ids: NDArray[np.int64]) -> Iterator[tuple[int, list[int]]]:
    for group in np.unique(row_ids >> 32).tolist():
        yield group, row_ids[row_ids >> 32 == group].tolist()


def _is_readable(handle: Any, rows: list[int], *, read_all: bool = False) -> bool:
    wanted = rows if read_all else rows[:1]
    try:
        for start in range(0, len(wanted), _AT_ONCE):
            handle.take_row_ids(wanted[start : start + _AT_ONCE]).to_arrow()
    except Exception:  # damage makes LanceDB panic, too
        return False
    return True


def _delete_groups(handle: Any, groups: list[int]) -> int:
    before = int(handle.count_rows())
    for start in range(0, len(groups), _AT_ONCE):
        handle.delete(groups_clause(groups[start : start + _AT_ONCE]))
    return before - int(handle.count_rows())


def _delete_partial_videos(segments: SegmentTable) -> list[VideoEntry]:
    """Remove the videos that miss segments, so that a reader sees whole ones only."""
    counted = segments.select(None, ["video_id", "num_segments"]).group_by(["video_id", "num_segments"])
    rows = counted.aggregate([([], "count_all")]).to_pylist()
    partial = [row["video_id"] for row in rows if row["count_all"] != row["num_segments"]]
    videos: dict[str, VideoEntry] = {}
    for start in range(0, len(partial), _AT_ONCE):
        clause = ids_clause("video_id", partial[start : start + _AT_ONCE])
        videos |= {row["video_id"]: VideoEntry.of_row(row) for row in segments.select(clause, VIDEO_NAMES).to_pylist()}
        segments.table.delete(clause)
    return list(videos.values())
