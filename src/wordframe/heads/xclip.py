"""X-CLIP: four similarities of words, sentence, frames and video, summed up by attention over the similarity matrix.

``agg(x, M) = Σ (softmax(x / τ) M) · x`` (AOSM, τ = 0.01) over words, over frames, and over both in both orders; the
logits are the plain mean of the four, each times ``s`` (Ma et al., arXiv 2207.07285). Frames are the raw ones; the
video is the mean of the contextual ones. On CPU at inference a compiled loop (``_kernels/xclip.py``) does the pairs.
Neighbours: ``_fused.py`` (around the loop), ``tcmgc/head.py``, its successor, where videos depend on the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wordframe.features import PART_NAMES, SimilarityOutput, TextFeatures, VideoFeatures
from wordframe.heads._fused import (
    PRODUCTS,
    Columns,
    FusedSimilarity,
    in_groups,
    in_lanes,
    pick,
    product,
    put,
    score_tiles,
)
from wordframe.heads._kernels import LANES
from wordframe.heads.base import (
    VideoGroups,
    VideoStatistics,
    masked_mean,
    masked_softmax,
    new_logit_scale,
    scale,
    unit,
)

TEMPERATURE = 0.01
"""τ of the paper: so sharp that a difference of 0.02 between two cosines is a factor of 7 between their weights."""
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
        length = x.shape[-1]
        self.refuse_longer(length)
        weights = masked_softmax(x / TEMPERATURE, present) @ self.matrix[:length, :length]
        # Once more the mask: the matrix has spread weight onto absent entries, and nothing normalises it again.
        return (weights * x).masked_fill(~present, 0.0).sum(dim=-1)

    def refuse_longer(self, length: int) -> None:
        """Raise ValueError if ``length`` words or frames are more than the matrix has rows for."""
        size = self.matrix.shape[0]
        if length > size:
            raise ValueError(f"{length} {self.axis} exceed the {size} this model is made for (max_{self.axis}={size})")


@dataclass(frozen=True)
class FrameGroups:
    """Videos as the compiled loop reads them: ``C`` groups of ``LANES`` videos.

    frames: ``(C, F, LANES, D)`` normalised and vectors: ``(C, LANES, D)``, both float32 or bfloat16; real: ``(C, F,
    LANES)``, 1 or 0; broken: ``(V,)``, videos with a number that is not finite.
    """

    frames: Tensor
    vectors: Tensor
    real: Tensor
    broken: Tensor

    def __len__(self) -> int:
        return len(self.broken)

    def __getitem__(self, rows: slice | Tensor) -> FrameGroups:
        index = torch.arange(len(self))[rows]
        axes = {"frames": -2, "vectors": -2, "real": -1}
        return FrameGroups(**pick(vars(self), axes, index), broken=self.broken[index])


class MultiGrainedSimilarity(FusedSimilarity):
    """The X-CLIP head. ``method="fused"`` is the compiled loop; where it cannot run, the numbers come plainly.

    Args:
        dimension: ``D``.
        max_words, max_frames: sizes of the learned matrices; longer inputs are refused.
        mask_padding: leave padded words and frames out; False lets them take part, as the released code does.
    """

    methods = ("fused", "plain")
    explains = ("parts",)
    reads_words = True

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
        self.max_words, self.max_frames = max_words, max_frames
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
        # The mean is over the real frames in either mode: the released code pools with the mask, too.
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

    def group(self, video: VideoFeatures, statistics: Sequence[VideoStatistics] | None = None) -> FrameGroups:
        self.over_frames.refuse_longer(video.frames.shape[1])
        mask, frames, contextual = video.frame_mask, video.frames, video.contextual
        real = mask if self.mask_padding else torch.ones_like(mask)
        frames = frames.masked_fill(~real[..., None], 0.0)  # padding may hold anything, NaN too
        vectors = unit(masked_mean(unit(contextual), mask))
        broken = ~(frames.sum(dim=(1, 2)) + vectors.sum(dim=1)).isfinite()
        dtype = PRODUCTS[self.products]
        return FrameGroups(
            in_groups(unit(frames).to(dtype)), in_groups(vectors.to(dtype)), in_lanes(real.to(frames.dtype)), broken
        )

    def score_groups(
        self,
        text: TextFeatures,
        columns: Columns,
        groups: VideoGroups,
        max_floats: int,
        out: NDArray[np.float32],
    ) -> None:
        from wordframe.heads._kernels import xclip  # brings numba

        assert isinstance(groups, FrameGroups)
        self.over_words.refuse_longer(text.words.shape[1])

        def transform(values: Tensor, is_sentence: Tensor) -> tuple[Tensor, ...]:
            # Words meet the video as they are and frames through W_l; the sentence the other way round, through W_g.
            to_vectors = unit(values)
            to_frames = product(to_vectors, self.local_matrix.T)
            to_frames[is_sentence] = to_vectors[is_sentence]
            to_vectors[is_sentence] = product(to_vectors[is_sentence], self.global_matrix.T)
            return to_frames.to(groups.frames.dtype), to_vectors.to(groups.frames.dtype)

        to_frames, to_vectors = columns.transform(transform)
        matrices = [
            torch.stack([step.matrix.detach() for step in steps]).numpy()
            for steps in (
                (self.over_words, self.words_first, self.words_second),
                (self.over_frames, self.frames_first, self.frames_second),
            )
        ]
        factors = np.float32(1 / TEMPERATURE), np.float32(scale(self.logit_scale))

        def score(texts: slice, at: slice, c: slice) -> None:
            frames, num_groups = groups.frames[c], c.stop - c.start
            tile = np.empty((1 + len(PART_NAMES), texts.stop - texts.start, num_groups, LANES), np.float32)
            xclip.score_tile(
                product(to_frames[at], frames.flatten(0, 2)).view(-1, num_groups, frames.shape[1], LANES).numpy(),
                product(to_vectors[at], groups.vectors[c].flatten(0, 1)).view(-1, num_groups, LANES).numpy(),
                columns.starts[texts.start : texts.stop + 1] - at.start,
                groups.real[c].numpy(),
                *matrices,
                *factors,
                tile,
            )
            put(tile, out, texts, c)

        score_tiles(columns.starts, len(groups.frames), groups.frames.shape[1], max_floats, score)

    def can_fuse(self, text: TextFeatures, video: VideoFeatures) -> bool:
        """The loop packs the real words; the learned matrices want each at its place, so they must come first."""
        if not super().can_fuse(text, video):  # first, since on a GPU looking at a mask would wait for all before it
            return False
        return not self.mask_padding or bool((text.word_mask[:, 1:] <= text.word_mask[:, :-1]).all())

    def _over_both(self, x: Tensor, word_mask: Tensor, frame_mask: Tensor) -> Tensor:
        of_frames = self.words_first(x.mT, word_mask[:, :, None])  # (T, V, F)
        of_words = self.frames_first(x, frame_mask[:, :, None])  # (T, V, W)
        total: Tensor = self.frames_second(of_frames, frame_mask) + self.words_second(of_words, word_mask)
        return total / 2

    def floats_per_pair(self, num_words: int, num_frames: int, dimension: int, method: str) -> int:
        return _LIVE_COPIES * num_words * num_frames
