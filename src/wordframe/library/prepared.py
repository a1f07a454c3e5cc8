"""What a model needs of a library's segments, made once and kept: one vector each, or what reranking reads.

A model with one vector a video is searched by these vectors; one with a temporal head reranks by contextual frames; a
similarity may keep some numbers of each segment's frames that take long to make (TC-MGC). Any other works on the stored
frames as they are and needs nothing. What is not stored (a read-only library, an indexer at work) is made on the fly,
with the same result: contextual frames are float16 either way, and numbers are made of them.
Neighbours: ``model_table.py`` (the rows), ``segment_cache.py`` (those read last), ``models/in_use.py`` (what is
computed), ``search/engine.py`` (the reader).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from wordframe.features import TextFeatures, VideoFeatures
from wordframe.library.library import Library
from wordframe.library.model_table import Made, ModelTable, keys_of, model_schema
from wordframe.library.segment_cache import SegmentCache, SegmentRow
from wordframe.models import TextVideoModel, contextualize, fit_frames, score, video_numbers, video_vectors

SEGMENTS_AT_ONCE = 512
COMMIT_SECONDS = 5.0
CACHE_MB = 256
"""For candidates of earlier searches: some 17,000 segments of 12 frames at D = 512."""
MOST_KEPT_AT_ONCE = 1024
FACTS = ("segment_id", "video_id", "path_bytes", "duration_seconds", "start_seconds", "end_seconds")
"""The columns of a segment that a search shows."""
_ONLY_KEYS = ("content_hash", "num_frames")
_KEY_COLUMNS = ["segment_id", "video_id", *_ONLY_KEYS]


@dataclass(frozen=True)
class _State:
    """Which row of the model's table belongs to which segment, at one pair of snapshots.

    segments: row ids ``(N,)``, ascending; places: the row id in the model's table, -1 where there is none.
    """

    versions: tuple[int, int]
    segments: NDArray[np.int64]
    places: NDArray[np.int64]


class Prepared:
    """One model on one library."""

    def __init__(self, library: Library, model: TextVideoModel) -> None:
        self._library, self._store, self.model = library, library.store, model
        self._table: ModelTable | None = None
        self._state: _State | None = None
        self._cache = SegmentCache(CACHE_MB * 2**20)
        self._columns = _columns_of(model)
        self._reranks_by_made = bool(self._columns) and not model.one_vector
        self._table_name = "-".join([model.fingerprint, *self._columns]) if self._columns else ""

    def missing(self) -> list[int]:
        """Row ids of the segments that nothing is stored for yet, in the snapshot that the store reads."""
        if not self._columns:
            return []
        state = self._look()
        rows: list[int] = state.segments[state.places < 0].tolist()
        return rows

    def prepare(self, on_progress: Callable[[int, int], None] | None = None) -> int:
        """Make and store what is missing; gives the number of segments it was made for.

        A run that is cut short goes on from its last commit, a few seconds before.

        Args:
            on_progress: called with the segments done and their total, first with 0.

        Raises:
            LibraryError: an indexer or another preparer is at work, or the library cannot be written.
        """
        if not self.missing():
            return 0
        with self._library.locked():
            self._store.refresh()
            schema = model_schema(self._columns, self.model.dimension)
            self._table = table = self._store.model_table(self._table_name, schema)
            assert table is not None
            table.drop_stale(self._store.segment_keys()[1])
            missing = self.missing()
            self._fill(table, missing, on_progress or (lambda done, total: None))
            table.tidy()
        return len(missing)

    def _fill(self, table: ModelTable, missing: list[int], on_progress: Callable[[int, int], None]) -> None:
        facts: list[dict[str, Any]] = []
        keys: list[str] = []
        made: list[Made] = []
        last_commit = time.monotonic()
        on_progress(0, len(missing))
        for start in range(0, len(missing), SEGMENTS_AT_ONCE):
            block = missing[start : start + SEGMENTS_AT_ONCE]
            found = self._store.take(block, _KEY_COLUMNS)
            facts += found.to_pylist()
            keys += keys_of(found).to_pylist()
            made += self._computed(block)
            done = start + len(block)
            if done == len(missing) or time.monotonic() - last_commit > COMMIT_SECONDS:
                table.add(facts, keys, made)
                facts, keys, made = [], [], []
                last_commit = time.monotonic()
            on_progress(done, len(missing))

    def features(self, row_ids: Sequence[int], columns: Sequence[str]) -> tuple[list[dict[str, Any]], VideoFeatures]:
        """Some of ``FACTS`` and the features of some segments, as the model scores them."""
        rows = self._read(row_ids)
        return _facts(rows, columns), self._video(rows)

    def logits(
        self, text: TextFeatures, row_ids: Sequence[int], columns: Sequence[str]
    ) -> tuple[list[dict[str, Any]], Tensor]:
        """Some of ``FACTS`` of some segments, and the model's logits ``(T, V)``."""
        rows = self._read(row_ids)
        numbers = [row.made["numbers"] for row in rows] if "numbers" in self._columns else None
        return _facts(rows, columns), score(self.model, text, self._video(rows), numbers)

    def _video(self, rows: Sequence[SegmentRow]) -> VideoFeatures:
        counts = torch.tensor([len(row.frames) for row in rows], dtype=torch.long)
        mask = torch.arange(int(counts.max()) if rows else 1) < counts[:, None]
        frames = _padded([row.frames for row in rows], mask, self.model.dimension)
        seconds = _padded([row.seconds for row in rows], mask, 1)[..., 0]
        video = fit_frames(VideoFeatures(frames, frames, mask, seconds), self.model.max_frames)
        if "contextual" not in self._columns:
            return video
        cells = [row.made["contextual"] for row in rows]
        return video.with_contextual(_padded(cells, video.frame_mask, self.model.dimension))

    def _read(self, row_ids: Sequence[int]) -> list[SegmentRow]:
        """Rows from memory or the disk; what a whole scan reads passes memory by."""
        self._cache.belongs_to(self._look().versions if self._reranks_by_made else self._store.version())
        kept = [self._cache.get(row_id) for row_id in row_ids]
        missing = [row_id for row_id, row in zip(row_ids, kept, strict=True) if row is None]
        fresh = self._read_from_disk(missing)
        if len(row_ids) <= MOST_KEPT_AT_ONCE:
            for row_id, row in zip(missing, fresh, strict=True):
                self._cache.put(row_id, row)
        rest = iter(fresh)
        return [next(rest) if row is None else row for row in kept]

    def _read_from_disk(self, row_ids: Sequence[int]) -> list[SegmentRow]:
        if not row_ids:
            return []
        table = self._store.take(row_ids, [*FACTS, *_ONLY_KEYS, "frames", "seconds"])
        facts = table.select([*FACTS, *_ONLY_KEYS]).to_pylist()
        made = self._made(row_ids, facts) if self._reranks_by_made else [Made()] * len(facts)
        cells = (np.frombuffer(cell, np.float16) for cell in table["frames"].to_pylist())
        frames = [cell.reshape(-1, self.model.dimension) for cell in cells]
        seconds = [np.array(cell, np.float32) for cell in table["seconds"].to_pylist()]
        return [SegmentRow(*parts) for parts in zip(facts, frames, seconds, made, strict=True)]

    def vectors(self, row_ids: Sequence[int], columns: Sequence[str]) -> tuple[list[dict[str, Any]], Tensor]:
        """Some columns and the one vector of some segments, ``(V, D)``; frames are read only where none is stored."""
        facts = self._store.take(row_ids, list(dict.fromkeys([*columns, *_KEY_COLUMNS]))).to_pylist()
        if not facts:
            return [], torch.empty(0, self.model.dimension)
        return facts, torch.from_numpy(np.stack([one["vector"] for one in self._made(row_ids, facts)]))

    def nearest(self, vector: NDArray[np.float32], size: int, where: str | None) -> list[int]:
        """Row ids of the segments whose vectors are nearest to ``vector (D,)``, and of those without a stored one."""
        state = self._look()
        unknown = state.segments[state.places < 0].tolist()
        if unknown and where is not None:
            unknown = sorted(set(unknown) & set(self._store.row_ids(where)))
        if self._table is None:
            return list(unknown)
        by_place = np.argsort(state.places)
        found = np.array(self._table.nearest(vector, size, where), np.int64)
        at = np.searchsorted(state.places, found, sorter=by_place).clip(max=len(by_place) - 1)
        hit = by_place[at]
        known: list[int] = state.segments[hit[state.places[hit] == found]].tolist()
        return known + list(unknown)

    def _look(self) -> _State:
        """Match the two tables as they are now; the last answer where neither has changed."""
        self._table = self._table or self._store.model_table(self._table_name)
        versions = (self._store.version(), -1 if self._table is None else self._table.refresh())
        if self._state is None or self._state.versions != versions:
            segments, keys = self._store.segment_keys()
            order = np.argsort(segments)
            places = np.full(len(segments), -1, np.int64)
            if self._table is not None:
                rows, known = self._table.keys()
                index = pc.fill_null(pc.index_in(keys, value_set=known), -1).to_numpy(zero_copy_only=False)
                places[index >= 0] = rows[index[index >= 0]]
            self._state = _State(versions, segments[order], places[order])
        return self._state

    def _made(self, row_ids: Sequence[int], facts: Sequence[dict[str, Any]]) -> list[Made]:
        """What was made of each segment: stored under the key it has now, else made on the fly."""
        state = self._look()
        stored: dict[str, Made] = {}
        if self._table is not None and len(state.segments):
            at = np.searchsorted(state.segments, row_ids).clip(max=len(state.segments) - 1)
            places = state.places[at]
            stored = self._table.take(places[places >= 0].tolist())
        keys = keys_of(pa.Table.from_pylist([{name: fact[name] for name in _KEY_COLUMNS} for fact in facts]))
        found = [stored.get(key) for key in keys.to_pylist()]
        unknown = [row_id for row_id, one in zip(row_ids, found, strict=True) if one is None]
        computed = iter(self._computed(unknown))
        return [next(computed) if one is None else one for one in found]

    def _computed(self, row_ids: Sequence[int]) -> list[Made]:
        """What is kept of some segments, from their stored frames."""
        made: list[Made] = []
        for start in range(0, len(row_ids), SEGMENTS_AT_ONCE):
            _, raw = self._library.read_segments(row_ids[start : start + SEGMENTS_AT_ONCE])
            made += self._made_of(contextualize(self.model, raw))
        return made

    def _made_of(self, video: VideoFeatures) -> list[Made]:
        columns: dict[str, Sequence[NDArray[Any]]] = {}
        if "vector" in self._columns:
            columns["vector"] = list(video_vectors(self.model, video).numpy())
        if "contextual" in self._columns:
            half, mask = video.contextual.half(), video.frame_mask.numpy()
            columns["contextual"] = [frames[real].ravel() for frames, real in zip(half.numpy(), mask, strict=True)]
            video = video.with_contextual(half.float())
        if "numbers" in self._columns:
            columns["numbers"] = video_numbers(self.model, video)
        return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def _columns_of(model: TextVideoModel) -> list[str]:
    """What is kept for a model, by the names of ``model_table.py``."""
    if model.one_vector:
        return ["vector"]
    contextual = [] if model.temporal is None else ["contextual"]
    return contextual + ["numbers"] * model.similarity.keeps_numbers


def _facts(rows: Sequence[SegmentRow], columns: Sequence[str]) -> list[dict[str, Any]]:
    return [{name: row.facts[name] for name in columns} for row in rows]


def _padded(cells: Sequence[NDArray[Any]], mask: Tensor, size: int) -> Tensor:
    """Numbers of the real frames of each video, ``size`` a frame, as ``(V, F, size)`` float32; padding holds zeros."""
    if not cells:
        return torch.zeros(*mask.shape, size)
    real = torch.from_numpy(np.concatenate([cell.ravel() for cell in cells])).float().view(-1, size)
    if mask.all():
        return real.view(*mask.shape, size)
    out = torch.zeros(*mask.shape, size)
    out[mask] = real
    return out
