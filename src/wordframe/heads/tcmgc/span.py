"""Language-video attention in the span of a video's frames: the same numbers without a ``D``-sized vector per word.

LVA's output is a combination of ``R + 2`` vectors known per video, ``R = heads · F`` (one more with projections): with
coefficients ``c`` (the attention) over the centred rows ``x̂``, LN2 is ``(c x̂ γ2) / σ2 + β2`` with ``G = x̂ x̂ᵀ / D``
and ``σ2² = c G cᵀ + ε``; ``a + Linear(a)`` is ``(c U) / σ2 + constant``; LN3 goes the same way over ``[U ; constant]``.
So a conditioned vector is ``z · B`` and any product with a text vector ``w`` is ``z · (B w)``. This is ours. Dropout
on ``Linear(a)`` stays in the span if its mask belongs to the video: it multiplies the columns of ``x̂ γ2 Wᵀ`` and of
``W β2 + b``. ``head.py`` calls it; ``lva.py`` is the plain form.

First, tensor operations, for gradients, float64 and GPUs: ``video_span``, ``coefficients``, ``projected``. Then what
the compiled loop of ``_kernels/tcmgc.py`` reads. The rows of ``B`` are linear in the frames: ``B_i = x_i M`` with
``x = LN1(frames)`` and, per head, ``M = C γ2 (I + Wᵀ) C γ3`` (``C`` centres a row). So ``B_i · w = x_i · (M w)``: the
matrix goes to the text's side, once a word (``pulled_back``), and all three products of a pair are products with ``x``
itself. What is left of a video's span are the three Gram matrices behind ``z`` (``span_statistics``, about 1 KB for 12
frames): they cost a ``D × D`` product a frame and hold for the weights that made them, so a library keeps them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from wordframe.heads._fused import in_groups, in_lanes, in_threads, join, pick, product
from wordframe.heads._kernels import usable
from wordframe.heads.base import VideoStatistics
from wordframe.heads.tcmgc.lva import LanguageVideoAttention

BLOCK_VIDEOS = 32
"""Videos whose spans one thread makes at once: as many as its cache holds."""


@dataclass(frozen=True)
class VideoSpan:
    """What a video contributes, whatever the text.

    gram2: ``(V, R, R)``; gram3: ``(V, R + 1, R + 1)``; basis: ``B``, ``(V, R + 2, D)``; basis_gram: ``B Bᵀ``,
    ``(V, R + 2, R + 2)``.
    """

    gram2: Tensor
    gram3: Tensor
    basis: Tensor
    basis_gram: Tensor


def video_span(attention: LanguageVideoAttention, frames: Tensor, factors: Tensor | None = None) -> VideoSpan:
    """The span of each video from its contextual frames ``(V, F, D)``; factors: dropout's ``(V, D)``, if any."""
    norm2, norm3, linear = attention.norm2, attention.norm3, attention.linear
    V, _, D = frames.shape
    rows = _centred(_value_rows(attention, attention.norm1(frames)))  # (V, R, D)
    scaled = rows * norm2.weight
    turned, constant = _times(scaled, linear.weight), linear(norm2.bias).expand(V, 1, D)
    if factors is not None:
        turned, constant = turned * factors[:, None], constant * factors[:, None]
    U = scaled + turned  # (V, R, D)
    Y = _centred(torch.cat([U, norm2.bias + constant], dim=1))  # (V, R + 1, D)
    basis = torch.cat([Y * norm3.weight, norm3.bias.expand(V, 1, D)], dim=1)
    return VideoSpan(rows @ rows.mT / D, Y @ Y.mT / D, basis, basis @ basis.mT)


