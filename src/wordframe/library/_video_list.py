"""The videos of a library by path, and the folders that they lie in: from state to state what stayed is not read again.

A list of a hundred thousand paths takes a tenth of a second to read and to sort. Of a state that follows another only
the groups of rows are read that are new, or of which a row or a cell changed; the rest is the list before.
Neighbours: ``snapshot.py`` has one for each state, ``_segment_table.py`` reads.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from wordframe.library._segment_table import SegmentTable, first_segments

_MICROS = 1_000_000
"""Seconds are added up as whole numbers, so that what is taken off again leaves nothing."""
_FEW = 20
"""New videos are put into their places one by one if they are so many times fewer than all; else all are sorted."""
_COLUMNS = ("path_bytes", "duration_seconds")
Totals = dict[bytes, tuple[int, int]]


@dataclass(frozen=True)
class VideoList:
    """The videos of one state.

    groups: the groups of rows by number, and what each consists of.
    rows: ids of the first segments ``(N,)``, by path; paths, micros: of these videos.
    totals: videos and microseconds of each folder.
    """

    groups: Mapping[int, str]
    rows: NDArray[np.int64]
    paths: pa.Array
    micros: NDArray[np.int64]
    totals: Totals

    @cached_property
    def folders(self) -> dict[str, tuple[int, float]]:
        """The folders that videos lie in, by name: how many do, and their seconds in all."""
        found = {os.fsdecode(folder): (count, micros / _MICROS) for folder, (count, micros) in self.totals.items()}
        return dict(sorted(found.items()))


def list_videos(table: SegmentTable, before: VideoList | None = None) -> VideoList:
    """The videos of a table at its version.

    Args:
        before: the list of an earlier version of the same table.
    """
    groups = table.groups()
    same = [] if before is None else [number for number, what in before.groups.items() if groups.get(number) == what]
    if before is None or not same:
        rows, paths, micros = _by_path(table.select(first_segments(None), _COLUMNS, row_ids=True))
        return VideoList(groups, rows, paths, micros, _added_up(paths, micros))
    stays = np.isin(before.rows >> 32, same)
    rows, paths, micros = _by_path(table.select_in_groups(groups.keys() - same, first_segments(None), _COLUMNS))
    gone = _added_up(before.paths.filter(pa.array(~stays)), before.micros[~stays])
    kept = before.paths if stays.all() else before.paths.filter(pa.array(stays))
    order = _merged(kept, paths)
    return VideoList(
        groups,
        np.concatenate([before.rows[stays], rows])[order],
        pa.concat_arrays([kept, paths]).take(pa.array(order)),
        np.concatenate([before.micros[stays], micros])[order],
        _changed(before.totals, gone, _added_up(paths, micros)),
    )


def _by_path(found: pa.Table) -> tuple[NDArray[np.int64], pa.Array, NDArray[np.int64]]:
    paths = found["path_bytes"].combine_chunks()
    order = pc.array_sort_indices(paths)
    seconds = found["duration_seconds"].to_numpy().astype(np.float64)[order.to_numpy()]
    rows = found["_rowid"].to_numpy().astype(np.int64)[order.to_numpy()]
    return rows, paths.take(order), np.rint(seconds * _MICROS).astype(np.int64)


def _merged(kept: pa.Array, new: pa.Array) -> NDArray[np.int64]:
    """The places of two sorted lists, one behind the other, in the order of both together."""
    if len(new) * _FEW > len(kept):
        order: NDArray[np.int64] = pc.array_sort_indices(pa.concat_arrays([kept, new])).to_numpy().astype(np.int64)
        return order
    places = [bisect_left(range(len(kept)), path, key=lambda place: kept[place].as_py()) for path in new.to_pylist()]
    return np.insert(np.arange(len(kept)), places, np.arange(len(kept), len(kept) + len(new)))


def _added_up(paths: pa.Array, micros: Iterable[int]) -> Totals:
    totals: Totals = {}
    for path, of_video in zip(paths.to_pylist(), np.asarray(micros).tolist(), strict=True):
        folder = os.path.dirname(path)
        count, total = totals.get(folder, (0, 0))
        totals[folder] = (count + 1, total + of_video)
    return totals


def _changed(totals: Totals, gone: Totals, new: Totals) -> Totals:
    found = dict(totals)
    for changes, sign in ((gone, -1), (new, 1)):
        for folder, (count, micros) in changes.items():
            had = found.get(folder, (0, 0))
            found[folder] = (had[0] + sign * count, had[1] + sign * micros)
    return {folder: total for folder, total in found.items() if total[0]}
