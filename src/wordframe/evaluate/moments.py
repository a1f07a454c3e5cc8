"""How well moments are found: the numbers of moment retrieval, a value a sentence, so that they can be paired.

- **R@k at IoU m**: a share of sentences. One counts where any of the first ``k`` predicted moments overlaps one of its
  moments by an intersection over union of ``m`` or more (Gao et al., ICCV 2017).
- **mAP**: the average precision of a sentence's ranked predictions, as of detection, at most ten of them: each takes
  the free moment that it overlaps most, if by ``m`` or more, and is false otherwise; precision is made monotone from
  the right and summed over the steps of recall. Mean over sentences at 0.5, at 0.75, and over 0.5, 0.55, … 0.95 (Lei
  et al., NeurIPS 2021).
- **mIoU**: mean over sentences of the first prediction's largest overlap.
- **HIT@1**: a share of sentences whose most salient clip of two seconds any rater called very good (Lei et al.);
  without ratings, whose most salient second lies in one of its moments.

*Corpus-wide* a prediction is a video and a moment in it; it counts if the video is right, too.
Neighbours: ``moment_report.py`` says what came out, ``intervals.py`` how sure it is, ``compare.py`` pairs two.
Axes: ``Q`` sentences, ``P`` predictions of a sentence, best first, ``G`` its moments, ``L`` levels of overlap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wordframe.data import SALIENCY_CLIP_SECONDS, MomentQuery
from wordframe.evaluate.intervals import mean_interval, share_interval

Array = NDArray[np.float64]

IOU_LEVELS = (0.3, 0.5, 0.7)
AP_LEVELS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
MAX_PREDICTIONS = 10
"""Of a sentence: what QVHighlights' evaluation reads; more would lift its average precision."""
VERY_GOOD = 4
INSIDE = "within the video"
CORPUS = "corpus-wide"
DEPTHS = {INSIDE: (1, 5), CORPUS: (1, 5, 10)}
"""At which recalls are counted."""


@dataclass(frozen=True)
class PredictedMoment:
    """A moment ``[start_seconds, end_seconds)`` that answers a sentence. video: as the captions name it."""

    video: str
    start_seconds: float
    end_seconds: float
    score: float


@dataclass(frozen=True)
class MomentAnswer:
    """What a search gives for one sentence.

    inside: moments of the sentence's own video, best first; corpus: of all videos, best first; seconds, heat: ascending
    times of the video's frames and how much each answers the sentence.
    """

    inside: tuple[PredictedMoment, ...]
    corpus: tuple[PredictedMoment, ...]
    seconds: tuple[float, ...] = ()
    heat: tuple[float, ...] = ()


@dataclass(frozen=True)
class MomentFigure:
    """One number with its 95 % interval. In percent."""

    value: float
    low: float
    high: float


def overlaps(predicted: ArrayLike, moments: ArrayLike) -> Array:
    """Intersection over union ``(P, G)`` of windows ``(P, 2)`` and ``(G, 2)``, in seconds.

    >>> overlaps([[0, 4], [8, 9]], [[2, 6]]).round(3).tolist()
    [[0.333], [0.0]]
    """
    first = np.asarray(predicted, np.float64).reshape(-1, 1, 2)  # (P, 1, 2)
    second = np.asarray(moments, np.float64).reshape(1, -1, 2)  # (1, G, 2)
    shared = np.minimum(first[..., 1], second[..., 1]) - np.maximum(first[..., 0], second[..., 0])
    shared = np.maximum(shared, 0.0)  # (P, G)
    union = np.ptp(first, axis=-1) + np.ptp(second, axis=-1) - shared
    found: Array = shared / np.maximum(union, 1e-12)
    return found


def average_precision(overlap: Array, levels: Sequence[float] = AP_LEVELS) -> Array:
    """``(L,)`` of one sentence's predictions, best first, by their overlaps ``(P, G)`` with its moments.

    >>> average_precision(np.array([[0.2, 0.0], [0.6, 0.0], [0.0, 0.9]]), [0.5, 0.75]).round(4).tolist()
    [0.6667, 0.1667]
    """
    return np.array([_average_precision(overlap, level) for level in levels])


