"""From many similarities to one: ISA and Bi-ISA over words and frames, LSA over the four parts (TC-MGC).

``ISA(x, M) = Σ softmax(λ · (softmax(λ x) M)) · x``, ``M`` learned; Bi-ISA applies it over words then frames and over
frames then words and averages; ``LSA(z) = Σ softmax(z L) · z`` (Jing et al., arXiv 2504.04707).
Their inputs come from ``reorganization.py``; ``multi_grained.py`` has X-CLIP's simpler form.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def masked_softmax(x: Tensor, present: Tensor) -> Tensor:
    """Softmax over the last axis among the entries that are ``present`` (broadcast); the others get weight 0.

    A row without any present entry is uniform, not NaN: it is left out later, but its gradient must stay finite.
    Hence the smallest number in place of −inf; where one entry is present the results are the same.

    >>> masked_softmax(torch.tensor([0.0, 0.0, 5.0]), torch.tensor([True, True, False])).tolist()
    [0.5, 0.5, 0.0]
    """
    return x.masked_fill(~present, torch.finfo(x.dtype).min).softmax(dim=-1)


class InteractiveAggregation(nn.Module):
    """ISA: ``(..., K)`` similarities into one, ``present (..., K) → (...)``. Absent entries must hold 0.

    Args:
        size: ``K``; the matrix starts as the identity.
        softmax_lambda: ``λ``.
    """

    def __init__(self, *, size: int, softmax_lambda: float) -> None:
        super().__init__()
        self.softmax_lambda = softmax_lambda
        self.matrix = nn.Parameter(torch.eye(size))

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        first = masked_softmax(self.softmax_lambda * x, present)
        weights = masked_softmax(self.softmax_lambda * (first @ self.matrix), present)
        return (weights * x).sum(dim=-1)


class BidirectionalAggregation(nn.Module):
    """Bi-ISA: ``(..., K words, K frames)`` into one, ``present (..., K)`` of both axes → ``(...)``."""

    def __init__(self, *, size: int, softmax_lambda: float) -> None:
        super().__init__()
        self.words_first = InteractiveAggregation(size=size, softmax_lambda=softmax_lambda)
        self.frames_second = InteractiveAggregation(size=size, softmax_lambda=softmax_lambda)
        self.frames_first = InteractiveAggregation(size=size, softmax_lambda=softmax_lambda)
        self.words_second = InteractiveAggregation(size=size, softmax_lambda=softmax_lambda)

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        along = present[..., None, :]  # the same ranks are present along words and along frames
        of_frames = self.words_first(x.mT, along)  # (..., K frames); 0 where the frame is absent
        of_words = self.frames_first(x, along)  # (..., K words)
        total: Tensor = self.frames_second(of_frames, present) + self.words_second(of_words, present)
        return total / 2


class LinearSoftmaxAggregation(nn.Module):
    """LSA: the scaled parts ``(T, V, P)`` into logits ``(T, V)``. The matrix starts as the identity."""

    def __init__(self, *, parts: int = 4) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(parts))

    def weights(self, z: Tensor) -> Tensor:
        """How much each part counts, ``(T, V, P)``, summing to one."""
        return (z @ self.matrix).softmax(dim=-1)

    def forward(self, z: Tensor) -> Tensor:
        return (self.weights(z) * z).sum(dim=-1)
