"""Language-video attention in the span of a video's frames: the same numbers without a ``D``-sized vector per word.

LVA's output is a combination of ``R + 2`` vectors known per video, ``R = heads · F`` (one more with projections): with
coefficients ``c`` (the attention) over the centred rows ``x̂``, LN2 is ``(c x̂ γ2) / σ2 + β2`` with ``G = x̂ x̂ᵀ / D``
and ``σ2² = c G cᵀ + ε``; ``a + Linear(a)`` is ``(c U) / σ2 + constant``; LN3 goes the same way over ``[U ; constant]``.
So a conditioned vector is ``z · B`` and any product with a text vector ``w`` is ``z · (B w)``. This is ours. Dropout
on ``Linear(a)`` stays in the span if its mask belongs to the video: it multiplies the columns of ``x̂ γ2 Wᵀ`` and of
``W β2 + b``. ``text_conditioned.py`` calls it; ``attention.py`` is the plain form.
``coefficients`` and ``projected`` are tensor operations, for gradients, float64 and GPUs; ``span_groups.py`` makes what
the compiled loop of ``kernels/conditioned.py`` reads on CPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wordframe.heads import kernels
from wordframe.heads.attention import LanguageVideoAttention
from wordframe.heads.kernels.products import product


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
    inverse = length2.clamp(min=torch.finfo(c.dtype).tiny).rsqrt()
    return torch.cat([c * (a * inverse)[..., None], torch.stack([i3 * inverse, inverse], dim=-1)], dim=-1)


def projected(span: VideoSpan, vectors: Tensor) -> Tensor:
    """``B w`` for text vectors ``(T, N, D)`` and each video: ``(T, N, V, R + 2)``."""
    return torch.einsum("tnd,vrd->tnvr", vectors, span.basis)


def _forms(c: Tensor, span: VideoSpan) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Quadratic and linear forms in ``c (T, Q, V, R)``, three ``(T, Q, V)`` each, by one product a video."""
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
    if kernels.usable(rows, weight):
        return product(rows.flatten(0, 1), weight).view_as(rows)
    return rows @ weight.T


def _centred(rows: Tensor) -> Tensor:
    return rows - rows.mean(dim=-1, keepdim=True)
