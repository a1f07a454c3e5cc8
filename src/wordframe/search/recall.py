"""How much stage one of a search loses: recall of the shortlist against scoring everything.

For each query the model's exact top segments are the truth; the recall is the share of them among the candidates that
the vector index hands over. Below 1 a search can miss what ``--exact`` finds.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from wordframe.search.engine import SearchEngine
from wordframe.search.shortlist import DEFAULT_SIZE

_SUBJECTS = "a man|a woman|a child|two people|a crowd|a dog|a cat|a bird|a horse|a car|a train|a boat|a plane".split(
    "|"
)
_DOINGS = "is running|is talking|is eating|is moving slowly|is playing|is standing still|is turning around".split("|")
_PLACES = "in a kitchen|on a street|at the beach|in a forest|on a stage|in the snow|at night|in an office".split("|")


def plain_sentences(count: int, *, seed: int = 0) -> list[str]:
    """Different everyday sentences, always the same ones for a seed.

    >>> plain_sentences(2)[0].startswith(("a ", "two "))
    True
    """
    every = [f"{who} {does} {where}" for who in _SUBJECTS for does in _DOINGS for where in _PLACES]
    return random.Random(seed).sample(every, count)


@dataclass(frozen=True)
class FirstStage:
    """Recall of the exact top ``top`` segments in shortlists of ``shortlist``, over ``queries`` sentences."""

    recall: float
    top: int
    shortlist: int
    queries: int
    segments: int


def first_stage_recall(
    engine: SearchEngine, sentences: Sequence[str], *, top: int = 10, shortlist: int = DEFAULT_SIZE
) -> FirstStage:
    """Measure it on the library of ``engine``. A library no larger than the shortlist has recall 1 by construction."""
    everything = engine.library.store.row_ids()
    found = wanted = 0
    for sentence in sentences:
        query = engine.encode_query(text=sentence)
        rows = engine.score_segments(query, everything)
        best = sorted(zip([row["score"] for row in rows], everything, strict=True), reverse=True)[:top]
        listed = set(engine.shortlist(query, shortlist))
        found += sum(row_id in listed for _, row_id in best)
        wanted += len(best)
    return FirstStage(found / max(wanted, 1), top, shortlist, len(sentences), len(everything))
