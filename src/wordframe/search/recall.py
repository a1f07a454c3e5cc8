"""How much stage one of a search loses: recall of the shortlist against scoring everything.

For each query the model's exact top segments are the truth; the recall is the share of them among the candidates that
the vector index hands over. Below 1 a search can miss what ``--exact`` finds. Of
an index on disk it also tells how much must be read, which ``wordframe doctor --recall`` keeps with the library.
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
    rows = np.array(snapshot.row_ids(), np.int64)
    best: list[NDArray[np.int64]] = []
    if len(rows) > shortlist:
        best = best_segments(snapshot, queries, rows, top)
    found = wanted = 0
    for query, exact in zip(queries, best, strict=bool(best)):
        found += int(np.isin(exact, candidates(snapshot, query, shortlist)).sum())
        wanted += len(exact)
    return ShortlistRecall(found / wanted if wanted else 1.0, top, shortlist, len(sentences), len(rows))


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

    A tenth, a third and all of the index's partitions are read, and nothing, twice or four times the shortlist is
    compared exactly.
    """
    index = snapshot.disk_index
    if index is None:
        return []
    queries = [encode(snapshot, Query(text=sentence)) for sentence in sentences]
    best = best_segments(snapshot, queries, np.array(snapshot.row_ids(), np.int64), top)
    parts = sorted({max(1, index.num_partitions // share) for share in (10, 3, 1)})
    return [
        _measured(index, snapshot, queries, best, Effort(partitions, refine), shortlist)
        for partitions in parts
        for refine in (1, 2, 4)
    ]


def _measured(
    whole: LanceIndex,
    snapshot: Snapshot,
    queries: Sequence[EncodedQuery],
    best: Sequence[NDArray[np.int64]],
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
    return MeasuredEffort(effort, found / sum(map(len, best)), float(np.median(times)))


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


def best_segments(
    snapshot: Snapshot, queries: Sequence[EncodedQuery], rows: NDArray[np.int64], top: int
) -> list[NDArray[np.int64]]:
    """Row ids of each query's ``top`` best segments among ``rows``, every one scored; each block is read once."""
    scores = np.empty((len(queries), len(rows)), np.float32)
    for start in range(0, len(rows), BLOCK_SEGMENTS):
        block = rows[start : start + BLOCK_SEGMENTS].tolist()
        scores[:, start : start + len(block)] = score_block(snapshot, [query.features for query in queries], block)
    return [rows[np.argsort(-line, kind="stable")[:top]] for line in scores]
