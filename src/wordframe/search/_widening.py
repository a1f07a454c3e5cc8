"""From the segment that answers best to the moment around it: neighbours that show the same belong to it.

Segments are made before anybody asks, of at most 12 frames, so what lasts longer comes in pieces. A moment takes in the
segments before and behind it, one after the other, as long as their mean direction lies nearer to that of the found one
than half way from what is usual around it (the median of the nine segments about it, which makes no difference between
a film of many places and a lecture) to the very same. It stops at a gap, and at a minute.

``benchmarks/moments.py`` compares what was tried. Taking in neighbours by their scores needs the level of chance of
each query and finds no better moments; boundaries where the frames' cosines with the query fall off find worse ones:
cosines of single frames are noisy, and cuts are where pictures change.
Neighbours: ``search.py`` calls it, ``library/_segmenting.py`` made the segments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from wordframe.library import Snapshot
from wordframe.search._grouping import mostly_same
from wordframe.search.results import Hit, Moment

REACH = 4
"""Segments looked at to either side."""
LIKENESS = 0.5
"""How far from the usual likeness to none at all a segment must lie to be taken in."""
MAX_SECONDS = 59.9
"""No moment is made longer: a server cuts out a minute at most, and times are rounded on the way there."""
_SAME_TIME = 1e-3


def widened(spans: NDArray[np.float64], directions: NDArray[np.float64], place: int) -> tuple[float, float]:
    """The moment ``[start, end)`` around the segment ``place``.

    Args:
        spans: ``(N, 2)``, start and end of the segments about it in the order of time; directions: ``(N, D)``, of
            length 1.

    >>> directions = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.6, 0.8]])
    >>> widened(np.array([[0.0, 5.0], [5.0, 17.0], [17.0, 20.0], [20.0, 24.0]]), directions, 1)
    (5.0, 20.0)
    """
    likeness = directions @ directions[place]
    others = np.sort(np.concatenate([likeness[:place], likeness[place + 1 :]]))
    first = last = place
    if len(others) > 1:  # one neighbour alone says nothing of what is usual
        usual = (others[(len(others) - 1) // 2] + others[len(others) // 2]) / 2  # the median, in a fifth of its time
        needed = usual + LIKENESS * (1.0 - usual)
        while True:
            beside = [
                (likeness[each], each)
                for each, joins in (
                    (first - 1, first > 0 and abs(spans[first - 1, 1] - spans[first, 0]) < _SAME_TIME),
                    (last + 1, last + 1 < len(spans) and abs(spans[last + 1, 0] - spans[last, 1]) < _SAME_TIME),
                )
                if joins and likeness[each] >= needed
            ]
            if not beside:
                break
            taken = max(beside)[1]
            start, end = spans[min(first, taken), 0], spans[max(last, taken), 1]
            if end - start > MAX_SECONDS:
                break
            first, last = min(first, taken), max(last, taken)
    return float(spans[first, 0]), float(spans[last, 1])


def widen_moments(snapshot: Snapshot, hits: Sequence[Hit], row_of: Mapping[str, int]) -> list[Hit]:
    """The hits with their moments widened; what then lies in a better moment of the same video is left out.

    Args:
        row_of: the snapshot's row of each moment's segment.
    """
    around = snapshot.around([row_of[moment.segment_id] for hit in hits for moment in hit.moments], REACH)
    found: list[Hit] = []
    for hit in hits:
        kept: list[Moment] = []
        for moment in hit.moments:
            rows = around[row_of[moment.segment_id]]
            facts = [row.facts for row in rows]
            span = widened(
                np.array([[fact.start_seconds, fact.end_seconds] for fact in facts]),
                np.array([row.direction for row in rows], np.float64),
                next(at for at, fact in enumerate(facts) if fact.segment_id == moment.segment_id),
            )
            span = a_minute_of(*span, moment.peak_seconds)
            wider = moment.model_copy(update={"start_seconds": span[0], "end_seconds": span[1]})
            if not any(mostly_same(wider, other) for other in kept):
                kept.append(wider)
        best = {"start_seconds": kept[0].start_seconds, "end_seconds": kept[0].end_seconds}
        found.append(hit.model_copy(update={**best, "moments": tuple(kept)}))
    return found


def a_minute_of(start: float, end: float, peak: float) -> tuple[float, float]:
    """The minute around ``peak`` where ``[start, end)`` is longer: a picture that stays is one segment all the while.

    >>> a_minute_of(0.0, 300.0, 4.0), a_minute_of(0.0, 12.0, 4.0)
    ((0.0, 59.9), (0.0, 12.0))
    """
    first = max(start, min(peak - MAX_SECONDS / 2, end - MAX_SECONDS))
    return first, min(end, first + MAX_SECONDS)
