"""Similarity decorrelation regularisation (SDR) of TC-MGC: matching pairs should score alike in all their parts.

The mean over matching pairs of the unbiased variance of the scaled parts (Jing et al., arXiv 2504.04707);
the paper adds 0.5 of it to ``contrastive.py``.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


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
    matching = matching.to(torch.promote_types(matching.dtype, torch.float32))
    share: Tensor = matching.var(dim=-1, unbiased=True).sum() / next(iter(parts.values())).shape[1]
    return share
