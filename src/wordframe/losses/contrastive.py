"""Symmetric InfoNCE over a square matrix of logits: the mean of the text→video and video→text cross-entropies.

Row ``i`` and column ``i`` belong together (CLIP4Clip, arXiv 2104.08860). Neighbour: ``decorrelation.py``.
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
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
