"""X-CLIP: four similarities of words, sentence, frames and video, summed up by attention over the similarity matrix.

``agg(x, M) = Σ (softmax(x / τ) M) · x`` (AOSM, τ = 0.01) over words, over frames, and over both in both orders; the
logits are the plain mean of the four, each times ``s`` (Ma et al., arXiv 2207.07285). Frames are the raw ones; the
video is the mean of the contextual ones. Neighbour: ``text_conditioned.py``, where videos depend on the text.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wordframe.features import PART_NAMES, SimilarityOutput, TextFeatures, VideoFeatures
from wordframe.similarity.aggregation import masked_softmax
from wordframe.similarity.base import Similarity, masked_mean, new_logit_scale, scale, unit

TEMPERATURE = 0.01
_LIVE_COPIES = 6
"""Tensors (W, F) of a pair alive at once: the matrix, its transpose, weights before and after M, products, spare."""


class MatrixAggregation(nn.Module):
    """AOSM along the last axis: ``x (..., L), present (..., L) → (...)``; ``L`` at most ``size``.

    Shorter axes use the leading rows and columns of the matrix, which starts as the identity.
    """

    def __init__(self, *, size: int, axis: str) -> None:
        super().__init__()
        self.axis = axis
        self.matrix = nn.Parameter(torch.eye(size))

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        length, size = x.shape[-1], self.matrix.shape[0]
        if length > size:
            raise ValueError(f"{length} {self.axis} exceed the {size} this model is made for (max_{self.axis}={size})")
        weights = masked_softmax(x / TEMPERATURE, present) @ self.matrix[:length, :length]
        return (weights * x).masked_fill(~present, 0.0).sum(dim=-1)


class MultiGrainedSimilarity(Similarity):
    """The X-CLIP head.

    Args:
        dimension: ``D``.
        max_words, max_frames: sizes of the learned matrices; longer inputs are refused.
        mask_padding: leave padded words and frames out; False lets them take part, as the released code does.
    """

    def __init__(
        self,
        *,
        dimension: int,
        max_words: int,
        max_frames: int,
        mask_padding: bool = True,
        max_block_mb: int = 256,
    ) -> None:
        super().__init__(max_block_mb=max_block_mb)
        self.mask_padding = mask_padding
        self.logit_scale = new_logit_scale()
        self.global_matrix = nn.Parameter(torch.eye(dimension))
        self.local_matrix = nn.Parameter(torch.eye(dimension))
        self.over_words = MatrixAggregation(size=max_words, axis="words")
        self.over_frames = MatrixAggregation(size=max_frames, axis="frames")
        self.words_first = MatrixAggregation(size=max_words, axis="words")
        self.frames_second = MatrixAggregation(size=max_frames, axis="frames")
        self.frames_first = MatrixAggregation(size=max_frames, axis="frames")
        self.words_second = MatrixAggregation(size=max_words, axis="words")

    def compare(self, text: TextFeatures, video: VideoFeatures, method: str) -> SimilarityOutput:
        word_mask, frame_mask = text.word_mask[:, None], video.frame_mask[None]  # (T, 1, W), (1, V, F)
        if not self.mask_padding:
            word_mask, frame_mask = torch.ones_like(word_mask), torch.ones_like(frame_mask)
        sentence, words, frames = unit(text.sentence), unit(text.words), unit(video.frames)
        vectors = unit(masked_mean(unit(video.contextual), video.frame_mask))  # (V, D)
        both = torch.einsum("twd,vfd->tvwf", words @ self.local_matrix, frames)
        parts = (
            sentence @ self.global_matrix @ vectors.T,
            self.over_words(torch.einsum("twd,vd->tvw", words, vectors), word_mask),
            self.over_frames(torch.einsum("td,vfd->tvf", sentence, frames), frame_mask),
            self._over_both(both, word_mask, frame_mask),
        )
        z = scale(self.logit_scale) * torch.stack(parts)  # (4, T, V)
        return SimilarityOutput(z.mean(dim=0), dict(zip(PART_NAMES, z, strict=True)))

    def _over_both(self, x: Tensor, word_mask: Tensor, frame_mask: Tensor) -> Tensor:
        of_frames = self.words_first(x.mT, word_mask[:, :, None])  # (T, V, F)
        of_words = self.frames_first(x, frame_mask[:, :, None])  # (T, V, W)
        total: Tensor = self.frames_second(of_frames, frame_mask) + self.words_second(of_words, word_mask)
        return total / 2

    def floats_per_pair(self, num_words: int, num_frames: int, dimension: int, method: str) -> int:
        return _LIVE_COPIES * num_words * num_frames
