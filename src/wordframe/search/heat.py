"""How much each moment of a video answers a query: the strip under a player.

Attention sums to one inside a segment, so it tells where to look in a segment and not which segment to look into. A
frame's heat is its attention against an even share, times how far its segment's score lies above the library's usual
one; so it can be compared over the whole video. A model without attention gives its frames' cosines instead.
Neighbours: ``explain.py`` (one segment in detail), ``usual.py`` (the level that counts as nothing).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from wordframe.features import TextFeatures, VideoFeatures
from wordframe.models import TextVideoModel


@dataclass(frozen=True)
class Heat:
    """Over a video's frames in time, overlapping segments joined.

    seconds: ascending; values: from 0, where nothing answers the query, to 1 at the best frame (all 0 if none does);
    words: the same for each word of the query, on one scale, None where the model does not look by words.
    """

    seconds: tuple[float, ...]
    values: tuple[float, ...]
    words: tuple[tuple[str, tuple[float, ...]], ...] | None


@torch.inference_mode()
def video_heat(
    model: TextVideoModel, query: TextFeatures, words: Sequence[str], video: VideoFeatures, *, usual: float
) -> Heat:
    """The heat of a video's segments ``video (V, F, D)``, as the model scores them, with ``seconds``.

    Args:
        query: one text, ``T = 1``; words: the text of each of its positions.
        usual: the score that counts as nothing.
    """
    assert video.seconds is not None
    found = model.explain(query, video)
    above = (found.output.logits[0] / model.scale - usual).clamp(min=0)  # (V,)
    counts = video.frame_mask.sum(dim=1, keepdim=True)  # (V, 1)
    if found.sentence_attention is None:
        cosines = F.cosine_similarity(video.frames, query.sentence[0], dim=-1).clamp(min=0)  # (V, F)
        share = cosines / cosines.amax(dim=1, keepdim=True).clamp(min=1e-9)
    else:
        share = found.sentence_attention[0] * counts
    joined = _Joined(video)
    values = joined(share * above[:, None])
    by_word = None
    if found.word_attention is not None:
        each = [joined(attention * counts * above[:, None]) for attention in found.word_attention[0]]
        top = max(max(value.max() for value in each), 1e-12)
        by_word = tuple((word, _rounded(value / top)) for word, value in zip(words, each, strict=True))
    return Heat(_rounded(joined.seconds), _rounded(values / max(values.max(), 1e-12)), by_word)


class _Joined:
    """Values of the frames of segments ``(V, F)`` in the order of time; of one time the largest."""

    def __init__(self, video: VideoFeatures) -> None:
        assert video.seconds is not None
        self._real = video.frame_mask.numpy()
        times = np.round(video.seconds.numpy()[self._real].astype(np.float64), 3)
        self.seconds, self._place = np.unique(times, return_inverse=True)

    def __call__(self, values: Tensor) -> NDArray[np.float64]:
        joined = np.zeros(len(self.seconds))
        np.maximum.at(joined, self._place, values.numpy()[self._real].astype(np.float64))
        return joined


def _rounded(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(np.round(values, 4).tolist())
