"""A moving average of the trained weights (EMA): ``a ← d a + (1 − d) θ`` after each step, ``a = θ`` after the first.

Averages along the way of a training (Polyak and Juditsky, 1992) are steadier than where it stands, which with a
contrastive loss moves by its last batches. torch's ``AveragedModel`` keeps them, of those numbers alone that are
trained. ``trainer.py`` validates and saves the average; the optimizer goes on from the weights themselves.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class WeightAverage:
    """The average of ``parameters``, on their device.

    Args:
        parameters: what is trained.
        decay: ``d``.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], *, decay: float) -> None:
        # not of the model: that would copy frozen towers, too
        self._weights = nn.ParameterList(parameters)
        recursion = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self._average = AveragedModel(self._weights, multi_avg_fn=recursion)

    def update(self) -> None:
        """Take in the weights as they are now."""
        self._average.update_parameters(self._weights)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block the parameters hold the average."""
        weights = [parameter.data for parameter in self._weights]
        try:
            for parameter, average in self._pairs():
                parameter.data = average.data
            yield
        finally:
            for parameter, own in zip(self._weights, weights, strict=True):
                parameter.data = own

    @torch.no_grad()
    def copy_into_parameters(self) -> None:
        """Overwrite the weights by their average."""
        for parameter, average in self._pairs():
            parameter.copy_(average)

    def state_dict(self) -> dict[str, Tensor]:
        """What ``load_state_dict`` goes on from."""
        return dict(self._average.state_dict())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._average.load_state_dict(dict(state))

    def _pairs(self) -> Iterator[tuple[nn.Parameter, nn.Parameter]]:
        return zip(self._weights, self._average.module.parameters(), strict=True)
