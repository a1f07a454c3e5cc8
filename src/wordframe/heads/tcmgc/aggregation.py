"""From the similarities of a pair's words and frames to one number: SR keeps the largest, ISA and LSA sum them up.

SR keeps the ``k`` largest of a row, sorted downwards; with fusion the rest becomes one more entry, its softmax-weighted
mean. Bi-SR keeps the top ``k`` along words in each column, then the top ``k`` along frames in each row.
``ISA(x, M) = Σ softmax(λ · (softmax(λ x) M)) · x``, ``M`` learned; Bi-ISA applies it over words then frames and over
frames then words and averages; ``LSA(z) = Σ softmax(z L) · z`` over the four parts (Jing et al., arXiv 2504.04707).
``head.py`` calls all of them; ``_kernels/tcmgc.py`` has the same for the compiled loop; ``xclip.py`` has X-CLIP's form.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wordframe.heads.base import masked_softmax


def present_ranks(mask: Tensor, k: int) -> Tensor:
    """Which of the ``k`` ranks exist: rank ``r`` if ``r < min(k, real entries)``; ``(..., W) → (..., k)``.

    >>> present_ranks(torch.tensor([True, True, False, False]), 3).tolist()
    [True, True, False]
    """
    return torch.arange(k, device=mask.device) < mask.sum(dim=-1, keepdim=True)


def keep_largest(x: Tensor, mask: Tensor, k: int) -> Tensor:
    """SR: the ``k`` largest real entries of the last axis, sorted downwards, 0 where there are fewer.

    ``x (..., W)``, ``mask (..., W)`` (broadcast) → ``(..., k)``.

    >>> keep_largest(torch.tensor([1.0, 9.0, 3.0, 2.0]), torch.tensor([True, False, True, True]), 2).tolist()
    [3.0, 2.0]
    """
    return _top(x.masked_fill(~mask, float("-inf")), k).masked_fill(~present_ranks(mask, k), 0.0)


def keep_largest_and_fuse(x: Tensor, mask: Tensor, k: int) -> Tensor:
    """SR with fusion: the ``k`` largest, then at index ``k`` the softmax-weighted mean of the other real entries.

    ``x (..., W)``, ``mask (..., W)`` (broadcast) → ``(..., k + 1)``; the fused entry is 0 if nothing is left to fuse.

    >>> keep_largest_and_fuse(torch.tensor([2.0, 1.0, 4.0, 1.0]), torch.tensor([True] * 4), 2).tolist()
    [4.0, 2.0, 1.0]
    """
    # Sorted as a whole: which entries are fused depends on how many words are real, and that differs between texts.
    ordered = x.masked_fill(~mask, float("-inf")).sort(dim=-1, descending=True).values  # (..., W)
    real = present_ranks(mask, x.shape[-1])
    ordered = ordered.masked_fill(~real, 0.0)
    kept, rest = ordered[..., :k], ordered[..., k:]
    fused = (masked_softmax(rest, real[..., k:]) * rest).sum(dim=-1, keepdim=True)
    return torch.cat([F.pad(kept, (0, k - kept.shape[-1])), fused], dim=-1)


def keep_largest_block(x: Tensor, mask: Tensor, k: int, frame_mask: Tensor | None = None) -> Tensor:
    """Bi-SR: top ``k`` along words in each column, then top ``k`` along frames in each row; 0 where there are fewer.

    ``x (..., W words, W frames)``, ``mask (..., W)`` of both axes (broadcast) → ``(..., k, k)``. Where the frames are
    not conditioned ones, one a word, they have a ``frame_mask (..., F)`` of their own, and ``x`` is ``(..., W, F)``.
    """
    return keep_places(x, largest_places(x, mask, k, frame_mask), mask, k, frame_mask)


# Two steps, places and then entries: places carry no gradient, so a tile that is computed again for its gradient
# (``base.in_recomputed_tiles``) finds the places of the first time and need not sort again.
@torch.no_grad()
def largest_places(x: Tensor, mask: Tensor, k: int, frame_mask: Tensor | None = None) -> Tensor:
    """Where Bi-SR finds its entries: ``(..., k · k)`` places in ``x.flatten(-2)``; 0 where there are fewer."""
    num_words, num_frames = x.shape[-2:]
    real = mask[..., :, None] & (mask if frame_mask is None else frame_mask)[..., None, :]
    kept_words, kept_frames = min(k, num_words), min(k, num_frames)
    columns = x.masked_fill(~real, float("-inf")).mT.topk(kept_words, dim=-1)  # (..., W frames, k)
    frames = columns.values.mT.topk(kept_frames, dim=-1).indices  # (..., k, k)
    words = columns.indices.mT.gather(-1, frames)
    places = words * num_frames + frames
    return F.pad(places, (0, k - kept_frames, 0, k - kept_words)).flatten(-2)


def keep_places(x: Tensor, places: Tensor, mask: Tensor, k: int, frame_mask: Tensor | None = None) -> Tensor:
    """The entries at ``largest_places``, 0 where there are fewer: ``x (..., W, W) → (..., k, k)``."""
    words, frames = present_ranks(mask, k), present_ranks(mask if frame_mask is None else frame_mask, k)
    kept = x.flatten(-2).gather(-1, places)
    kept = kept.view(*kept.shape[:-1], k, k)
    return kept.masked_fill(~(words[..., :, None] & frames[..., None, :]), 0.0)


def _top(x: Tensor, k: int) -> Tensor:
    missing = k - x.shape[-1]
    if missing > 0:
        x = F.pad(x, (0, missing), value=float("-inf"))
    return x.topk(k, dim=-1).values


class InteractiveAggregation(nn.Module):
    """ISA: ``(..., K)`` similarities into one, ``present (..., K) → (...)``. Absent entries must hold 0.

    Args:
        size: ``K``; the matrix starts as the identity.
        softmax_lambda: ``λ``.
    """

    def __init__(self, *, size: int, softmax_lambda: float) -> None:
        super().__init__()
        self.softmax_lambda = softmax_lambda
        self.matrix = nn.Parameter(torch.eye(size))

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        # λ = 100 turns a hundredth between two cosines into a factor of e: in half precision the third digit would
        # decide which of them counts, hence float32 (``base.Similarity``). Absent entries leave both softmaxes, since
        # the matrix would give them weight back after the first.
        first = masked_softmax(self.softmax_lambda * x, present)
        weights = masked_softmax(self.softmax_lambda * (first @ self.matrix), present)
        return (weights * x).sum(dim=-1)


class BidirectionalAggregation(nn.Module):
    """Bi-ISA: ``(..., K words, K frames)`` into one, ``present (..., K)`` of both axes → ``(...)``, unless the frames
    have a ``present_frames`` of their own."""

    def __init__(self, *, size: int, softmax_lambda: float) -> None:
        super().__init__()
        self.words_first = InteractiveAggregation(size=size, softmax_lambda=softmax_lambda)
        self.frames_second = InteractiveAggregation(size=size, softmax_lambda=softmax_lambda)
        self.frames_first = InteractiveAggregation(size=size, softmax_lambda=softmax_lambda)
        self.words_second = InteractiveAggregation(size=size, softmax_lambda=softmax_lambda)

    def forward(self, x: Tensor, present: Tensor, present_frames: Tensor | None = None) -> Tensor:
        if present_frames is None:
            present_frames = present  # conditioned frames, one a word
        of_frames = self.words_first(x.mT, present[..., None, :])  # (..., K frames); 0 where the frame is absent
        of_words = self.frames_first(x, present_frames[..., None, :])  # (..., K words)
        total: Tensor = self.frames_second(of_frames, present_frames) + self.words_second(of_words, present)
        return total / 2


class LinearSoftmaxAggregation(nn.Module):
    """LSA: the scaled parts ``(T, V, P)`` into logits ``(T, V)``. The matrix starts as the identity."""

    def __init__(self, *, parts: int = 4) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(parts))

    def weights(self, z: Tensor) -> Tensor:
        """How much each part counts, ``(T, V, P)``, summing to one."""
        return (z @ self.matrix).softmax(dim=-1)

    def forward(self, z: Tensor) -> Tensor:
        return (self.weights(z) * z).sum(dim=-1)
