"""What a model needs of a library's segments, made once and kept: one vector each, or contextual frames.

A model with one vector a video is searched by these vectors; one with a temporal head reranks by contextual frames;
any other works on the stored frames as they are and needs nothing. What is not stored (a read-only library, an
indexer at work) is made on the fly, with the same numbers: contextual frames are float16 either way.
Neighbours: ``model_table.py`` (the rows), ``models/in_use.py`` (what is computed), ``search/engine.py`` (the reader).
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

from wordframe.features import VideoFeatures
from wordframe.library.library import Library
from wordframe.library.model_table import ModelTable, contextual_schema, keys_of, vector_schema
from wordframe.models.in_use import contextualize, fit_frames, video_vectors
from wordframe.models.model import TextVideoModel

SEGMENTS_AT_ONCE = 512
COMMIT_SECONDS = 5.0

_KEY_COLUMNS = ["segment_id", "video_id", "content_hash", "num_frames"]


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
        self.keeps_something = model.one_vector or model.temporal is not None
        self._fingerprint = model.fingerprint if self.keeps_something else ""

    def missing(self) -> list[int]:
        """Row ids of the segments that nothing is stored for yet, in the snapshot that the store reads."""
        if not self.keeps_something:
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
            schema = vector_schema(self.model.dimension) if self.model.one_vector else contextual_schema()
            self._table = table = self._store.model_table(self._fingerprint, schema)
            assert table is not None
            table.drop_stale(self._store.segment_keys()[1])
            missing = self.missing()
            self._fill(table, missing, on_progress or (lambda done, total: None))
            table.tidy()
        return len(missing)

    def _fill(self, table: ModelTable, missing: list[int], on_progress: Callable[[int, int], None]) -> None:
        facts: list[dict[str, Any]] = []
        keys: list[str] = []
        cells: list[NDArray[Any]] = []
        last_commit = time.monotonic()
        on_progress(0, len(missing))
        for start in range(0, len(missing), SEGMENTS_AT_ONCE):
            block = missing[start : start + SEGMENTS_AT_ONCE]
            found = self._store.take(block, _KEY_COLUMNS)
            facts += found.to_pylist()
            keys += keys_of(found).to_pylist()
            cells += self._computed(block)
            done = start + len(block)
            if done == len(missing) or time.monotonic() - last_commit > COMMIT_SECONDS:
                table.add(facts, keys, cells)
                facts, keys, cells = [], [], []
                last_commit = time.monotonic()
            on_progress(done, len(missing))

    def features(self, row_ids: Sequence[int], columns: Sequence[str]) -> tuple[list[dict[str, Any]], VideoFeatures]:
        """Some columns and the features of some segments, as the model scores them."""
        facts, raw = self._library.read_segments(row_ids, _with_keys(columns))
        video = fit_frames(raw, self.model.max_frames)
        if self.model.temporal is None:
            return facts, video
        contextual = torch.zeros_like(video.frames)
        if len(row_ids):
            cells = np.concatenate([cell.reshape(-1) for cell in self._cells(row_ids, facts)])
            real = torch.from_numpy(cells.astype(np.float32)).view(-1, self.model.dimension)
            contextual[video.frame_mask] = real
        return facts, video.with_contextual(contextual)

    def vectors(self, row_ids: Sequence[int], columns: Sequence[str]) -> tuple[list[dict[str, Any]], Tensor]:
        """Some columns and the one vector of some segments, ``(V, D)``; frames are read only where none is stored."""
        facts = self._store.take(row_ids, _with_keys(columns)).to_pylist()
        if not facts:
            return [], torch.empty(0, self.model.dimension)
        return facts, torch.from_numpy(np.stack(self._cells(row_ids, facts)))

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
        self._table = self._table or self._store.model_table(self._fingerprint)
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

    def _cells(self, row_ids: Sequence[int], facts: Sequence[dict[str, Any]]) -> list[NDArray[Any]]:
        """The cell of each segment: stored under the key it has now, else made on the fly."""
        state = self._look()
        stored: dict[str, NDArray[Any]] = {}
        if self._table is not None and len(state.segments):
            at = np.searchsorted(state.segments, row_ids).clip(max=len(state.segments) - 1)
            places = state.places[at]
            stored = self._table.take(places[places >= 0].tolist())
        keys = keys_of(pa.Table.from_pylist([{name: fact[name] for name in _KEY_COLUMNS} for fact in facts]))
        cells = [stored.get(key) for key in keys.to_pylist()]
        unknown = [row_id for row_id, cell in zip(row_ids, cells, strict=True) if cell is None]
        made = iter(self._computed(unknown))
        return [next(made) if cell is None else cell for cell in cells]

    def _computed(self, row_ids: Sequence[int]) -> list[NDArray[Any]]:
        """Cells from the stored frames: vectors ``(D,)`` float32, or contextual frames ``(F, D)`` float16."""
        cells: list[NDArray[Any]] = []
        for start in range(0, len(row_ids), SEGMENTS_AT_ONCE):
            _, raw = self._library.read_segments(row_ids[start : start + SEGMENTS_AT_ONCE])
            video = contextualize(self.model, raw)
            if self.model.one_vector:
                cells += list(video_vectors(self.model, video).numpy())
            else:
                half = video.contextual.half().numpy()
                cells += [frames[real] for frames, real in zip(half, video.frame_mask.numpy(), strict=True)]
        return cells


def _with_keys(columns: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*columns, *_KEY_COLUMNS]))