def coefficients(attention: LanguageVideoAttention, span: VideoSpan, weights: Tensor) -> Tensor:
    """Coefficients ``(T, Q, V, R + 2)`` of the normalised conditioned vectors from the attention's ``weights``.

    weights: ``(T, Q, V, heads, F)``. With three quadratic forms ``q`` and three linear ones ``p`` in them, ``σ2² = q0 +
    ε``, ``σ3² = q1 / σ2² + p0 / σ2 + G3 + ε`` and the squared length likewise.
    """
    R = span.gram2.shape[-1]
    c = weights.flatten(-2)  # (T, Q, V, heads · F)
    c = F.pad(c, (0, R - c.shape[-1]), value=1.0)  # (T, Q, V, R); the bias row of projections counts once
    q, p = _forms(c, span)
    i2 = (q[0] + attention.norm2.eps).rsqrt()  # 1 / σ2, (T, Q, V)
    i3 = ((q[1] * i2 + p[0]) * i2 + span.gram3[:, R, R] + attention.norm3.eps).rsqrt()
    a, last = i2 * i3, span.basis_gram[:, R:, R:]  # (V, 2, 2)
    length2 = (q[2] * a + p[1] * i3 + p[2]) * a + (last[:, 0, 0] * i3 + 2 * last[:, 0, 1]) * i3 + last[:, 1, 1]
    # The length is a sum that may cancel, so rounding can leave 0 or less of it; a video of equal entries has none.
    inverse = length2.clamp(min=torch.finfo(c.dtype).tiny).rsqrt()
    return torch.cat([c * (a * inverse)[..., None], torch.stack([i3 * inverse, inverse], dim=-1)], dim=-1)


def projected(span: VideoSpan, vectors: Tensor) -> Tensor:
    """``B w`` for text vectors ``(T, N, D)`` and each video: ``(T, N, V, R + 2)``."""
    return torch.einsum("tnd,vrd->tnvr", vectors, span.basis)


