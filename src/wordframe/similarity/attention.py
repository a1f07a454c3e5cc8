"""Language-video attention (LVA): a sentence or a word looks at the frames of a video (TC-MGC, after X-Pool).

``x = LN1(frames)``, ``α = softmax(LN1(q) · x / sqrt(D / heads))`` per head, ``a = LN2(Σ α x)``, ``o = LN3(a +
Linear(a))`` (Jing et al., arXiv 2504.04707; X-Pool, arXiv 2203.15086). Identity at the start is part of the method.
``text_conditioned.py`` builds on it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LAYER_NORM_EPS = 1e-5


def identity_linear(dimension: int) -> nn.Linear:
    """A Linear that starts as the identity."""
    linear = nn.Linear(dimension, dimension)
    nn.init.eye_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


class LanguageVideoAttention(nn.Module):
    """Videos as each query sees them: ``queries (T, Q, D), frames (V, F, D) → (T, Q, V, D)``, not normalised.

    Args:
        dimension: ``D``.
        heads: attention heads; must divide ``D``.
        dropout: on ``Linear(a)``, in training.
        projections: learned query, key, value and output projections, as published; the released code has none.
    """

    def __init__(self, *, dimension: int, heads: int = 1, dropout: float = 0.3, projections: bool = False) -> None:
        super().__init__()
        if dimension % heads:
            raise ValueError(f"heads={heads} does not divide dimension={dimension}; choose a divisor")
        self.heads = heads
        self.norm1 = nn.LayerNorm(dimension, eps=LAYER_NORM_EPS)
        self.norm2 = nn.LayerNorm(dimension, eps=LAYER_NORM_EPS)
        self.norm3 = nn.LayerNorm(dimension, eps=LAYER_NORM_EPS)
        self.linear = identity_linear(dimension)
        self.dropout = nn.Dropout(dropout)
        self.query, self.key, self.value, self.out = (
            identity_linear(dimension) if projections else nn.Identity() for _ in range(4)
        )

    def attention(self, queries: Tensor, frames: Tensor, frame_mask: Tensor | None) -> Tensor:
        """Weights of each head over the frames, ``(T, Q, V, heads, F)``; ``frame_mask`` None lets padding take part."""
        return self.weights(self.norm1(queries), self.norm1(frames), frame_mask)

    def forward(self, queries: Tensor, frames: Tensor, frame_mask: Tensor | None) -> Tensor:
        x = self.norm1(frames)  # (V, F, D)
        weights = self.weights(self.norm1(queries), x, frame_mask)
        values = self.value(x).unflatten(-1, (self.heads, -1))
        mixed = torch.einsum("tqvhf,vfhd->tqvhd", weights, values).flatten(-2)  # (T, Q, V, D)
        a = self.norm2(self.out(mixed))
        conditioned: Tensor = self.norm3(a + self.dropout(self.linear(a)))
        return conditioned

    def weights(self, q: Tensor, x: Tensor, frame_mask: Tensor | None) -> Tensor:
        """``attention`` for queries and frames that went through LN1 already."""
        q = self.query(q).unflatten(-1, (self.heads, -1))  # (T, Q, heads, D / heads)
        k = self.key(x).unflatten(-1, (self.heads, -1))  # (V, F, heads, D / heads)
        logits = torch.einsum("tqhd,vfhd->tqvhf", q, k) / q.shape[-1] ** 0.5
        if frame_mask is not None:
            logits = logits.masked_fill(~frame_mask[:, None, :], float("-inf"))
        weights: Tensor = logits.softmax(dim=-1)
        return weights
