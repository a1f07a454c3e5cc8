"""Language-video attention in the span of a video's frames: the same numbers without a ``D``-sized vector per word.

LVA's output is a combination of ``R + 2`` vectors known per video, ``R = heads · F`` (one more with projections): with
coefficients ``c`` (the attention) over the centred rows ``x̂``, LN2 is ``(c x̂ γ2) / σ2 + β2`` with ``G = x̂ x̂ᵀ / D``
and ``σ2² = c G cᵀ + ε``; ``a + Linear(a)`` is ``(c U) / σ2 + constant``; LN3 goes the same way over ``[U ; constant]``.
So a conditioned vector is ``z · B`` and any product with a text vector ``w`` is ``z · (B w)``. This is ours; dropout
per pair leaves the span, so it is for inference. ``text_conditioned.py`` calls it; ``attention.py`` is the plain form.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wordframe.similarity.attention import LanguageVideoAttention


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
    U = scaled + scaled @ linear.weight.T  # (V, R, D)
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


def _centred(rows: Tensor) -> Tensor:
    return rows - rows.mean(dim=-1, keepdim=True)


def _quadratic(c: Tensor, gram: Tensor) -> Tensor:
    """``c G cᵀ``: ``(T, Q, V, R), (V, R, R) → (T, Q, V, 1)``."""
    product: Tensor = torch.einsum("tqvr,vrs->tqvs", c, gram)
    return (product * c).sum(dim=-1, keepdim=True)
