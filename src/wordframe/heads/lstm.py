"""The sequential LSTM of CLIP4Clip (seqLSTM): ``contextual = frames + LSTM(frames)``.

One layer over the real frames only; its output at padded frames is zero (Luo et al., arXiv 2104.08860).
Neighbour: ``transformer.py``.
"""

from __future__ import annotations

from torch import Tensor, nn


class TemporalLSTM(nn.Module):
    """``(V, F, D), frame_mask (V, F) → (V, F, D)``. ``dimension``: ``D``, of the frames and of the hidden state."""

    def __init__(self, *, dimension: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(dimension, dimension, batch_first=True)

    def forward(self, frames: Tensor, frame_mask: Tensor) -> Tensor:
        # Real frames first, in their order: an LSTM only looks back, so none of them then sees a padded one.
        order = (~frame_mask).long().argsort(dim=1, stable=True)[..., None].expand_as(frames)  # (V, F, D)
        compact, _ = self.lstm(frames.gather(1, order))
        states = compact.new_zeros(compact.shape).scatter(1, order, compact)
        contextual: Tensor = frames + states.masked_fill(~frame_mask[..., None], 0.0)
        return contextual
