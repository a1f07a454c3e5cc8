"""What stands behind a score: what chance would give, why a segment fits, and where in a video the query is answered.

*Chance.* An even sample of the library is scored; its median and spread (median absolute deviation, so that a few real
matches do not move them) describe what a query gets from segments it does not mean. The best of ``N`` normal values
lies about ``sqrt(2 ln N)`` spreads above the median (the expected maximum of Gaussian noise): a match that is no better
could be the best of nothing. Scores are cosines, which end at 1, and Gaussian noise does not: between pictures in the
spaces of CLIP and SigLIP half of all cosines lie above 0.6, so that the level of a large library would lie above 1 and
even the very same picture would be weak. So all this is reckoned in Fisher's z, ``artanh(cosine)``: nearly the cosine
where that is small.

Among fewer than 20 segments there is no such spread, and a match is a large part of them. There the measure is what the
library answers to other queries: 64 everyday sentences are scored, and a match is weak where the library's best reaches
as high for one in four of them (a query bank, as of Bogolin et al., CVPR 2022, here for a level and not for a ranking).
For a picture the scores that pairs of segments of different videos get, as queries of each other, are the sample; there
are 20 of them in five videos, and with fewer nothing is marked.

*Reasons.* The four parts, how much each counts, and where sentence and words look. What a model does not have is left
out: one with a single vector a video has its score alone, X-CLIP its four parts (their plain mean is the score), the
untrained attention where the sentence looks, TC-MGC all of it. Parts are on the scale of the score that a user sees, so
``score = Σ weight · part`` where there are weights.

*Heat*, the strip under a player. Attention sums to one inside a segment, so it tells where to look in a segment and not
which segment to look into. A frame's heat is its attention against an even share, times how far its segment's score
lies above the median of chance; so it can be compared over the whole video. A word's heat is that of the word as if it
were the sentence, above the segment it fits least. A model without attention gives its frames' cosines instead, and no
words.

Neighbours: ``search.py`` scores the sample and asks, ``results.py`` has what it makes, ``wordframe.heads`` the tensors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from wordframe.features import TextFeatures, VideoFeatures
from wordframe.models import TextVideoModel
from wordframe.search.results import Explanation, WordAttention, WordHeat

MIN_SAMPLE = 20
"""With fewer segments a query's own scores do not tell chance from matches."""
OTHERS_SHARE = 0.75
"""Where the level lies among the best scores that other queries get from a small library."""
_DEVIATIONS_PER_SPREAD = 1.4826
"""A normal distribution's spread over its median absolute deviation."""
_ALL_ONE = 1e-4
_NEARLY_ONE = 1 - 1e-9
"""Rounding takes cosines past 1, which has no z."""


# Chance ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BackgroundScores:
    """median: of the sample; best_by_chance: what the best of the library reaches without a match; None if that cannot
    be told."""

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


def best_of_others(best: NDArray[np.float32]) -> float | None:
    """The level of a small library from the best score that each of some other queries gets from it ``(N,)``.

    None where there are no others, or where they are all one to the encoder: it does not know their words.

    >>> best_of_others(np.array([0.1, 0.2, 0.3, 0.4, 0.5], np.float32))
    0.4
    >>> best_of_others(np.full(5, 0.3, np.float32)) is None
    True
    """
    if not len(best) or np.ptp(best) < _ALL_ONE:
        return None
    return round(float(np.quantile(best, OTHERS_SHARE)), 6)


# Reasons --------------------------------------------------------------------------------------------------------------