def _average_precision(overlap: Array, level: float) -> float:
    num_predictions, num_moments = overlap.shape
    free = np.ones(num_moments, bool)
    hits = np.zeros(num_predictions)
    for place, line in enumerate(overlap):
        # a moment is found once: what finds it again is false, though it may take another that it overlaps less
        best = int(np.argmax(np.where(free, line, -1.0)))
        if free[best] and line[best] >= level:
            free[best], hits[place] = False, 1.0
    precision = hits.cumsum() / np.arange(1, num_predictions + 1)
    # the best precision at this recall or a larger one
    monotone = np.maximum.accumulate(precision[::-1])[::-1]
    return float((monotone * hits).sum() / num_moments)


def moment_values(queries: Sequence[MomentQuery], answers: Sequence[MomentAnswer]) -> dict[str, dict[str, Array]]:
    """Each sentence's value ``(Q,)`` in every number, in percent, by setting and number.

    Raises:
        ValueError: there are not as many answers as sentences, or none.
    """
    if not queries or len(queries) != len(answers):
        raise ValueError(f"an answer is needed for each sentence, at least one, got {len(queries)} and {len(answers)}")
    found: dict[str, dict[str, list[float]]] = {setting: {} for setting in DEPTHS}
    for query, answer in zip(queries, answers, strict=True):
        for setting, numbers in (
            (INSIDE, _inside(query, answer)),
            (CORPUS, _recalls(_corpus_overlap(query, answer.corpus), CORPUS)),
        ):
            for name, value in numbers.items():
                found[setting].setdefault(name, []).append(100.0 * value)
    return {setting: {name: np.array(values) for name, values in numbers.items()} for setting, numbers in found.items()}


def _inside(query: MomentQuery, answer: MomentAnswer) -> dict[str, float]:
    windows = [(moment.start_seconds, moment.end_seconds) for moment in answer.inside[:MAX_PREDICTIONS]]
    overlap = overlaps(windows, query.windows)  # (P, G)
    precisions = average_precision(overlap)  # (L,)
    return {
        **_recalls(overlap, INSIDE),
        "map_iou_0.5": float(precisions[AP_LEVELS.index(0.5)]),
        "map_iou_0.75": float(precisions[AP_LEVELS.index(0.75)]),
        "map_average": float(precisions.mean()),
        "mean_iou": float(overlap[0].max()) if len(overlap) else 0.0,
        "hit_at_1": float(_is_hit(query, answer)),
    }


def _recalls(overlap: Array, setting: str) -> dict[str, float]:
    return {
        f"recall_at_{k}_iou_{level}": float(bool((overlap[:k] >= level).any()))
        for k in DEPTHS[setting]
        for level in IOU_LEVELS
    }


def _corpus_overlap(query: MomentQuery, predicted: Sequence[PredictedMoment]) -> Array:
    """``(P, G)``, 0 in other videos."""
    overlap = overlaps([(moment.start_seconds, moment.end_seconds) for moment in predicted], query.windows)
    right = np.array([moment.video == query.video for moment in predicted], bool)
    found: Array = overlap * right[:, None]
    return found


def _is_hit(query: MomentQuery, answer: MomentAnswer) -> bool:
    if not answer.heat:
        return False
    best = answer.seconds[int(np.argmax(answer.heat))]
    if not query.saliency:
        return any(start <= best < end for start, end in query.windows)
    return max(query.saliency.get(int(best // SALIENCY_CLIP_SECONDS), (0,))) >= VERY_GOOD


def moment_figures(
    values: Mapping[str, Mapping[str, Array]], videos: NDArray[np.integer], *, seed: int = 0
) -> dict[str, dict[str, MomentFigure]]:
    """The mean of each number over the sentences, with its interval.

    Sentences about one video are not independent, and count together: for shares Wilson's interval on the effective
    number of sentences, for mAP and mIoU the bootstrap-t over videos. A mAP of ones and noughts only, as where every
    sentence has one moment, is a share: draws of equal numbers would give it no width.

    Args:
        values: of ``moment_values``; videos: ``(Q,)``, the video of each sentence.
    """

    def figure(name: str, each: Array) -> MomentFigure:
        if np.isin(each, (0.0, 100.0)).all():
            low, high = share_interval(each > 0, clusters=videos)
        else:
            low, high = mean_interval(each, clusters=videos, lowest=0.0, highest=100.0, seed=seed)
        return MomentFigure(float(each.mean()), low, high)

    return {
        setting: {name: figure(name, each) for name, each in numbers.items()} for setting, numbers in values.items()
    }
