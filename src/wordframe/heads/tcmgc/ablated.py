"""TC-MGC with a piece taken out, for the comparisons that show what each piece is worth.

- uniform attention (``attention="uniform"``): every sentence and word gets the mean of the video's frames, through the
  same norms and Linear, so a video looks alike to all texts and the four parts differ on the text's side alone;
- no attention (``attention="none"``), which is the released code's switch without LVA: X-CLIP's mean video in place of
  the conditioned one, and the encoder's own frames in place of the conditioned frames, without norms and Linear. SR and
  Bi-SR then go over a video's real frames, at most ``k`` of them, as they go over words;
- without LSA (``aggregation="mean"``): the logits are the plain mean of the four similarities;
- some of the parts: the others do not count, neither in the logits nor in SDR; LSA goes over those that are left.

SR and SDR need nothing here: keep rate 1, and a loss weight of 0. ``recipes/ablations`` has them all; the model with
every piece in its place is ``head.py``, whose loops score the ablated ones, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wordframe.features import PART_NAMES, SimilarityOutput, TextFeatures, VideoFeatures
from wordframe.heads.base import Explanation, PrecomputedVideos, Similarity, VideoStatistics, masked_mean, unit
from wordframe.heads.tcmgc.aggregation import LinearSoftmaxAggregation, keep_largest_block
from wordframe.heads.tcmgc.head import TextConditionedSimilarity

ABLATIONS = ("parts", "aggregation", "attention")
"""What ``ModelSettings.options`` of TC-MGC may hold."""
ATTENTIONS = ("learned", "uniform", "none")
AGGREGATIONS = ("learned", "mean")
_LIVE_MATRICES = 6
"""Matrices (W, F) of a pair alive at once without attention: the products, masked, Bi-SR's and its 8-byte indices."""


class AblatedSimilarity(TextConditionedSimilarity):
    """The TC-MGC head without some of its pieces.

    Args:
        parts: those of the four that count, any of ``PART_NAMES``.
        aggregation: ``learned`` (LSA) or ``mean``.
        attention: ``learned`` (LVA) or ``uniform``; ``UnattendedSimilarity`` is the head for ``none``.
        rest: as in ``TextConditionedSimilarity``.
    """

    def __init__(
        self,
        *,
        parts: Sequence[str] = PART_NAMES,
        aggregation: str = "learned",
        attention: str = "learned",
        **rest: Any,
    ) -> None:
        super().__init__(**rest)
        _check("aggregation", aggregation, AGGREGATIONS)
        _check("attention", attention, ATTENTIONS)
        if attention == "none":
            raise ValueError("attention='none' is UnattendedSimilarity, which has none to look through")
        self.parts = _ordered(parts)
        if attention == "uniform":
            self.attention.query = _IndifferentQuery()
        if len(self.parts) < len(PART_NAMES):
            self.over_parts.requires_grad_(False)  # what it gives is not used
            self.over_chosen = LinearSoftmaxAggregation(parts=len(self.parts))
        else:
            self.over_chosen = self.over_parts
        if aggregation == "mean":
            nn.init.zeros_(self.over_chosen.matrix)  # softmax of zeros: equal weights
            self.over_chosen.requires_grad_(False)

    def forward(
        self, text: TextFeatures, video: VideoFeatures | PrecomputedVideos, *, method: str = "auto"
    ) -> SimilarityOutput:
        output = super().forward(text, video, method=method)
        if len(self.parts) == len(PART_NAMES):
            return output
        chosen = {name: output.parts[name] for name in self.parts}
        z = torch.stack(list(chosen.values()), dim=-1)  # (T, V, P)
        return SimilarityOutput(self.over_chosen(z), chosen)

    def part_weights(self, output: SimilarityOutput) -> Tensor:
        return self.over_chosen.weights(torch.stack(list(output.parts.values()), dim=-1))


class UnattendedSimilarity(AblatedSimilarity):
    """TC-MGC without language-video attention, as the released code's switch has it: the four similarities of words,
    sentence, frames and video as in X-CLIP, summed up by SR, ISA and LSA.

    Args:
        rest: as in ``AblatedSimilarity``; what is of the attention has no effect.
    """

    methods = ("plain",)
    explains = ("parts",)
    kinds_of_products = ("float32",)
    keeps_statistics = False

    def __init__(self, **rest: Any) -> None:
        super().__init__(**rest)
        del self.attention  # nothing of it would be trained, and a checkpoint would carry it

    def compare(self, text: TextFeatures, video: VideoFeatures, method: str) -> SimilarityOutput:
        real = video.frame_mask[..., None]
        sentence, words = unit(text.sentence), unit(text.words.masked_fill(~text.word_mask[..., None], 0.0))
        frames = unit(video.frames.masked_fill(~real, 0.0) if self.mask_padding else video.frames)
        # The mean is over the real frames in either mode, as in X-CLIP.
        vectors = unit(masked_mean(unit(video.contextual), video.frame_mask))  # (V, D)
        mask = self._word_mask(text.word_mask)  # (T, 1, W)
        frame_mask = (video.frame_mask if self.mask_padding else torch.ones_like(video.frame_mask))[None]  # (1, V, F)
        both = torch.einsum("twd,vfd->tvwf", words @ self.local_matrix, frames)
        return self.combine(
            mask,
            sentence @ self.global_matrix @ vectors.T,
            torch.einsum("twd,vd->tvw", words, vectors),
            torch.einsum("td,vfd->tvf", sentence, frames),
            keep_largest_block(both, mask, self.keep, frame_mask),
            frame_mask,
        )

    def explain(self, text: TextFeatures, video: VideoFeatures) -> Explanation:
        """The parts and how much each counted."""
        output = self(text, video)
        return Explanation(output, self.part_weights(output))

    def precompute(
        self, video: VideoFeatures, statistics: Sequence[VideoStatistics] | None = None
    ) -> PrecomputedVideos:
        return Similarity.precompute(self, video)

    def statistics(self, video: VideoFeatures) -> list[VideoStatistics]:
        return Similarity.statistics(self, video)

    def can_fuse(self, text: TextFeatures, video: VideoFeatures) -> bool:
        """There is no loop for these pairs."""
        return False

    def floats_per_pair(self, num_words: int, num_frames: int, dimension: int, method: str) -> int:
        return _LIVE_MATRICES * num_words * num_frames

    def _choose(self, method: str) -> str:
        return Similarity._choose(self, method)

    def _in_blocks(self, text: TextFeatures, video: VideoFeatures, method: str) -> SimilarityOutput:
        return Similarity._in_blocks(self, text, video, method)


class _IndifferentQuery(nn.Identity):
    """A query that prefers no frame."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


def _check(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ValueError(f"options.{name}={value!r} is not allowed; use one of {', '.join(map(repr, allowed))}")


def _ordered(parts: Sequence[str]) -> tuple[str, ...]:
    for part in parts:
        _check("parts", part, PART_NAMES)
    if not parts or len(set(parts)) < len(parts):
        raise ValueError(f"options.parts={list(parts)} must name at least one part, each once")
    return tuple(name for name in PART_NAMES if name in parts)
