"""CLIP4Clip and EA-CLIP4Clip: temporal heads, blocks over frames, and the two ways of scoring.

*Temporal heads*, ``(V, F, D), mask → (V, F, D)``. seqTransf: ``contextual = frames + blocks(frames + positions)``,
CLIP-style blocks with LayerNorm ε = 1e-12, padded frames masked as keys, residual to the raw frames; TC-MGC and X-CLIP
use the same one. seqLSTM: ``contextual = frames + LSTM(frames)``, one layer over the real frames only.

*Blocks* of EA-CLIP4Clip. From the squeezed frames ``z_i = mean over D of f_i`` a two-layer network gives one number a
frame. Excitation takes its sigmoid and scales the frames, ``f_i ← e_i f_i``; aggregation takes its softmax and sums
them, ``v = Σ a_i f_i``. A reduction ratio above 1 squeezes the hidden layer, below 1 expands it.

*One vector a video*: ``logits = s · n(sentence) · v`` with ``v = n(pool(n(contextual frames)))``; the pool is the
masked mean, an aggregation, or either of them behind an excitation. The vectors do not depend on the text, so an
ordinary vector index searches them exactly.

*Tight*: a joint transformer over ``[sentence ; frames]`` of each pair; LayerNorm of position 0, Linear, QuickGELU,
Linear to one number; no scale ``s``; features go in raw.

CLIP4Clip: Luo et al., arXiv 2104.08860. EA-CLIP4Clip: Jing et al., arXiv 2406.01604. ``base.py`` is the contract.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wordframe.features import SimilarityOutput, TextFeatures, VideoFeatures
from wordframe.heads.base import Similarity, TemporalHead, masked_mean, new_logit_scale, scale, unit

INITIAL_STD = 0.02
"""Of the weights of new linear layers, whose biases start at 0: BERT's start, with which the authors begin as well."""
BERT_EPS = 1e-12
"""Of LayerNorm in the authors' blocks and pooler, which stand on BERT's code; CLIP's own norms have 1e-5."""
_LIVE_COPIES = 16
"""Tensors of a pair's size alive at the widest point of a block: input, residual, q, k, v, the MLP's 4 + 4, spare."""

# Temporal heads -------------------------------------------------------------------------------------------------------


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
        self.attention_norm = nn.LayerNorm(dimension, eps=BERT_EPS)
        self.qkv = nn.Linear(dimension, 3 * dimension)
        self.out = nn.Linear(dimension, dimension)
        self.mlp_norm = nn.LayerNorm(dimension, eps=BERT_EPS)
        self.mlp = nn.Sequential(nn.Linear(dimension, 4 * dimension), QuickGELU(), nn.Linear(4 * dimension, dimension))

    def attend(self, x: Tensor, key_mask: Tensor) -> Tensor:
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (N, heads, L, D / heads)
            for part in self.qkv(x).chunk(3, dim=-1)
        )
        # only keys are masked: padded queries look at real frames, so no softmax is empty; nobody reads what they give
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
        dropout: of the input with its positions, in training.
    """

    def __init__(self, *, dimension: int, heads: int, layers: int, positions: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.max_length = positions
        self.dropout = nn.Dropout(dropout)
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
        x = self.dropout(x + self.positions.weight[:length])
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


def _small_linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer as the authors start all but CLIP's own."""
    linear = nn.Linear(inputs, outputs)
    nn.init.normal_(linear.weight, std=INITIAL_STD)
    nn.init.zeros_(linear.bias)
    return linear


# EA-CLIP4Clip's blocks ------------------------------------------------------------------------------------------------


