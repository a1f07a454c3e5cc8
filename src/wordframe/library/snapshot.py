"""A snapshot: one committed state of a library, seen through one model. It never changes, whatever is written.

    snapshot = library.snapshot()
    rows = snapshot.candidates(vector, 300)       # stage one of a search: where to look
    segments = snapshot.segments(rows)           # stage two: what the model scores

Everything that depends on a state hangs on its snapshot: the table's version, the vector index (which shares memory
with the snapshot before), which segments the model is prepared for, and the segments that were read last. So any number
of threads search one snapshot at once, each sees one state from the first look to the last, and nothing is ever out of
date. A row id means something in its own snapshot only.
Neighbours: ``library.py`` makes them, ``wordframe.search`` ranks by them, ``_row_reader.py`` reads rows,
``_prepared.py`` is what the model keeps.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from cachetools import LRUCache
from numpy.typing import NDArray
from torch import Tensor

from wordframe.addresses import is_address
from wordframe.encoders import Encoder
from wordframe.errors import NotFoundError
from wordframe.features import VideoFeatures
from wordframe.library._files import is_below
from wordframe.library._lance_index import LOOSE_ROWS, LanceIndex, OpenIndex, effort_of, rows_clause, widened
from wordframe.library._manifest import Manifest
from wordframe.library._model_table import KEY_COLUMNS, ModelTable, keys_of
from wordframe.library._place import Place
from wordframe.library._prepared import Prepared
from wordframe.library._prepared_on_disk import PreparedOnDisk
from wordframe.library._row_reader import RowReader
from wordframe.library._rows import VIDEO_NAMES, VideoEntry
from wordframe.library._segment_table import SegmentTable, first_segments, ids_clause, library_errors
from wordframe.library._segments import FACT_COLUMNS, SegmentFacts, SegmentRow, Segments, facts_of, video_of
from wordframe.library._vector_index import VectorIndex
from wordframe.library._vectors import VECTORS, is_large
from wordframe.library._video_list import VideoList, list_videos
from wordframe.models import TextVideoModel, fit_frames

KEPT_ORDERS, KEPT_COPIES = 4, 4096
SAMPLE = 256


class Snapshot:
    """One state of a library and a model. Made by ``Library.snapshot``.

    Attributes:
        place: of the library; version: the number of the state, which grows with each commit.

    Raises:
        LibraryError: from every method, when the library's files are damaged, in one line.
    """

    def __init__(
        self,
        place: Place,
        manifest: Manifest,
        table: SegmentTable,
        *,
        model: Callable[[], TextVideoModel],
        encoder: Callable[[], Encoder],
        roots: Callable[[], list[str]],
        model_table: ModelTable | None = None,
        before: Snapshot | None = None,
        open_index: OpenIndex = LanceIndex,
    ) -> None:
        self.place, self.manifest = place, manifest
        self.version, self.lineage = table.version, table.lineage
        self._table, self.model_table = table, model_table
        self._load_model, self._load_encoder, self._read_roots = model, encoder, roots
        self._index: VectorIndex | LanceIndex
        if is_large(table.table):
            self._index = open_index(table.table, effort_of(table.table), VECTORS)
        else:
            earlier = before._index if before is not None and isinstance(before._index, VectorIndex) else None
            self._index = VectorIndex(table.table, "centroids", manifest.dimension, earlier)
        self._reader = RowReader(table, manifest.dimension, is_large=isinstance(self._index, LanceIndex))
        self._listed: VideoList | None = None
        self._earlier_list: VideoList | None = None if before is None else before._listed or before._earlier_list
        self._orders: LRUCache[str, NDArray[np.int64]] = LRUCache(KEPT_ORDERS)
        self._copies: LRUCache[str, list[tuple[str, str]]] = LRUCache(KEPT_COPIES)
        self._ordering, self._listing, self._looking = threading.Lock(), threading.Lock(), threading.Lock()

    def is_of(self, table: SegmentTable, model_table: ModelTable | None) -> bool:
        """Whether these tables are at the versions that the snapshot reads."""
        mine, theirs = (each and (each.version, each.lineage) for each in (self.model_table, model_table))
        return (self.version, self.lineage, mine) == (table.version, table.lineage, theirs)

    @cached_property
    def model(self) -> TextVideoModel:
        """What scores: the model asked for, or the untrained language-video attention."""
        return self._load_model()

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder whose features the library holds, loaded at first use.

        Raises:
            LibraryError, EncoderError: it cannot be had, or is another by now.
        """
        return self._load_encoder()

    # What the library holds ------------------------------------------------------------------------------------------

    @cached_property
    def num_segments(self) -> int:
        """How many segments there are."""
        return self.count()

    @cached_property
    def num_videos(self) -> int:
        """How many videos there are."""
        return self.count_videos()

    @cached_property
    def roots(self) -> tuple[str, ...]:
        """The folders and files that were given to be indexed, absolute."""
        return tuple(self._read_roots())

    @cached_property
    def real_roots(self) -> frozenset[str]:
        """The roots on the disk with links resolved, once: what a served file must lie in."""
        return frozenset(os.path.realpath(root) for root in self.roots if not is_address(root))

    def holds(self, path: str) -> bool:
        """Whether a file, links resolved, or an object lies in a folder or prefix that was given to be indexed."""
        if is_address(path):
            return any(is_below(path, root) for root in self.roots if is_address(root))
        real = Path(os.path.realpath(path))
        return any(str(place) in self.real_roots for place in (real, *real.parents))

    def count(self, where: str | None = None) -> int:
        """How many segments pass an SQL condition, such as ``Filters.where`` makes."""
        return self._table.count(where)

    def count_videos(self, where: str | None = None) -> int:
        """How many videos pass an SQL condition."""
        return self._table.count(first_segments(where))

    def videos(self, where: str | None = None) -> list[VideoEntry]:
        """The videos that pass an SQL condition, or all, by path; who shows some of many asks ``video_page``."""
        return self._table.videos(where)

    def video_page(self, where: str | None, offset: int, limit: int) -> tuple[list[VideoEntry], int]:
        """``limit`` of the videos that pass an SQL condition, by path, and how many pass.

        Their order is found once for each condition, and kept for the last few.
        """
        order = self._list.rows if where is None else self._order(where)
        found = self._table.take(order[offset : offset + limit].tolist(), VIDEO_NAMES)
        return [VideoEntry.of_row(row) for row in found.to_pylist()], len(order)

    def _order(self, where: str) -> NDArray[np.int64]:
        with self._ordering:
            order = self._orders.get(where)
            if order is None:
                order = self._orders[where] = self._table.videos_by_path(where)
            return order

    @property
    def _list(self) -> VideoList:
        with self._listing:  # many may ask at once, one reads
            if self._listed is None:
                self._listed, self._earlier_list = list_videos(self._table, self._earlier_list), None
            return self._listed

    @property
    def folders(self) -> dict[str, tuple[int, float]]:
        """The folders that videos lie in, by name: how many do, and their seconds in all."""
        return self._list.folders

    def videos_by_id(self, video_ids: Sequence[str]) -> dict[str, VideoEntry]:
        """Some videos; those that are not here are left out."""
        return {video.video_id: video for video in self._table.videos(ids_clause("video_id", video_ids))}

    def video(self, video_id: str) -> VideoEntry:
        """A video by its id.

        Raises:
            NotFoundError: the library does not hold it.
        """
        found = self.videos_by_id([video_id]).get(video_id)
        if found is None:
            raise NotFoundError(f"no video {video_id[:64]!r} in this library, or no longer")
        return found

    def video_rows(self, video_id: str) -> list[int]:
        """Row ids of a video's segments.

        Raises:
            NotFoundError: the library does not hold it.
        """
        found = self.row_ids(ids_clause("video_id", [video_id]))
        if not found:
            raise NotFoundError(f"no video {video_id[:64]!r} in this library, or no longer")
        return found

    def segment_row(self, segment_id: str) -> int:
        """Row id of a segment.

        Raises:
            NotFoundError: the library does not hold it.
        """
        found = self.row_ids(ids_clause("segment_id", [segment_id]))
        if not found:
            raise NotFoundError(f"no segment {segment_id[:64]!r} in this library, or no longer")
        return found[0]

    def around(self, row_ids: Sequence[int], reach: int) -> dict[int, list[SegmentRow]]:
        """Each segment with up to ``reach`` before and behind it in its video, in the order of time."""
        return self._reader.around(row_ids, reach)

    def facts(self, row_ids: Sequence[int]) -> list[SegmentFacts]:
        """What a search shows of some segments, from memory where they were read before."""
        return self._reader.facts(row_ids)

    def copies(self, contents: Collection[str], where: str | None = None) -> dict[str, list[tuple[str, str]]]:
        """By the hash of a file's content: id and path of each video of it that passes an SQL condition."""
        found: dict[str, list[tuple[str, str]]] = {}
        if where is None:
            with self._looking:
                found = {content: self._copies[content] for content in contents if content in self._copies}
        missing = [content for content in contents if content not in found]
        if missing:
            clause = first_segments(ids_clause("content_hash", missing))
            condition = clause if where is None else f"{clause} AND ({where})"
            for row in self.select(condition, ["content_hash", "video_id", "path_bytes"]):
                found.setdefault(row["content_hash"], []).append((row["video_id"], os.fsdecode(row["path_bytes"])))
            if where is None:
                with self._looking:
                    self._copies.update({content: found.get(content, []) for content in missing})
        return found

    def select(self, where: str, columns: Sequence[str]) -> list[dict[str, Any]]:
        """Some columns of the segments that pass an SQL condition, by the names of the table."""
        return list(self._table.select(where, columns).to_pylist())

    def row_ids(self, where: str | None = None) -> list[int]:
        """Row ids of the segments that pass an SQL condition, or of all."""
        return self._table.row_ids(where)

    def row_blocks(self, size: int) -> Iterator[NDArray[np.int64]]:
        """Row ids of all segments, at most ``size`` at a time: of many millions nobody holds them all."""
        return self._table.row_blocks(size)

    @cached_property
    def sample(self) -> list[int]:
        """Row ids of at most 256 segments, evenly spread, the same of the same library."""
        return self._table.spread(SAMPLE)

    # Stage one -------------------------------------------------------------------------------------------------------

    def candidates(self, vector: NDArray[np.float32], size: int, where: str | None = None) -> list[int]:
        """Row ids of at most ``size`` segments worth a score, the nearest to ``vector (D,)`` by the model's index.

        A model with one vector a video is asked by that vector, which is exact. Where it is not prepared for some
        segments, the best ``size`` of these by their centroids come in addition, so the work stays bounded.

        Args:
            where: an SQL condition on segments; a library of no more than ``size`` is given whole.
        """
        if isinstance(self._index, LanceIndex) and (self.model_table is None or not self.model.one_vector):
            with library_errors(self.place, "read", self._table.table):
                return self._index.nearest(vector, size, where)  # it works out the condition itself
        if isinstance(self._prepared, PreparedOnDisk):
            return self._prepared.found(vector, size, where, self.nearest)
        allowed = None if where is None else np.array(self.row_ids(where), np.int64)
        if (self.num_segments if allowed is None else len(allowed)) <= size:
            return self.row_ids() if allowed is None else allowed.tolist()
        if not self.model.one_vector:
            return self.nearest(vector, size, allowed)
        return self._prepared.nearest(vector, size, allowed, self.nearest)

    def nearest(self, vector: NDArray[np.float32], size: int, among: NDArray[np.int64] | None = None) -> list[int]:
        """Row ids of the ``size`` segments with a centroid nearest to ``vector (D,)``, best first.

        Args:
            among: ids of the rows that may be given; None for all.
        """
        with library_errors(self.place, "read", self._table.table):
            if isinstance(self._index, VectorIndex):
                return self._index.nearest(vector, size, among)
            if among is None or len(among) <= LOOSE_ROWS:
                return self._index.nearest(vector, size, None if among is None else rows_clause(among.tolist()))
            index, total = self._index, self.num_segments

            def look(limit: int) -> list[int]:
                found = index.nearest(vector, limit)
                return [row for row, is_in in zip(found, np.isin(found, among).tolist(), strict=True) if is_in]

            return widened(look, size, len(among) / total, total)

    def warm(self) -> None:
        """Load what stage one compares, with the compiled loop that does it, and the list of videos: for who will
        answer many searches."""
        _ = self._list
        if isinstance(self._index, VectorIndex):
            with library_errors(self.place, "read", self._table.table):
                self._index.warm()

    @property
    def disk_index(self) -> LanceIndex | None:
        """The index on disk of a large library; None where codes in memory are compared."""
        return self._index if isinstance(self._index, LanceIndex) else None

    # Stage two -------------------------------------------------------------------------------------------------------

    def segments(self, row_ids: Sequence[int]) -> Segments:
        """Some segments as the model scores them, in that order: from memory, the disk, or made of their frames."""
        wants_cells = bool(self._prepared.columns) and not self.model.one_vector
        rows = self._reader.rows(row_ids, self._prepared.cells if wants_cells else None)
        video = fit_frames(video_of(rows, self.manifest.dimension), self.model.max_frames)
        if "contextual" in self._prepared.columns:
            cells = [row.cells["contextual"].reshape(-1, self.manifest.dimension) for row in rows]
            length = video.frames.shape[1]
            made = VideoFeatures.from_ragged(cells, length=length, dimension=self.manifest.dimension)
            video = video.with_contextual(made.frames)
        statistics = [row.cells["statistics"] for row in rows] if "statistics" in self._prepared.columns else None
        return Segments([row.facts for row in rows], video, statistics)

    def vectors(self, row_ids: Sequence[int]) -> tuple[list[SegmentFacts], Tensor]:
        """Facts of some segments and the model's one vector of each, ``(V, D)``; frames are read where none is kept."""
        found = self._table.take(row_ids, list(dict.fromkeys([*FACT_COLUMNS, *KEY_COLUMNS])))
        if not len(found):
            return [], torch.empty(0, self.manifest.dimension)
        cells = self._prepared.cells(row_ids, keys_of(found).to_pylist())
        return facts_of(found), torch.from_numpy(np.stack([cell["vector"] for cell in cells]))

    def frames(self, row_ids: Sequence[int]) -> VideoFeatures:
        """The raw frames of some segments, with ``seconds``; they stand in for contextual ones, too."""
        return self._reader.frames(row_ids)

    # What the model keeps --------------------------------------------------------------------------------------------

    @cached_property
    def _prepared(self) -> Prepared:
        is_on_disk = self.model_table is not None and self.model_table.is_on_disk
        kind = PreparedOnDisk if is_on_disk else Prepared
        return kind(self._table, self.model_table, self.model, self._reader.frames)  # none of it holds the snapshot

    @property
    def num_groups(self) -> int:
        """How many groups of rows the files of the segments had so far: no row id is that times 2³² or more."""
        return self._table.num_groups

    def unprepared(self) -> list[int]:
        """Row ids of the segments that nothing is kept for, though the model needs it."""
        return self._prepared.missing()

    def keys(self) -> pa.Array:
        """The keys of all segments, in no order."""
        return keys_of(self._table.select(None, KEY_COLUMNS))
