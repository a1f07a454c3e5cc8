"""Language-video attention (LVA): a sentence or a word looks at the frames of a video (TC-MGC, after X-Pool).

``x = LN1(frames)``, ``α = softmax(LN1(q) · x / sqrt(D / heads))`` per head, ``a = LN2(Σ α x)``, ``o = LN3(a +
Linear(a))`` (Jing et al., arXiv 2504.04707; X-Pool, arXiv 2203.15086). Identity at the start is part of the method.
``head.py`` builds on it; ``span.py`` gives the same numbers without a vector per query and video.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LAYER_NORM_EPS = 1e-5
"""torch's own, unlike that of the temporal heads; the authors' numbers hold with it."""
DROPOUT_MODES = ("video", "element")


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
        dropout_mode: ``video`` draws one mask ``(D,)`` a video and step, shared by all queries, which keeps the output
            in the span of the video's frames; ``element`` draws for each query and video, as published.
        projections: learned query, key, value and output projections, as published; the released code has none.
    """

    def __init__(
        self,
        *,
        dimension: int,
        heads: int = 1,
        dropout: float = 0.3,
        dropout_mode: str = "video",
        projections: bool = False,
    ) -> None:
        super().__init__()
        if dimension % heads:
            raise ValueError(f"heads={heads} does not divide dimension={dimension}; choose a divisor")
        if dropout_mode not in DROPOUT_MODES:
            raise ValueError(
                f"dropout_mode={dropout_mode!r} is not known; use one of {', '.join(map(repr, DROPOUT_MODES))}"
            )
        self.heads = heads
        self.dropout_mode = dropout_mode
        self.norm1 = nn.LayerNorm(dimension, eps=LAYER_NORM_EPS)
        self.norm2 = nn.LayerNorm(dimension, eps=LAYER_NORM_EPS)
        self.norm3 = nn.LayerNorm(dimension, eps=LAYER_NORM_EPS)
        self.linear = identity_linear(dimension)
        self.dropout = nn.Dropout(dropout)
        self.query, self.key, self.value, self.out = (
            identity_linear(dimension) if projections else nn.Identity() for _ in range(4)
        )

    @property
    def drops(self) -> bool:
        """Whether dropout takes place now."""
        return self.training and self.dropout.p > 0

    def attention(self, queries: Tensor, frames: Tensor, frame_mask: Tensor | None) -> Tensor:
        """Weights of each head over the frames, ``(T, Q, V, heads, F)``; ``frame_mask`` None lets padding take part."""
        return self.weights(self.to_query(queries), self.to_key(frames), frame_mask)

    def forward(self, queries: Tensor, frames: Tensor, frame_mask: Tensor | None) -> Tensor:
        x = self.norm1(frames)  # (V, F, D)
        weights = self.weights(self.to_query(queries), self._by_head(self.key(x)), frame_mask)
        values = self._by_head(self.value(x))
        mixed = torch.einsum("tqvhf,vfhd->tqvhd", weights, values).flatten(-2)  # (T, Q, V, D)
        a = self.norm2(self.out(mixed))
        turned, factors = self.linear(a), self.video_factors(frames)
        dropped = self.dropout(turned) if factors is None else turned * factors
        conditioned: Tensor = self.norm3(a + dropped)
        return conditioned

    def video_factors(self, frames: Tensor) -> Tensor | None:
        """New masks ``(V, D)``, 0 or ``1 / (1 − p)``, for ``Linear(a)``; None where nothing is dropped by the video."""
        if not self.drops or self.dropout_mode != "video":
            return None
        # Dropout of ones: the mask of a video, which the span form can multiply into its rows (``span.video_span``).
        return F.dropout(frames.new_ones(len(frames), frames.shape[-1]), self.dropout.p)

    def to_query(self, queries: Tensor) -> Tensor:
        """Queries ``(..., D)`` as the attention compares them: ``(..., heads, D / heads)``."""
        # LN1 is shared by texts and frames, as published; the scale goes to the smaller side, once a query.
        q: Tensor = self.query(self.norm1(queries))
        return self._by_head(q / (q.shape[-1] // self.heads) ** 0.5)

    def to_key(self, frames: Tensor) -> Tensor:
        """Frames ``(..., D)`` as the attention compares them: ``(..., heads, D / heads)``."""
        return self._by_head(self.key(self.norm1(frames)))

    def weights(self, q: Tensor, k: Tensor, frame_mask: Tensor | None) -> Tensor:
        """``attention`` of ``to_query (T, Q, heads, D / heads)`` and ``to_key (V, F, heads, D / heads)``."""
        logits = torch.einsum("tqhd,vfhd->tqvhf", q, k)
        if frame_mask is not None:
            logits = logits.masked_fill(~frame_mask[:, None, :], float("-inf"))
        weights: Tensor = logits.softmax(dim=-1)
        return weights

    def _by_head(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.heads, x.shape[-1] // self.heads)