@torch.inference_mode()
def explain_segment(
    model: TextVideoModel, query: TextFeatures, tokens: Sequence[str], video: VideoFeatures, segment_id: str
) -> Explanation:
    """Explain one pair.

    Args:
        query: one text, ``T = 1``, its words all real.
        tokens: the text of each of its ``W`` token positions.
        video: one segment as ``model`` scores it, ``V = 1``, with ``seconds``, its frames all real.
    """
    if (len(query), len(video)) != (1, 1) or not (query.word_mask.all() and video.frame_mask.all()):
        raise ValueError(f"one text and one segment without padding are explained, got {len(query)} and {len(video)}")
    if len(tokens) != query.words.shape[1] or video.seconds is None:
        raise ValueError(f"a token is needed for each of {query.words.shape[1]} positions, got {len(tokens)}")
    seconds = tuple(video.seconds[0].tolist())
    found = model.explain(query, video)
    parts = {name: part.item() / model.scale for name, part in found.output.parts.items()}
    weights = sentence = words = None
    if found.part_weights is not None:
        weights = dict(zip(parts, found.part_weights[0, 0].tolist(), strict=True))
    if found.sentence_attention is not None:
        sentence = tuple(found.sentence_attention[0, 0].tolist())
    if found.word_attention is not None:
        shares = found.word_attention[0, :, 0].tolist()  # (W, F)
        words = tuple(_word(token, share, seconds) for token, share in zip(tokens, shares, strict=True))
    return Explanation(
        segment_id=segment_id,
        score=found.output.logits.item() / model.scale,
        seconds=seconds,
        parts=parts,
        part_weights=weights,
        sentence_attention=sentence,
        words=words,
    )


def _word(token: str, attention: Sequence[float], seconds: Sequence[float]) -> WordAttention:
    strongest = max(range(len(attention)), key=attention.__getitem__)
    return WordAttention(word=token, attention=tuple(attention), peak_seconds=seconds[strongest])


# Heat -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Strip:
    """Over a video's frames in time, overlapping segments joined; the fields are those of ``results.Heat``."""

    seconds: tuple[float, ...]
    values: tuple[float, ...]
    words: tuple[WordHeat, ...] | None


@torch.inference_mode()
def video_heat(
    model: TextVideoModel, query: TextFeatures, words: Sequence[str], video: VideoFeatures, *, nothing: float
) -> Strip:
    """The heat of a video's segments ``video (V, F, D)``, as the model scores them, with ``seconds``.

    Args:
        query: one text, ``T = 1``; words: the text of each of its positions.
        nothing: the score that counts as nothing.
    """
    joined = _Joined(video)
    found = model.explain(query, video)
    above = (found.output.logits[0] / model.scale - nothing).clamp(min=0)  # (V,)
    if found.sentence_attention is None:
        cosines = F.cosine_similarity(video.frames, query.sentence[0], dim=-1).clamp(min=0)  # (V, F)
        values = joined(cosines / cosines.amax(dim=1, keepdim=True).clamp(min=1e-9) * above[:, None])
        return Strip(joined.seconds, values, None)
    return Strip(
        joined.seconds,
        joined(found.sentence_attention[0] * joined.counts * above[:, None]),
        None if found.word_attention is None else _words(model, query, words, video, joined),
    )


def _words(
    model: TextVideoModel, query: TextFeatures, words: Sequence[str], video: VideoFeatures, joined: _Joined
) -> tuple[WordHeat, ...]:
    """The heat of each word as if it were the sentence."""
    vectors = query.words[0]  # (W, D)
    alone = TextFeatures(vectors, vectors[:, None], torch.ones(len(vectors), 1, dtype=torch.bool))
    found = model.explain(alone, video)
    scores = found.output.logits / model.scale  # (W, V)
    # in a video of one segment nothing lies below it
    above = scores - scores.amin(dim=1, keepdim=True) if len(video) > 1 else torch.ones_like(scores)
    assert found.sentence_attention is not None
    heats = found.sentence_attention * joined.counts * above[..., None]  # (W, V, F)
    return tuple(WordHeat(word=word, values=joined(heat)) for word, heat in zip(words, heats, strict=True))


class _Joined:
    """Values of the frames of segments ``(V, F)`` in the order of time, the largest of one time, from 0 to 1.

    counts: ``(V, 1)``, frames of each segment; attention times it is attention against an even share.
    """

    def __init__(self, video: VideoFeatures) -> None:
        assert video.seconds is not None
        self._real = video.frame_mask.numpy()
        self.counts = video.frame_mask.sum(dim=1, keepdim=True)
        times = np.round(video.seconds.numpy()[self._real].astype(np.float64), 3)
        unique, self._place = np.unique(times, return_inverse=True)
        self.seconds: tuple[float, ...] = tuple(unique.tolist())

    def __call__(self, values: Tensor) -> tuple[float, ...]:
        joined = np.zeros(len(self.seconds))
        np.maximum.at(joined, self._place, values.numpy()[self._real].astype(np.float64))
        return tuple(np.round(joined / max(joined.max(), 1e-12), 4).tolist())
