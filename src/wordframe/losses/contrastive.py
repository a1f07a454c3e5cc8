"""Symmetric InfoNCE over a square matrix of logits: the mean of the text→video and video→text cross-entropies.

Row ``i`` and column ``i`` belong together (CLIP4Clip, arXiv 2104.08860). A batch that is spread over processes is a sum
of shares, each from the rows and the columns of the process's own pairs. Neighbour: ``decorrelation.py``.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


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
    both = (F.cross_entropy(side.to(dtype), target, reduction="sum") for side in (rows, columns.T))
    share: Tensor = sum(both, rows.new_zeros((), dtype=dtype)) / (2 * total)
    return share
