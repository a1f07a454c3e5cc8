"""Losses: logits and parts in, one unweighted number out. They never see a model.

``contrastive``: symmetric InfoNCE over a square matrix of logits, the mean of the text→video and video→text
cross-entropies (CLIP4Clip, arXiv 2104.08860). ``sigmoid``: each pair of a text and a video is a question of its own,
whether they belong together (SigLIP, Zhai et al., ICCV 2023, arXiv 2303.15343, section 3.2). ``decorrelation``:
TC-MGC's SDR, the mean over matching pairs of the unbiased variance of the scaled parts (Jing et al., arXiv 2504.04707;
the paper adds 0.5 of it): matching pairs should score alike in all their parts. Row ``i`` and column ``i`` belong
together. ``…_share`` is what one process's pairs add to the loss of a batch that is spread over several.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["contrastive", "contrastive_share", "decorrelation", "decorrelation_share", "sigmoid", "sigmoid_share"]


def contrastive(logits: Tensor) -> Tensor:
    """InfoNCE of ``logits (N, N)``, already scaled by ``s``; a scalar in float32 (float64 for float64).

    >>> round(contrastive(torch.zeros(4, 4)).exp().item(), 4)
    4.0
    """
    if logits.dim() != 2 or logits.shape[0] != logits.shape[1] or not len(logits):
        raise ValueError(f"logits must be square (N, N), row i matching column i, got shape {tuple(logits.shape)}")
    return contrastive_share(logits, logits, first=0)


def contrastive_share(rows: Tensor, columns: Tensor, *, first: int) -> Tensor:
    """What ``B`` of ``N`` pairs add to ``contrastive`` of all ``N``: the shares of all pairs sum up to it.

    Args:
        rows: logits ``(B, N)`` of the pairs' texts against all videos.
        columns: logits ``(N, B)`` of all texts against the pairs' videos.
        first: the pairs are those from ``first`` to ``first + B`` of the ``N``.

    >>> logits = torch.arange(16.0).view(4, 4)
    >>> shares = [contrastive_share(logits[i : i + 2], logits[:, i : i + 2], first=i) for i in (0, 2)]
    >>> torch.allclose(sum(shares), contrastive(logits))
    True
    """
    size, total = rows.shape
    if columns.shape != (total, size) or not 0 <= first <= total - size:
        raise ValueError(
            f"rows (B, N) and columns (N, B) of pairs from first to first + B do not fit: rows {tuple(rows.shape)}, "
            f"columns {tuple(columns.shape)}, first={first}"
        )
    dtype = torch.promote_types(rows.dtype, torch.float32)
    target = torch.arange(first, first + size, device=rows.device)
    # A mean over the rows of a share would weigh the last, smaller share of a batch like the others: sums, then 1 / N.
    both = (F.cross_entropy(side.to(dtype), target, reduction="sum") for side in (rows, columns.T))
    share: Tensor = sum(both, rows.new_zeros((), dtype=dtype)) / (2 * total)
    return share


def sigmoid(logits: Tensor, bias: Tensor) -> Tensor:
    """``-1/N Σ_ij log σ(z_ij (logits_ij + bias))``, ``z`` 1 on the diagonal and -1 beside it; a scalar as above.

    Args:
        logits: ``(N, N)``, already scaled by ``s``.
        bias: a number; negative, since most pairs do not belong together.

    >>> round(sigmoid(torch.zeros(3, 3), torch.tensor(0.0)).item(), 4)  # 3 · log 2
    2.0794
    """
    if logits.dim() != 2 or logits.shape[0] != logits.shape[1] or not len(logits):
        raise ValueError(f"logits must be square (N, N), row i matching column i, got shape {tuple(logits.shape)}")
    return sigmoid_share(logits, bias, first=0)


def sigmoid_share(rows: Tensor, bias: Tensor, *, first: int) -> Tensor:
    """What ``B`` of ``N`` pairs add to ``sigmoid`` of all ``N``: the shares of all pairs sum up to it.

    Args:
        rows: logits ``(B, N)`` of the pairs' texts against all videos. A sum over pairs needs no columns.
        bias: of all.
        first: the pairs are those from ``first`` to ``first + B`` of the ``N``.

    >>> logits, bias = torch.arange(16.0).view(4, 4), torch.tensor(-10.0)
    >>> shares = [sigmoid_share(logits[i : i + 2], bias, first=i) for i in (0, 2)]
    >>> torch.allclose(sum(shares), sigmoid(logits, bias))
    True
    """
    size, total = rows.shape
    if not 0 <= first <= total - size:
        raise ValueError(
            f"rows (B, N) of pairs from first to first + B do not fit: rows {tuple(rows.shape)}, first={first}"
        )
    dtype = torch.promote_types(rows.dtype, torch.float32)
    columns = torch.arange(total, device=rows.device)
    belongs = columns == torch.arange(first, first + size, device=rows.device)[:, None]  # (B, N)
    biased = rows.to(dtype) + bias.to(dtype)
    # softplus(-x) is -log σ(x) without an overflow; the published mean is over the N texts, not over all pairs
    share: Tensor = F.softplus(torch.where(belongs, -biased, biased)).sum() / total
    return share


def decorrelation(parts: Mapping[str, Tensor]) -> Tensor:
    """SDR of ``parts {name: (N, N)}``, row i matching column i; a scalar in float32 (float64 for float64).

    >>> one, three = torch.eye(2), 3 * torch.eye(2)
    >>> decorrelation({"video_sentence": one, "video_word": three}).item()
    2.0
    """
    for name, part in parts.items():
        if part.dim() != 2 or part.shape[0] != part.shape[1] or not len(part):
            raise ValueError(f"{name} must be square (N, N), row i matching column i, got shape {tuple(part.shape)}")
    return decorrelation_share(parts, first=0)


def decorrelation_share(parts: Mapping[str, Tensor], *, first: int) -> Tensor:
    """What ``B`` of ``N`` pairs add to ``decorrelation`` of all ``N``: the shares of all pairs sum up to it.

    Args:
        parts: ``{name: (B, N)}`` of the pairs' texts against all videos.
        first: the pairs are those from ``first`` to ``first + B`` of the ``N``.

    >>> parts = {"video_sentence": torch.eye(4), "video_word": 3 * torch.eye(4)}
    >>> rows = {name: part[2:] for name, part in parts.items()}
    >>> decorrelation_share(rows, first=2).item()
    1.0
    """
    if len(parts) < 2:
        raise ValueError(f"parts must hold at least 2 similarities, got {len(parts)}; this loss needs X-CLIP or TC-MGC")
    matching = torch.stack([part.diagonal(first) for part in parts.values()], dim=-1)  # (B, P)
    # Logits near 100 are a sixteenth apart in float16 and a half in bfloat16, and the variance is of their differences.
    matching = matching.to(torch.promote_types(matching.dtype, torch.float32))
    share: Tensor = matching.var(dim=-1, unbiased=True).sum() / next(iter(parts.values())).shape[1]
    return share
