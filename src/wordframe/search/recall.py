"""How much stage one of a search loses: recall of the shortlist against scoring everything.

For each query the model's exact top segments are the truth; the recall is the share of them among the candidates that
the vector index hands over. Below 1 a search can miss what ``--exact`` finds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wordframe.library import Snapshot
from wordframe.search.queries import EncodedQuery, Query, encode
from wordframe.search.search import BLOCK_SEGMENTS, SHORTLIST, candidates, score_block


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


def best_segments(
    snapshot: Snapshot, queries: Sequence[EncodedQuery], rows: NDArray[np.int64], top: int
) -> list[NDArray[np.int64]]:
    """Row ids of each query's ``top`` best segments among ``rows``, every one scored; each block is read once."""
    scores = np.empty((len(queries), len(rows)), np.float32)
    for start in range(0, len(rows), BLOCK_SEGMENTS):
        block = rows[start : start + BLOCK_SEGMENTS].tolist()
        scores[:, start : start + len(block)] = score_block(snapshot, [query.features for query in queries], block)
    return [rows[np.argsort(-line, kind="stable")[:top]] for line in scores]
