"""Weighted token-wise interaction: each word with its best frame, each frame with its best word (DRL's WTI).

With ``c_ij = n(word i) · n(frame j)`` and weights ``u = softmax(MLP(words))``, ``v = softmax(MLP(frames))`` over the
real ones, ``score = (Σ_i u_i max_j c_ij + Σ_j v_j max_i c_ij) / 2``, times ``s`` (Wang et al., arXiv 2203.07111,
section 3.3). The MLPs (``D → D``, ReLU, ``D → 1``) read words and frames as they are, before ``n``. Frames are the
contextual ones, as published behind CLIP4Clip's transformer; words are all token positions, both ends among them.
DRL's other half, the decorrelation of channels (CDCR), is a loss of its own and not here.

Padding is left out of the maxima by −∞; the released code multiplies by the mask, so a padded frame has cosine 0 there
and wins where all others are negative. On CPU a compiled loop (``_kernels/wti.py``) does the pairs.
Neighbours: ``_fused.py`` (around the loop), ``xclip.py`` (the same matrix, summed up by softmaxes).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wordframe.features import SimilarityOutput, TextFeatures, VideoFeatures
from wordframe.heads._fused import (
    PRODUCTS,
    Columns,
    FusedSimilarity,
    in_groups,
    in_lanes,
    pack,
    pick,
    product,
    put,
    score_tiles,
)
from wordframe.heads._kernels import LANES
from wordframe.heads.base import (
    VideoGroups,
    VideoStatistics,
    masked_softmax,
    new_logit_scale,
    scale,
    unit,
)

_INIT_STD = 0.02
"""Of the MLPs' weights, CLIP4Clip's for new modules, zero biases: all tokens start with about the same weight."""


@dataclass(frozen=True)
class WeightedGroups:
    """Videos as the compiled loop reads them: ``C`` groups of ``LANES`` videos.

    frames: ``(C, F, LANES, D)`` normalised, float32 or bfloat16; weights: ``(C, F, LANES)``, 0 where padded; real:
    ``(C, F, LANES)``, 1 or 0; broken: ``(V,)``, videos with a number that is not finite.
    """

    frames: Tensor
    weights: Tensor
    real: Tensor
    broken: Tensor

    def __len__(self) -> int:
        return len(self.broken)

    def __getitem__(self, rows: slice | Tensor) -> WeightedGroups:
        index = torch.arange(len(self))[rows]
        axes = {"frames": -2, "weights": -1, "real": -1}
        return WeightedGroups(**pick(vars(self), axes, index), broken=self.broken[index])


class WeightedTokenSimilarity(FusedSimilarity):
    """The WTI head. ``method="fused"`` is the compiled loop; where it cannot run, the numbers come plainly.

    Args:
        dimension: ``D``.
    """

    methods = ("fused", "plain")
    part_names = ("frame_word",)
    reads_words = True

    def __init__(self, *, dimension: int, max_block_mb: int = 256) -> None:
        super().__init__(max_block_mb=max_block_mb)
        self.logit_scale = new_logit_scale()
        self.of_words = _weight_mlp(dimension)
        self.of_frames = _weight_mlp(dimension)

    def word_weights(self, words: Tensor, word_mask: Tensor) -> Tensor:
        """``u (T, W)`` of words ``(T, W, D)``, summing to one over the real ones."""
        return masked_softmax(self.of_words(words.masked_fill(~word_mask[..., None], 0.0))[..., 0], word_mask)

    def frame_weights(self, frames: Tensor, frame_mask: Tensor) -> Tensor:
        """``v (V, F)`` of frames ``(V, F, D)``, summing to one over the real ones."""
        return masked_softmax(self.of_frames(frames.masked_fill(~frame_mask[..., None], 0.0))[..., 0], frame_mask)

    def compare(self, text: TextFeatures, video: VideoFeatures, method: str) -> SimilarityOutput:
        words = unit(text.words.masked_fill(~text.word_mask[..., None], 0.0))  # padding may hold anything, NaN too
        frames = unit(video.contextual.masked_fill(~video.frame_mask[..., None], 0.0))
        cosines = torch.einsum("twd,vfd->tvwf", words, frames)
        word_mask, frame_mask = text.word_mask[:, None, :, None], video.frame_mask[None, :, None, :]
        lowest = torch.finfo(cosines.dtype).min  # not −∞: a padded word's maximum weighs 0, and 0 · ∞ is NaN
        best_frames = cosines.masked_fill(~frame_mask, lowest).amax(dim=3)  # (T, V, W)
        best_words = cosines.masked_fill(~word_mask, lowest).amax(dim=2)  # (T, V, F)
        by_words = torch.einsum("tvw,tw->tv", best_frames, self.word_weights(text.words, text.word_mask))
        by_frames = torch.einsum("tvf,vf->tv", best_words, self.frame_weights(video.contextual, video.frame_mask))
        logits = scale(self.logit_scale) * (by_words + by_frames) / 2
        return SimilarityOutput(logits, {"frame_word": logits})

    def columns(self, text: TextFeatures) -> Columns:
        """The real words: sentences take no part."""
        return pack(text, masked=True, sentences=False)

    def group(self, video: VideoFeatures, statistics: Sequence[VideoStatistics] | None = None) -> WeightedGroups:
        real = video.frame_mask
        frames = video.contextual.masked_fill(~real[..., None], 0.0)
        broken = ~frames.sum(dim=(1, 2)).isfinite()
        return WeightedGroups(
            in_groups(unit(frames).to(PRODUCTS[self.products])),
            in_lanes(self.frame_weights(frames, real)),
            in_lanes(real.to(frames.dtype)),
            broken,
        )

    def score_groups(
        self,
        text: TextFeatures,
        columns: Columns,
        groups: VideoGroups,
        max_floats: int,
        out: NDArray[np.float32],
    ) -> None:
        from wordframe.heads._kernels import wti  # brings numba

        assert isinstance(groups, WeightedGroups)
        (words,) = columns.transform(lambda values, _: (unit(values).to(groups.frames.dtype),))
        weights = self.word_weights(text.words, text.word_mask)[text.word_mask].numpy()  # (N,)
        factor = np.float32(scale(self.logit_scale))

        def score(texts: slice, at: slice, c: slice) -> None:
            frames, num_groups = groups.frames[c], c.stop - c.start
            tile = np.empty((2, texts.stop - texts.start, num_groups, LANES), np.float32)
            wti.score_tile(
                product(words[at], frames.flatten(0, 2)).view(-1, num_groups, frames.shape[1], LANES).numpy(),
                columns.starts[texts.start : texts.stop + 1] - at.start,
                groups.real[c].numpy(),
                weights[at],
                groups.weights[c].numpy(),
                factor,
                tile,
            )
            put(tile, out, texts, c)

        score_tiles(columns.starts, len(groups.frames), groups.frames.shape[1], max_floats, score)

    def floats_per_pair(self, num_words: int, num_frames: int, dimension: int, method: str) -> int:
        return 3 * num_words * num_frames  # the matrix, and each side's copy with the other's padding filled


def _weight_mlp(dimension: int) -> nn.Sequential:
    layers = nn.Sequential(nn.Linear(dimension, dimension), nn.ReLU(), nn.Linear(dimension, 1))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=_INIT_STD)
            nn.init.zeros_(layer.bias)
    return layers
