"""How much each moment of a video answers a query: the strip under a player.

Attention sums to one inside a segment, so it tells where to look in a segment and not which segment to look into. A
frame's heat is its attention against an even share, times how far its segment's score lies above a level that counts
as nothing; so it can be compared over the whole video. A word's heat is that of the word as if it were the sentence,
above the segment it fits least. A model without attention gives its frames' cosines instead, and no words.
Neighbours: ``_explain.py`` (one segment in detail), ``_background.py`` (the level of a sentence).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wordframe.features import TextFeatures, VideoFeatures
from wordframe.models import TextVideoModel
from wordframe.search.results import WordHeat


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
