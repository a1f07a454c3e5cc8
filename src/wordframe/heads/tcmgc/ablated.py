"""TC-MGC with a piece taken out, for the comparisons that show what each piece is worth.

- uniform attention (``attention="uniform"``): every sentence and word gets the mean of the video's frames, through the
  same norms and Linear, so a video looks alike to all texts and the four parts differ on the text's side alone. The
  released code's switch without LVA is another one: X-CLIP's mean video and the raw frames, without norms and Linear;
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
from wordframe.heads.base import PrecomputedVideos
from wordframe.heads.tcmgc.aggregation import LinearSoftmaxAggregation
from wordframe.heads.tcmgc.head import TextConditionedSimilarity

ABLATIONS = ("parts", "aggregation", "attention")
"""What ``ModelSettings.options`` of TC-MGC may hold."""
ATTENTIONS = ("learned", "uniform")
AGGREGATIONS = ("learned", "mean")


class AblatedSimilarity(TextConditionedSimilarity):
    """The TC-MGC head without some of its pieces.

    Args:
        parts: those of the four that count, any of ``PART_NAMES``.
        aggregation: ``learned`` (LSA) or ``mean``.
        attention: ``learned`` (LVA) or ``uniform``.
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