def _forms(c: Tensor, span: VideoSpan) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Quadratic and linear forms in ``c (T, Q, V, R)``, three ``(T, Q, V)`` each, by one product a video.

    One matrix for all six: ``c`` is the largest tensor here, and reading it six times would take most of the time.
    """
    R, grams = c.shape[-1], (span.gram2, span.gram3, span.basis_gram)
    linear = [2 * span.gram3[:, :R, R], 2 * span.basis_gram[:, :R, R], 2 * span.basis_gram[:, :R, R + 1]]
    matrix = torch.cat([*(gram[:, :R, :R] for gram in grams), torch.stack(linear, dim=-1)], dim=-1)  # (V, R, 3 R + 3)
    products = torch.einsum("tqvr,vrs->tqvs", c, matrix)
    squares = (products[..., : 3 * R].view(*c.shape[:-1], 3, R) * c[..., None, :]).sum(dim=-1)
    return squares.unbind(dim=-1), products[..., 3 * R :].unbind(dim=-1)


def _value_rows(attention: LanguageVideoAttention, normed: Tensor) -> Tensor:
    """Rows whose combination by the heads' weights is LN2's input: each frame's values of one head, zero elsewhere."""
    V, num_frames, D = normed.shape
    heads = attention.heads
    values = attention.value(normed).view(V, num_frames, heads, D // heads)
    rows: Tensor = values.new_zeros(V, heads, num_frames, heads, D // heads)
    rows.diagonal(dim1=1, dim2=3).copy_(values.permute(0, 1, 3, 2))
    rows = rows.view(V, heads * num_frames, D)
    if isinstance(attention.out, nn.Linear):
        bias = attention.out.bias.expand(V, 1, D)
        rows = torch.cat([rows @ attention.out.weight.T, bias], dim=1)
    return rows


def _times(rows: Tensor, weight: Tensor) -> Tensor:
    """``rows weightᵀ``: ``(V, R, D), (D, D) → (V, R, D)``, by the fastest product there is."""
    if usable(rows, weight):
        return product(rows.flatten(0, 1), weight).view_as(rows)
    return rows @ weight.T


def _centred(rows: Tensor) -> Tensor:
    return rows - rows.mean(dim=-1, keepdim=True)


# What the compiled loop reads -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SpanGroups:
    """``C`` groups of ``LANES`` videos. ``P`` pairs ``(r, s ≤ r)`` of a span's ``R`` rows.

    frames: ``(C, F, LANES, D)``, behind LN1, float32 or bfloat16; real: ``(C, F, LANES)``, 1 or 0; statistics:
    ``(C, P + R, 3, LANES)``, see ``span_statistics``; broken: ``(V,)``, videos with a number that is not finite.
    """

    frames: Tensor
    real: Tensor
    statistics: Tensor
    broken: Tensor

    def __len__(self) -> int:
        return len(self.broken)

    def __getitem__(self, rows: slice | Tensor) -> SpanGroups:
        index = torch.arange(len(self))[rows]
        lane_axes = {"frames": -2, "real": -1, "statistics": -1}
        return SpanGroups(**pick(vars(self), lane_axes, index), broken=self.broken[index])


def span_groups(
    attention: LanguageVideoAttention,
    frames: Tensor,
    frame_mask: Tensor | None,
    *,
    statistics: Sequence[VideoStatistics] | None,
    dtype: torch.dtype,
) -> SpanGroups:
    """The groups of contextual frames ``(V, F, D)``; ``frame_mask`` None lets padding take part.

    statistics: what ``kept_statistics`` gave for these videos; None to make them. dtype: of ``frames`` in the groups.
    """
    # Zeros before LN1 make LN1's bias of a padded frame: finite, and without weight, which is all the loop asks of it.
    real, frames = _masked(frames, frame_mask)
    made = span_statistics(attention, frames) if statistics is None else None
    groups: list[SpanGroups] = []

    def group(_: None) -> None:
        kept = _unpacked(attention, statistics or (), real) if made is None else made
        broken = ~(frames.sum(dim=(1, 2)) + kept.sum(dim=(1, 2))).isfinite()
        normed = attention.norm1(frames).to(dtype)
        groups.append(SpanGroups(in_groups(normed), in_lanes(real.to(frames.dtype)), in_lanes(kept), broken))

    in_threads(group, [None])  # little work: torch's own threads would wait for each other on a busy machine
    return groups[0]


def span_statistics(attention: LanguageVideoAttention, frames: Tensor) -> Tensor:
    """The three Gram matrices of each video ``(V, F, D)`` as the loop reads them, ``(V, P + R, 3)``.

    First their lower triangles row by row, what lies off the diagonal twice; then for each row its product with the row
    of LN3's constant, that of ``B`` with the constant, and that of ``B`` with β3, all twice.
    """
    starts = range(0, max(len(frames), 1), BLOCK_VIDEOS)
    blocks: dict[int, Tensor] = {}

    def make(start: int) -> None:
        blocks[start] = _statistics_of_block(attention, frames[start : start + BLOCK_VIDEOS])

    in_threads(make, starts)
    return join([blocks[start] for start in starts])


def _statistics_of_block(attention: LanguageVideoAttention, frames: Tensor) -> Tensor:
    span = video_span(attention, frames)
    R = span.gram2.shape[-1]
    row, column = torch.tril_indices(R, R, device=frames.device)
    grams = torch.stack([span.gram2, span.gram3[:, :R, :R], span.basis_gram[:, :R, :R]], dim=-1)  # (V, R, R, 3)
    squares = grams[:, row, column] * torch.where(row == column, 1.0, 2.0)[:, None].to(grams.dtype)
    linears = 2 * torch.stack([span.gram3[:, :R, R], span.basis_gram[:, :R, R], span.basis_gram[:, :R, R + 1]], dim=-1)
    return torch.cat([squares, linears], dim=1)


def kept_statistics(
    attention: LanguageVideoAttention, frames: Tensor, frame_mask: Tensor | None
) -> list[VideoStatistics]:
    """``span_statistics`` of each video's real frames alone, for storing."""
    real, frames = _masked(frames, frame_mask)
    statistics, counts = span_statistics(attention, frames).float().cpu(), real.sum(dim=1).tolist()
    bias = isinstance(attention.out, nn.Linear)
    kept = []
    for row, count in enumerate(counts):
        places = _places(attention.heads, bias, count, frames.shape[1])
        kept.append(statistics[row, places].flatten().numpy())
    return kept


def _unpacked(attention: LanguageVideoAttention, statistics: Sequence[VideoStatistics], real: Tensor) -> Tensor:
    """``span_statistics`` from what was kept, for videos padded to ``real (V, F)``; 0 where padding would stand."""
    num_frames, bias = real.shape[1], isinstance(attention.out, nn.Linear)
    size = len(_places(attention.heads, bias, num_frames, num_frames))
    out = torch.zeros(len(real), size, 3)
    counts = real.sum(dim=1)
    for count in sorted(set(counts.tolist())):
        rows = (counts == count).nonzero()[:, 0]
        cells = torch.from_numpy(np.stack([statistics[row] for row in rows.tolist()])).view(len(rows), -1, 3)
        places = _places(attention.heads, bias, count, num_frames)
        if cells.shape[1] != len(places):
            raise ValueError(
                f"statistics of video {int(rows[0])} are {3 * cells.shape[1]} numbers, its {count} frames need "
                f"{3 * len(places)}; they were made of other frames or by another model"
            )
        out[rows[:, None], places] = cells
    return out


@cache
def _places(heads: int, bias: bool, count: int, num_frames: int) -> Tensor:
    """Where the numbers of a video of ``count`` frames stand among those of one padded to ``num_frames``."""
    rows = [head * num_frames + frame for head in range(heads) for frame in range(count)]
    rows += [heads * num_frames] * bias
    R = heads * num_frames + bias
    pairs = [r * (r + 1) // 2 + s for i, r in enumerate(rows) for s in rows[: i + 1]]
    return torch.tensor([*pairs, *(R * (R + 1) // 2 + r for r in rows)])


def _masked(frames: Tensor, frame_mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Which frames take part, and the frames without what padding may hold, NaN too."""
    if frame_mask is None or frame_mask.all():
        return torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device), frames
    return frame_mask, frames.masked_fill(~frame_mask[..., None], 0.0)


def pulled_back(attention: LanguageVideoAttention, vectors: Tensor) -> Tensor:
    """``M w`` for text vectors ``w (N, D)``, a piece for each head ``(N, heads, D or D / heads)``."""
    turned = _centred(vectors * attention.norm3.weight)
    turned = _centred((turned + product(turned, attention.linear.weight.T)) * attention.norm2.weight)
    if isinstance(attention.out, nn.Linear):
        turned = product(turned, attention.out.weight.T)
    return _by_head(attention, attention.value, turned)


def looked_for(attention: LanguageVideoAttention, queries: Tensor) -> Tensor:
    """What LN1 of a frame is multiplied with for a query's attention logits: ``(N, D) → (N, heads, D or D / heads)``.

    A bias of the keys adds the same to all frames' logits of a head, so it is left out.
    """
    return _by_head(attention, attention.key, attention.to_query(queries).flatten(1))


def _by_head(attention: LanguageVideoAttention, projection: nn.Module, vectors: Tensor) -> Tensor:
    """Each head's slice of ``vectors (N, D)``, taken back through ``projection`` where there is one."""
    size = vectors.shape[1] // attention.heads
    pieces = vectors.view(-1, attention.heads, size)  # (N, heads, D / heads)
    if not isinstance(projection, nn.Linear):
        return pieces
    by_head: Tensor = torch.einsum("nhd,hde->nhe", pieces, projection.weight.view(attention.heads, size, -1))
    return by_head


def shared_rows(attention: LanguageVideoAttention) -> Tensor:
    """The rows of ``B (2 or 3, D)`` that are the same for every video: the projections' biases, LN3's constant, β3."""
    norm2, norm3 = attention.norm2, attention.norm3
    rows = [norm2.bias + attention.linear(norm2.bias)]
    if isinstance(attention.out, nn.Linear):
        scaled = _centred(attention.out(attention.value.bias)) * norm2.weight
        rows = [scaled + scaled @ attention.linear.weight.T, *rows]
    return torch.cat([_centred(torch.stack(rows)) * norm3.weight, norm3.bias[None]])


def shared_statistics(attention: LanguageVideoAttention) -> NDArray[np.float32]:
    """Entries of the Gram matrices that are the same for every video: LN3's of its constant, ``B Bᵀ``. ``(4,)``"""
    *_, scaled, bias = shared_rows(attention)
    constant = _centred(attention.norm2.bias + attention.linear(attention.norm2.bias))
    found = [constant @ constant / len(constant), scaled @ scaled, 2 * (scaled @ bias), bias @ bias]
    return torch.stack(found).detach().numpy()
