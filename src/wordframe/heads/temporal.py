"""Temporal heads of CLIP4Clip: what makes contextual frames of frames, ``(V, F, D), mask → (V, F, D)``.

*seqTransf*: ``contextual = frames + blocks(frames + positions)``: CLIP-style blocks with LayerNorm ε = 1e-12, padded
frames masked as keys, residual to the raw frames. TC-MGC and X-CLIP use the same head; ``Transformer`` alone is also
the joint one that ``tight.py`` is given. *seqLSTM*: ``contextual = frames + LSTM(frames)``, one layer over the
real frames only (Luo et al., arXiv 2104.08860). Neighbours: ``base.py`` (the contract), ``excitation.py``.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from wordframe.heads.base import TemporalHead

LAYER_NORM_EPS = 1e-12
"""The authors' blocks stand on BERT's code; CLIP's own norms have 1e-5."""


class QuickGELU(nn.Module):
    """``x · sigmoid(1.702 x)``, the activation of OpenAI's CLIP.

    Written with SiLU, ``y · sigmoid(y)``, whose backward pass keeps one tensor instead of three.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(1.702 * x) / 1.702


class TransformerBlock(nn.Module):
    """Pre-norm self-attention and MLP with residuals: ``(N, L, D), key_mask (N, L) → (N, L, D)``."""

    def __init__(self, *, dimension: int, heads: int) -> None:
        super().__init__()
        if dimension % heads:
            raise ValueError(f"heads={heads} does not divide dimension={dimension}; choose a divisor")
        self.heads = heads
        self.attention_norm = nn.LayerNorm(dimension, eps=LAYER_NORM_EPS)
        self.qkv = nn.Linear(dimension, 3 * dimension)
        self.out = nn.Linear(dimension, dimension)
        self.mlp_norm = nn.LayerNorm(dimension, eps=LAYER_NORM_EPS)
        self.mlp = nn.Sequential(nn.Linear(dimension, 4 * dimension), QuickGELU(), nn.Linear(4 * dimension, dimension))

    def attend(self, x: Tensor, key_mask: Tensor) -> Tensor:
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (N, heads, L, D / heads)
            for part in self.qkv(x).chunk(3, dim=-1)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=key_mask[:, None, None, :])
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(-2))  # (N, L, D)
        return out

    def forward(self, x: Tensor, key_mask: Tensor) -> Tensor:
        x = x + self.attend(self.attention_norm(x), key_mask)
        out: Tensor = x + self.mlp(self.mlp_norm(x))
        return out


class Transformer(nn.Module):
    """Learned positions and a stack of blocks: ``(N, L, D), key_mask (N, L) → (N, L, D)``, without a residual around.

    Args:
        dimension: ``D``.
        heads: attention heads of each block; must divide ``D``.
        layers: number of blocks.
        positions: rows of the position table, ``max_length``: the longest ``L`` allowed.
    """

    def __init__(self, *, dimension: int, heads: int, layers: int, positions: int) -> None:
        super().__init__()
        self.max_length = positions
        self.positions = nn.Embedding(positions, dimension)
        self.blocks = nn.ModuleList(TransformerBlock(dimension=dimension, heads=heads) for _ in range(layers))
        self._initialise(dimension, layers)

    def _initialise(self, dimension: int, layers: int) -> None:
        """CLIP's own start: without it deep pre-norm stacks begin with too large residual branches."""
        nn.init.normal_(self.positions.weight, std=0.01)
        for block in self.blocks:
            assert isinstance(block, TransformerBlock)
            for linear, std in (
                (block.qkv, dimension**-0.5),
                (block.out, (2 * layers * dimension) ** -0.5),
                (block.mlp[0], (2 * dimension) ** -0.5),
                (block.mlp[2], (2 * layers * dimension) ** -0.5),
            ):
                assert isinstance(linear, nn.Linear)
                nn.init.normal_(linear.weight, std=std)
                nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor, key_mask: Tensor) -> Tensor:
        length = x.shape[1]
        if length > self.max_length:
            raise ValueError(
                f"a sequence of {length} exceeds the {self.max_length} learned positions; pass fewer frames"
            )
        x = x + self.positions.weight[:length]
        for block in self.blocks:
            x = block(x, key_mask)
        return x


class TemporalTransformer(Transformer, TemporalHead):
    """``frames + Transformer(frames)``: the seqTransf head, ``(V, F, D), frame_mask (V, F) → (V, F, D)``."""

    def __init__(self, *, dimension: int, heads: int, layers: int, positions: int) -> None:
        super().__init__(dimension=dimension, heads=heads, layers=layers, positions=positions)
        self.max_frames = positions

    def forward(self, frames: Tensor, frame_mask: Tensor) -> Tensor:
        return frames + super().forward(frames, frame_mask)


class TemporalLSTM(TemporalHead):
    """The seqLSTM head, ``(V, F, D), frame_mask (V, F) → (V, F, D)``; its output at padded frames is 0.

    ``dimension``: ``D``, of the frames and of the hidden state.
    """

    def __init__(self, *, dimension: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(dimension, dimension, batch_first=True)

    def forward(self, frames: Tensor, frame_mask: Tensor) -> Tensor:
        # Real frames first, in their order: an LSTM only looks back, so none of them then sees a padded one.
        order = (~frame_mask).long().argsort(dim=1, stable=True)[..., None].expand_as(frames)  # (V, F, D)
        compact, _ = self.lstm(frames.gather(1, order))
        states = compact.new_zeros(compact.shape).scatter(1, order, compact)
        contextual: Tensor = frames + states.masked_fill(~frame_mask[..., None], 0.0)
        return contextual
