"""How much stage one of a search loses: recall of the shortlist against scoring everything.

For each query the model's exact top segments are the truth; the recall is the share of them among the candidates that
the vector index hands over. Below 1 a search can miss what ``--exact`` finds. Of an index on disk it also tells how
much must be read, which ``wordframe doctor --recall`` keeps with the library.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wordframe.library import Effort, LanceIndex, Snapshot
from wordframe.search.queries import EncodedQuery, Query, encode
from wordframe.search.search import BLOCK_SEGMENTS, SHORTLIST, candidates, score_block

ENOUGH = 0.99
"""A search may lose one of a hundred of the exact answers to be faster."""
_REFINES = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class ShortlistRecall:
    """Recall of the exact top ``top`` segments in shortlists of ``shortlist``, over ``queries`` sentences."""

    recall: float
    top: int
    shortlist: int
    queries: int
    segments: int


def shortlist_recall(
    snapshot: Snapshot, sentences: Sequence[str], *, top: int = 10, shortlist: int = SHORTLIST
) -> ShortlistRecall:
    """Measure it on a library. One that is no larger than the shortlist has recall 1 by construction.

    All sentences are scored in one pass over the library.
    """
    queries = [encode(snapshot, Query(text=sentence)) for sentence in sentences]
    count, recall = snapshot.num_segments, 1.0
    if count > shortlist and queries:
        best = best_segments(snapshot, queries, top)
        listed = [candidates(snapshot, query, shortlist) for query in queries]
        recall = float(np.mean([np.isin(exact, rows) for exact, rows in zip(best, listed, strict=True)]))
    return ShortlistRecall(recall, top, shortlist, len(sentences), count)


@dataclass(frozen=True)
class MeasuredEffort:
    """What one way of reading the index on disk finds, and how long a look takes."""

    effort: Effort
    recall: float
    median_ms: float


def measured_efforts(
    snapshot: Snapshot, sentences: Sequence[str], *, top: int = 10, shortlist: int = SHORTLIST
) -> list[MeasuredEffort]:
    """The share of the exact top ``top`` segments in the shortlist for each way of reading; [] without such an index.

    A tenth, a third and all of the index's partitions are read, and nothing, or two to sixteen times the shortlist, is
    compared exactly.
    """
    index = snapshot.disk_index
    if index is None:
        return []
    queries = [encode(snapshot, Query(text=sentence)) for sentence in sentences]
    best = best_segments(snapshot, queries, top)
    parts = sorted({max(1, index.num_partitions // share) for share in (10, 3, 1)})
    return [
        _measured(index, snapshot, queries, best, Effort(partitions, refine), shortlist)
        for partitions in parts
        for refine in _REFINES
    ]


def _measured(
    whole: LanceIndex,
    snapshot: Snapshot,
    queries: Sequence[EncodedQuery],
    best: NDArray[np.int64],
    effort: Effort,
    size: int,
) -> MeasuredEffort:
    index, found, times = whole.by(effort), 0, []
    for query, exact in zip(queries, best, strict=True):
        vector = snapshot.model.search_vectors(query.features)[0].numpy()
        started = time.perf_counter()
        rows = index.nearest(vector, size)
        times.append(1000 * (time.perf_counter() - started))
        found += int(np.isin(exact, rows).sum())
    return MeasuredEffort(effort, found / best.size, float(np.median(times)))


def chosen(measured: Sequence[MeasuredEffort]) -> MeasuredEffort:
    """The fastest of those that find ``ENOUGH``, or what finds most.

    >>> ways = [MeasuredEffort(Effort(4, 1), 0.9, 5), MeasuredEffort(Effort(40, 2), 0.995, 30)]
    >>> chosen(ways).effort, chosen(ways[:1]).recall
    (Effort(partitions=40, refine=2), 0.9)
    """
    enough = [each for each in measured if each.recall >= ENOUGH]
    if enough:
        return min(enough, key=lambda each: each.median_ms)
    return max(measured, key=lambda each: each.recall)


def best_segments(snapshot: Snapshot, queries: Sequence[EncodedQuery], top: int) -> NDArray[np.int64]:
    """Row ids ``(T, top)`` of each query's best segments, all segments scored; each block is read once and let go."""
    scores = np.empty((len(queries), 0), np.float32)
    rows = np.empty((len(queries), 0), np.int64)
    for block in snapshot.row_blocks(BLOCK_SEGMENTS):
        found = score_block(snapshot, [query.features for query in queries], block.tolist())
        scores = np.concatenate([scores, found], axis=1)
        rows = np.concatenate([rows, np.broadcast_to(block, found.shape)], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :top]
        scores, rows = np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)
    return rows
