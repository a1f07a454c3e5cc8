"""What scores a query gets from segments it does not mean: the level below which a match says nothing.

An even sample of the library is scored; its median and spread (median absolute deviation, so that a few real matches do
not move them) describe chance. The best of ``N`` normal values lies about ``sqrt(2 ln N)`` spreads above the median
(the expected maximum of Gaussian noise): a match that is no better could be the best of nothing.
Neighbours: ``engine.py`` scores the sample, ``heat.py`` measures from the median.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SAMPLE = 256
MIN_SAMPLE = 20
"""With fewer segments there is no telling chance from matches."""
_DEVIATIONS_PER_SPREAD = 1.4826
"""A normal distribution's spread over its median absolute deviation."""


@dataclass(frozen=True)
class Usual:
    """centre: the median score; weak_below: what the best of the library reaches by chance; None if it is too small."""

    centre: float
    weak_below: float | None


def usual_scores(scores: Sequence[float], num_segments: int) -> Usual:
    """From the scores of a sample of a library of ``num_segments``.

    >>> usual = usual_scores([n / 100 for n in range(41)], 1000)
    >>> round(usual.centre, 2), round(usual.weak_below, 2)
    (0.2, 0.75)
    """
    values = np.asarray(scores, np.float64)
    if not values.size:
        return Usual(0.0, None)
    centre = float(np.median(values))
    if values.size < MIN_SAMPLE:
        return Usual(centre, None)
    spread = _DEVIATIONS_PER_SPREAD * float(np.median(np.abs(values - centre)))
    return Usual(centre, centre + spread * math.sqrt(2 * math.log(num_segments)))


def even_sample(row_ids: Sequence[int]) -> list[int]:
    """At most ``SAMPLE`` of the rows, evenly spread, so that the same library gives the same sample.

    >>> even_sample(range(1000))[:3]
    [0, 3, 7]
    """
    if len(row_ids) <= SAMPLE:
        return list(row_ids)
    return [row_ids[place * len(row_ids) // SAMPLE] for place in range(SAMPLE)]
