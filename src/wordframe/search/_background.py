"""What scores a query gets from segments it does not mean: the level below which a match says nothing.

An even sample of the library is scored; its median and spread (median absolute deviation, so that a few real matches do
not move them) describe chance. The best of ``N`` normal values lies about ``sqrt(2 ln N)`` spreads above the median
(the expected maximum of Gaussian noise): a match that is no better could be the best of nothing.

Scores are cosines, which end at 1, and Gaussian noise does not: between pictures in the spaces of CLIP and SigLIP half
of all cosines lie above 0.6, so that the level of a large library would lie above 1 and even the very same picture
would be weak. So all this is reckoned in Fisher's z, ``artanh(cosine)``: nearly the cosine where that is small.
Neighbours: ``search.py`` scores the sample, ``_heat.py`` measures from the median.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MIN_SAMPLE = 20
"""With fewer segments there is no telling chance from matches."""
_DEVIATIONS_PER_SPREAD = 1.4826
"""A normal distribution's spread over its median absolute deviation."""
_NEARLY_ONE = 1 - 1e-9
"""Rounding takes cosines past 1, which has no z."""


@dataclass(frozen=True)
class BackgroundScores:
    """median: of the sample; best_by_chance: what the best of the library reaches without a match; None if it is too
    small to tell."""

    median: float
    best_by_chance: float | None

    def is_weak(self, score: float) -> bool:
        """Whether a match could be the best of nothing."""
        return self.best_by_chance is not None and score < self.best_by_chance


def background_scores(scores: Sequence[float], num_segments: int) -> BackgroundScores:
    """From the scores of a sample of a library of ``num_segments``.

    >>> found = background_scores([n / 100 for n in range(41)], 1000)
    >>> round(found.median, 2), round(found.best_by_chance, 2)
    (0.2, 0.66)
    """
    if not len(scores):
        return BackgroundScores(0.0, None)
    values = np.arctanh(np.clip(np.asarray(scores, np.float64), -_NEARLY_ONE, _NEARLY_ONE))
    middle = float(np.median(values))
    median = math.tanh(middle)
    if values.size < MIN_SAMPLE:
        return BackgroundScores(median, None)
    spread = _DEVIATIONS_PER_SPREAD * float(np.median(np.abs(values - middle)))
    return BackgroundScores(median, math.tanh(middle + spread * math.sqrt(2 * math.log(num_segments))))
