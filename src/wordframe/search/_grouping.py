"""From scored segments to videos with their best moments; copies of a file are one video.

Neighbours: ``search.py`` scores, ``results.py`` is what comes out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wordframe.library import SegmentFacts
from wordframe.search.results import Hit, Moment


class Scores:
    """Scores of segments as they come in: 20 bytes a segment, since an exact search meets all of a library."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._videos: dict[str, None] = {}
        self._blocks: list[tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]] = []

    @property
    def num_videos(self) -> int:
        """How many videos have a scored segment; copies of one count once."""
        return len(self._codes)

    def videos(self) -> list[str]:
        """The ids of all, copies included."""
        return list(self._videos)

    def add(self, row_ids: Sequence[int], facts: Sequence[SegmentFacts], scores: NDArray[np.float32]) -> None:
        """Note the scores of some segments."""
        self._videos.update(dict.fromkeys(fact.video_id for fact in facts))
        codes = [self._codes.setdefault(fact.content, len(self._codes)) for fact in facts]
        self._blocks.append((np.array(row_ids, np.int64), np.array(codes, np.int32), scores))

    def of_best_videos(self, top: int) -> dict[int, float]:
        """Row ids and scores of all scored segments of the ``top`` videos with the best one, and of those that tie."""
        if not self._blocks:
            return {}
        row_ids, codes, scores = (np.concatenate(parts) for parts in zip(*self._blocks, strict=True))
        best = np.full(len(self._codes), -np.inf, np.float32)
        np.maximum.at(best, codes, scores)
        if top < len(best):
            wanted = best >= np.partition(best, len(best) - top)[len(best) - top]
        else:
            wanted = np.ones(len(best), bool)
        chosen = wanted[codes]
        return dict(zip(row_ids[chosen].tolist(), scores[chosen].tolist(), strict=True))


def group_by_video(facts: Sequence[SegmentFacts], scores: Sequence[float], *, top: int, moments: int) -> list[Hit]:
    """Hits from scored segments: videos by their best segment; ties by path, then time. Of copies the first is shown.

    The peak of each moment is its start, until somebody looks into its frames.
    """
    ordered = sorted(zip(facts, scores, strict=True), key=lambda pair: (-pair[1], pair[0].path, pair[0].start_seconds))
    by_content: dict[str, list[tuple[SegmentFacts, float]]] = {}
    for pair in ordered:
        found = by_content.setdefault(pair[0].content, [])
        if not found or found[0][0].video_id == pair[0].video_id:
            found.append(pair)
    return [_hit(rank, segments, moments) for rank, segments in enumerate(list(by_content.values())[:top], start=1)]


def _hit(rank: int, segments: Sequence[tuple[SegmentFacts, float]], moments: int) -> Hit:
    kept: list[Moment] = []
    for fact, score in segments:
        moment = Moment(
            segment_id=fact.segment_id,
            start_seconds=fact.start_seconds,
            end_seconds=fact.end_seconds,
            peak_seconds=fact.start_seconds,
            score=score,
        )
        if not any(mostly_same(moment, other) for other in kept):
            kept.append(moment)
        if len(kept) == moments:
            break
    best, (video, _) = kept[0], segments[0]
    return Hit(
        rank=rank,
        score=best.score,
        path=video.path,
        start_seconds=best.start_seconds,
        end_seconds=best.end_seconds,
        video_id=video.video_id,
        duration_seconds=video.duration_seconds,
        moments=tuple(kept),
    )


def mostly_same(one: Moment, other: Moment) -> bool:
    """Whether the shorter of two overlapping windows lies half or more in the other."""
    shared = min(one.end_seconds, other.end_seconds) - max(one.start_seconds, other.start_seconds)
    shorter = min(one.end_seconds - one.start_seconds, other.end_seconds - other.start_seconds)
    return shared > 0 and shared >= 0.5 * shorter
