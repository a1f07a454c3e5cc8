"""What the heads have in common whose videos are seen through language-video attention: TC-MGC, X-Pool, T-MASS.

``AttendingSimilarity`` holds the attention and what its dropout asks of scoring; ``SpanSimilarity`` adds the videos'
side of a compiled loop in the span of their frames. Heads: ``head.py``, ``heads/xpool.py``, ``heads/tmass.py``; the
attention is ``lva.py``, the span ``span.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wordframe.features import SimilarityOutput, TextFeatures, VideoFeatures
from wordframe.heads._fused import PRODUCTS, FusedSimilarity, product
from wordframe.heads._kernels import LANES
from wordframe.heads.base import Similarity, VideoStatistics, new_logit_scale
from wordframe.heads.tcmgc.lva import LanguageVideoAttention
from wordframe.heads.tcmgc.span import SpanGroups, VideoSpan, coefficients, kept_statistics, span_groups, video_span


@dataclass(frozen=True)
class VideoSide:
    """What videos bring into the span form, whatever the text.

    keys: ``(V, F, heads, D / heads)``; frame_mask: ``(V, F)``, or None where padding takes part.
    """

    keys: Tensor
    frame_mask: Tensor | None
    span: VideoSpan

    def __getitem__(self, rows: slice) -> VideoSide:
        mask = None if self.frame_mask is None else self.frame_mask[rows]
        return VideoSide(self.keys[rows], mask, VideoSpan(*(tensor[rows] for tensor in vars(self.span).values())))


class AttendingSimilarity(Similarity):
    """A similarity that looks at contextual frames through ``attention``, plainly or in their span.

    Args:
        attention: the language-video attention; what it drops in training, and how, is its own.
    """

    methods: tuple[str, ...] = ("span", "plain")

    def __init__(self, *, attention: LanguageVideoAttention, max_block_mb: int = 256) -> None:
        super().__init__(max_block_mb=max_block_mb)
        self.logit_scale = new_logit_scale()
        self.attention = attention

    def video_side(self, video: VideoFeatures) -> VideoSide:
        """What the span form makes of videos once, for all texts."""
        frames = video.contextual
        if self.mask_padding:
            frames = frames.masked_fill(~video.frame_mask[..., None], 0.0)  # padding may hold anything, NaN too
        span = video_span(self.attention, frames, self.attention.video_factors(frames))
        return VideoSide(self.attention.to_key(frames), self.frame_mask(video), span)

    def sentence_coefficients(self, sentence: Tensor, side: VideoSide) -> Tensor:
        """The normalised videos as each sentence ``(T, D)`` sees them, over the basis of each: ``(T, V, R + 2)``."""
        weights = self.attention.weights(self.attention.to_query(sentence[:, None]), side.keys, side.frame_mask)
        return coefficients(self.attention, side.span, weights)[:, 0]

    def sentence_attention(self, text: TextFeatures, video: VideoFeatures) -> Tensor:
        """How much each sentence looks at each frame, ``(T, V, F)``, the mean over the heads."""
        weights = self.attention.attention(text.sentence[:, None], video.contextual, self.frame_mask(video))
        return weights.mean(dim=-2)[:, 0]

    def frame_mask(self, video: VideoFeatures) -> Tensor | None:
        """Which frames may be looked at; None where padding takes part."""
        return video.frame_mask if self.mask_padding else None

    def _in_blocks(self, text: TextFeatures, video: VideoFeatures, method: str) -> SimilarityOutput:
        if self.attention.drops and self.attention.dropout_mode == "video":
            return self.compare(text, video, method)  # in one piece, since blocks would draw a video's mask anew
        return super()._in_blocks(text, video, method)

    def _choose(self, method: str) -> str:
        """Dropout by the element leaves the span: then training is plain."""
        outside = self.attention.drops and self.attention.dropout_mode == "element"
        if outside and method == "span":
            raise ValueError(
                "method='span' has no dropout by the element; use 'plain', dropout_mode='video', or model.eval()"
            )
        return super()._choose("plain" if outside and method == "auto" else method)


class SpanSimilarity(AttendingSimilarity, FusedSimilarity):
    """An ``AttendingSimilarity`` with a compiled loop in the span of the frames: a head adds ``score_groups``."""

    keeps_statistics = True

    def group(self, video: VideoFeatures, statistics: Sequence[VideoStatistics] | None = None) -> SpanGroups:
        dtype = PRODUCTS[self.products]
        mask = self.frame_mask(video)
        return span_groups(self.attention, video.contextual, mask, statistics=statistics, dtype=dtype)

    @torch.inference_mode()
    def statistics(self, video: VideoFeatures) -> list[VideoStatistics]:
        video = video.to(dtype=self._dtype())
        return kept_statistics(self.attention, video.contextual, self.frame_mask(video))

    def can_fuse(self, text: TextFeatures, video: VideoFeatures) -> bool:
        """The loop knows no dropout."""
        return not self.attention.drops and super().can_fuse(text, video)


def span_products(to_frames: Tensor, frames: Tensor) -> NDArray[np.float32]:
    """``K`` products of each column with each frame, each head its part: ``(N, K, heads, D or D / heads)`` times
    ``(C, F, LANES, D)``, ``(N, K, C, R, LANES)``."""
    num_groups, num_frames, _, dimension = frames.shape
    kinds, heads, size = to_frames.shape[1:]
    right = frames.flatten(0, 2)
    found = []
    for head in range(heads):
        part = right if size == dimension else right[:, head * size : (head + 1) * size]
        made = product(to_frames[:, :, head].flatten(0, 1), part)
        found.append(made.view(-1, kinds, num_groups, num_frames, LANES))
    return (found[0] if heads == 1 else torch.cat(found, dim=3)).numpy()
