"""Language-video attention in the span of a video's frames: the same numbers without a ``D``-sized vector per word.

LVA's output is a combination of ``R + 2`` vectors known per video, ``R = heads · F`` (one more with projections): with
coefficients ``c`` (the attention) over the centred rows ``x̂``, LN2 is ``(c x̂ γ2) / σ2 + β2`` with ``G = x̂ x̂ᵀ / D``
and ``σ2² = c G cᵀ + ε``; ``a + Linear(a)`` is ``(c U) / σ2 + constant``; LN3 goes the same way over ``[U ; constant]``.
So a conditioned vector is ``z · B`` and any product with a text vector ``w`` is ``z · (B w)``. This is ours; dropout
per pair leaves the span, so it is for inference. ``text_conditioned.py`` calls it; ``attention.py`` is the plain form.
``coefficients`` and ``projected`` are tensor operations, for gradients, float64 and GPUs; ``SpanGroups`` is what the
compiled loop of ``kernels/conditioned.py`` reads on CPU.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wordframe.similarity import kernels
from wordframe.similarity.attention import LanguageVideoAttention
from wordframe.similarity.kernels.products import in_threads, product
from wordframe.similarity.kernels.tiles import in_groups, in_lanes, join, pick


@dataclass(frozen=True)
class VideoSpan:
    """What a video contributes, whatever the text.

    normed: ``(V, F, D)``, LN1 of the frames; gram2: ``(V, R, R)``; gram3: ``(V, R + 1, R + 1)``; basis: ``B``,
    ``(V, R + 2, D)``; basis_gram: ``B Bᵀ``, ``(V, R + 2, R + 2)``.
    """

    normed: Tensor
    gram2: Tensor
    gram3: Tensor
    basis: Tensor
    basis_gram: Tensor


def video_span(attention: LanguageVideoAttention, frames: Tensor) -> VideoSpan:
    """The span of each video from its contextual frames ``(V, F, D)``."""
    norm2, norm3, linear = attention.norm2, attention.norm3, attention.linear
    D = frames.shape[-1]
    normed = attention.norm1(frames)
    rows = _centred(_value_rows(attention, normed))  # (V, R, D)
    scaled = rows * norm2.weight
    U = scaled + _times(scaled, linear.weight)  # (V, R, D)
    constant = norm2.bias + linear(norm2.bias)  # (D,)
    Y = _centred(torch.cat([U, constant.expand(len(U), 1, D)], dim=1))  # (V, R + 1, D)
    basis = torch.cat([Y * norm3.weight, norm3.bias.expand(len(U), 1, D)], dim=1)
    return VideoSpan(normed, rows @ rows.mT / D, Y @ Y.mT / D, basis, basis @ basis.mT)


def coefficients(
    attention: LanguageVideoAttention, span: VideoSpan, queries: Tensor, frame_mask: Tensor | None
) -> Tensor:
    """Coefficients ``(T, Q, V, R + 2)`` of the normalised conditioned vectors of ``queries (T, Q, D)``."""
    weights = attention.weights(attention.norm1(queries), span.normed, frame_mask).flatten(-2)  # (T, Q, V, heads · F)
    extra = span.gram2.shape[-1] - weights.shape[-1]
    c = F.pad(weights, (0, extra), value=1.0)  # (T, Q, V, R); the bias row of projections counts once
    y = c / (_quadratic(c, span.gram2) + attention.norm2.eps).sqrt()
    y = F.pad(y, (0, 1), value=1.0)  # (T, Q, V, R + 1)
    z = y / (_quadratic(y, span.gram3) + attention.norm3.eps).sqrt()
    z = F.pad(z, (0, 1), value=1.0)  # (T, Q, V, R + 2)
    length2 = _quadratic(z, span.basis_gram).clamp(min=torch.finfo(z.dtype).tiny)
    return z * length2.rsqrt()


def projected(span: VideoSpan, vectors: Tensor) -> Tensor:
    """``B w`` for text vectors ``(T, N, D)`` and each video: ``(T, N, V, R + 2)``."""
    return torch.einsum("tnd,vrd->tnvr", vectors, span.basis)


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
    if kernels.usable(rows, weight):
        return product(rows.flatten(0, 1), weight).view_as(rows)
    return rows @ weight.T


def _centred(rows: Tensor) -> Tensor:
    return rows - rows.mean(dim=-1, keepdim=True)


def _quadratic(c: Tensor, gram: Tensor) -> Tensor:
    """``c G cᵀ``: ``(T, Q, V, R), (V, R, R) → (T, Q, V, 1)``."""
    product: Tensor = torch.einsum("tqvr,vrs->tqvs", c, gram)
    return (product * c).sum(dim=-1, keepdim=True)


@dataclass(frozen=True)
class SpanGroups:
    """The span of videos as the compiled loop reads it: ``C`` groups of ``LANES`` videos, float32.

    keys: ``(C, F, LANES, D)``, what queries are compared with; basis: ``(C, R, LANES, D)``, the rows of ``B`` that
    differ between videos; real: ``(C, F, LANES)``, 1 or 0; squares: ``(C, R (R + 1) / 2, 3, LANES)``, lower triangles
    of the three Gram matrices, those off the diagonal twice; linears: ``(C, R, 3, LANES)`` and constants:
    ``(C, 4, LANES)``, their rows and numbers that belong to the rows of ``B`` shared by all videos; broken: ``(V,)``,
    videos with a number that is not finite.
    """

    keys: Tensor
    basis: Tensor
    real: Tensor
    squares: Tensor
    linears: Tensor
    constants: Tensor
    broken: Tensor

    def __len__(self) -> int:
        return len(self.broken)

    def __getitem__(self, rows: slice | Tensor) -> SpanGroups:
        index = torch.arange(len(self))[rows]
        return SpanGroups(**pick(vars(self), _LANE_AXES, index), broken=self.broken[index])


_LANE_AXES = {"keys": -2, "basis": -2, "real": -1, "squares": -1, "linears": -1, "constants": -1}
BLOCK_VIDEOS = 32
"""Videos whose spans one thread makes at once; a multiple of ``LANES``."""


def span_groups(attention: LanguageVideoAttention, frames: Tensor, frame_mask: Tensor | None) -> SpanGroups:
    """The groups of contextual frames ``(V, F, D)``; ``frame_mask`` None lets padding take part."""
    real = torch.ones(frames.shape[:2], dtype=torch.bool) if frame_mask is None else frame_mask
    starts = range(0, max(len(frames), 1), BLOCK_VIDEOS)
    blocks: dict[int, SpanGroups] = {}

    def make(start: int) -> None:
        rows = slice(start, start + BLOCK_VIDEOS)
        blocks[start] = _groups_of_block(attention, frames[rows], real[rows])

    in_threads(make, starts)
    return SpanGroups(*(join([getattr(blocks[start], item.name) for start in starts]) for item in fields(SpanGroups)))


def _groups_of_block(attention: LanguageVideoAttention, frames: Tensor, real: Tensor) -> SpanGroups:
    frames = frames.masked_fill(~real[..., None], 0.0)  # padding may hold anything, NaN too
    span = video_span(attention, frames)
    R = span.gram2.shape[-1]
    row, column = torch.tril_indices(R, R)
    grams = torch.stack([span.gram2, span.gram3[:, :R, :R], span.basis_gram[:, :R, :R]], dim=-1)  # (V, R, R, 3)
    squares = grams[:, row, column] * torch.where(row == column, 1.0, 2.0)[:, None]
    linears = 2 * torch.stack([span.gram3[:, :R, R], span.basis_gram[:, :R, R], span.basis_gram[:, :R, R + 1]], dim=-1)
    last = span.basis_gram[:, R:, R:]  # (V, 2, 2)
    constants = torch.stack([span.gram3[:, R, R], last[:, 0, 0], 2 * last[:, 0, 1], last[:, 1, 1]], dim=-1)
    return SpanGroups(
        in_groups(attention.key(span.normed)),
        in_groups(span.basis[:, :R]),
        in_lanes(real.to(frames.dtype)),
        in_lanes(squares),
        in_lanes(linears),
        in_lanes(constants),
        ~frames.sum(dim=(1, 2)).isfinite(),
    )


def shared_rows(attention: LanguageVideoAttention) -> Tensor:
    """The last two rows of ``B (2, D)``, the same for every video."""
    norm2, norm3 = attention.norm2, attention.norm3
    constant = norm2.bias + attention.linear(norm2.bias)
    return torch.stack([_centred(constant) * norm3.weight, norm3.bias])