class FrameBlock(nn.Module):
    """One number a frame: ``W2 · act(W1 z + b1) + b2``, ``(V, F, D), frame_mask (V, F) → (V, F)``.

    Args:
        max_frames: frames the two layers are made for; shorter videos use their leading rows and columns.
        reduction_ratio: ``r``; the hidden layer has ``int(max_frames // r)`` units.
        activation: ``relu`` or ``relu6``.
        mask_padding: give padded frames ``z = 0`` and no weight; False lets them take part, as the released code does.
    """

    def __init__(self, *, max_frames: int, reduction_ratio: float, activation: str, mask_padding: bool) -> None:
        super().__init__()
        hidden = int(max_frames // reduction_ratio) if reduction_ratio > 0 else 0
        if hidden < 1:
            raise ValueError(
                f"reduction_ratio={reduction_ratio} leaves no hidden unit for max_frames={max_frames}; "
                f"it must be above 0 and at most {max_frames}"
            )
        if activation not in ("relu", "relu6"):
            raise ValueError(f"activation={activation!r} is not allowed; use 'relu' or 'relu6'")
        self.max_frames = max_frames
        self.mask_padding = mask_padding
        self.activation = F.relu if activation == "relu" else F.relu6
        # nearly 0 for every frame, so that the aggregation starts as mean pooling and the excitation halves all alike
        self.squeeze = _small_linear(max_frames, hidden)
        self.restore = _small_linear(hidden, max_frames)

    def frame_logits(self, frames: Tensor, frame_mask: Tensor) -> Tensor:
        num_frames = frames.shape[1]
        if num_frames > self.max_frames:
            raise ValueError(
                f"{num_frames} frames exceed max_frames={self.max_frames} of this block; sample the videos down to it"
            )
        # The layers mix all frames of a video, so a padded one must give them the same as a frame that is not there: 0.
        z = frames.mean(dim=-1)  # (V, F)
        if self.mask_padding:
            z = z.masked_fill(~frame_mask, 0.0)
        hidden = self.activation(F.linear(z, self.squeeze.weight[:, :num_frames], self.squeeze.bias))
        return F.linear(hidden, self.restore.weight[:num_frames], self.restore.bias[:num_frames])  # (V, F)


class Excitation(FrameBlock):
    """Scales each frame by ``sigmoid`` of its number: ``(V, F, D), frame_mask (V, F) → (V, F, D)``."""

    def forward(self, frames: Tensor, frame_mask: Tensor) -> Tensor:
        return frames * self.frame_logits(frames, frame_mask).sigmoid()[..., None]


class Aggregation(FrameBlock):
    """Sums the frames by the ``softmax`` of their numbers: ``(V, F, D), frame_mask (V, F) → (V, D)``."""

    def forward(self, frames: Tensor, frame_mask: Tensor) -> Tensor:
        logits = self.frame_logits(frames, frame_mask)
        if self.mask_padding:
            logits = logits.masked_fill(~frame_mask, float("-inf"))
        weights = logits.softmax(dim=-1)  # (V, F)
        return (weights[..., None] * frames).sum(dim=1)


class ExcitedHead(TemporalHead):
    """An excitation block, then a temporal head (none for tight): ``(V, F, D), frame_mask (V, F) → (V, F, D)``."""

    def __init__(self, *, excitation: Excitation, head: nn.Module | None = None) -> None:
        super().__init__()
        self.excitation = excitation
        self.head = head
        behind = getattr(head, "max_frames", None)
        self.max_frames = excitation.max_frames if behind is None else min(excitation.max_frames, behind)
        self.mask_padding = excitation.mask_padding and getattr(head, "mask_padding", True)

    def forward(self, frames: Tensor, frame_mask: Tensor) -> Tensor:
        excited: Tensor = self.excitation(frames, frame_mask)
        return excited if self.head is None else self.head(excited, frame_mask)


# Similarities ---------------------------------------------------------------------------------------------------------


class PooledSimilarity(Similarity):
    """Cosine of the sentence and one vector per video, times ``s``.

    Args:
        excitation: block ``(V, F, D), frame_mask → (V, F, D)`` before the pooling, or None.
        aggregation: block ``(V, F, D), frame_mask → (V, D)`` instead of the masked mean, or None.
        normalize_frames: normalise each frame before the blocks; the released EA code does not.
    """

    def __init__(
        self,
        *,
        excitation: nn.Module | None = None,
        aggregation: nn.Module | None = None,
        normalize_frames: bool = True,
        max_block_mb: int = 256,
    ) -> None:
        super().__init__(max_block_mb=max_block_mb)
        self.excitation = excitation
        self.aggregation = aggregation
        blocks = [block for block in (excitation, aggregation) if block is not None]
        limits = [getattr(block, "max_frames", None) for block in blocks]
        self.max_frames = min((limit for limit in limits if limit is not None), default=None)
        self.mask_padding = all(getattr(block, "mask_padding", True) for block in blocks)
        self.normalize_frames = normalize_frames
        self.logit_scale = new_logit_scale()

    def vectors(self, video: VideoFeatures) -> Tensor:
        """One unit vector per video, ``(V, D)``."""
        # The mean of unit vectors, not the unit vector of a mean: a frame of large norm must not outweigh the others.
        frames = unit(video.contextual) if self.normalize_frames else video.contextual  # (V, F, D)
        if self.excitation is not None:
            frames = self.excitation(frames, video.frame_mask)
        if self.aggregation is not None:
            return unit(self.aggregation(frames, video.frame_mask))
        return unit(masked_mean(frames, video.frame_mask))

    def compare(self, text: TextFeatures, video: VideoFeatures, method: str) -> SimilarityOutput:
        return SimilarityOutput(scale(self.logit_scale) * unit(text.sentence) @ self.vectors(video).T)

    def floats_per_pair(self, num_words: int, num_frames: int, dimension: int, method: str) -> int:
        return 2  # the cosine and the logit


class TightSimilarity(Similarity):
    """One number per pair from a joint transformer.

    Args:
        dimension: ``D``.
        transformer: ``(N, 1 + F, D), key_mask (N, 1 + F) → (N, 1 + F, D)``, with its own positions; where it has
            ``max_length``, the sentence takes one of them and frames the others.
    """

    def __init__(self, *, dimension: int, transformer: nn.Module, max_block_mb: int = 256) -> None:
        super().__init__(max_block_mb=max_block_mb)
        self.transformer = transformer
        length = getattr(transformer, "max_length", None)
        self.max_frames = None if length is None else length - 1
        self.pool_norm = nn.LayerNorm(dimension, eps=BERT_EPS)
        self.pool = _small_linear(dimension, dimension)
        self.score = _small_linear(dimension, 1)

    def compare(self, text: TextFeatures, video: VideoFeatures, method: str) -> SimilarityOutput:
        sentence, frames, mask = text.sentence, video.contextual, video.frame_mask
        T, (V, F, D) = len(sentence), frames.shape
        pairs = torch.cat([sentence[:, None, None].expand(T, V, 1, D), frames[None].expand(T, V, F, D)], dim=2)
        keys = torch.cat([mask.new_ones(V, 1), mask], dim=1).expand(T, V, 1 + F)
        first: Tensor = self.transformer(pairs.flatten(0, 1), keys.flatten(0, 1))[:, 0]  # (T·V, D)
        hidden = self.pool(self.pool_norm(first))
        hidden = hidden * torch.sigmoid(1.702 * hidden)  # QuickGELU, as everywhere in CLIP
        logits: Tensor = self.score(hidden)  # (T·V, 1)
        return SimilarityOutput(logits.view(T, V))

    def floats_per_pair(self, num_words: int, num_frames: int, dimension: int, method: str) -> int:
        return _LIVE_COPIES * (1 + num_frames) * dimension
