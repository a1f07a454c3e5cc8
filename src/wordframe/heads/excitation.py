"""Excitation and aggregation of frames: the two blocks of EA-CLIP4Clip.

From the squeezed frames ``z_i = mean over D of f_i`` a two-layer network gives one number a frame. *Excitation* takes
its sigmoid and scales the frames, ``f_i ← e_i f_i``; *aggregation* takes its softmax and sums them, ``v = Σ a_i f_i``
(Jing et al., arXiv 2406.01604). A reduction ratio above 1 squeezes the hidden layer, below 1 expands it.
``pooled.py`` uses the blocks behind a temporal head (``temporal.py``), ``ExcitedHead`` puts one in front of it.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from wordframe.heads.base import TemporalHead


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
        self.squeeze = nn.Linear(max_frames, hidden)
        self.restore = nn.Linear(hidden, max_frames)

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
