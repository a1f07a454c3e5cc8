"""CLIP's weights kept in float16, as the released codes of the four papers tune it.

They turn the weights and biases of linear maps, convolutions and attention, and the two final projections, into
float16 once, and train them there: forward pass, gradients and the optimizer's means are float16, without a scale for
the loss. LayerNorms compute in float32 and hand on float16; embeddings stay float32 and are rounded where they are
used. ``backbone.py`` runs towers so.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def store_in_half(model: nn.Module) -> None:
    """Turn the weights of ``model`` that the released codes turn into float16, in place."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):  # attention's projections are linear maps here
            module.half()
        elif isinstance(module, nn.LayerNorm):
            module.register_forward_pre_hook(_as_float32)
            module.register_forward_hook(_as_float16)


def embeddings_in_half(tower: nn.Module) -> dict[str, Tensor]:
    """A tower's float32 embeddings by name, rounded to float16; gradients reach what was rounded."""
    return {name: weight.half() for name, weight in tower.named_parameters() if "embeddings." in name}


def _as_float32(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(x.float() for x in inputs)


def _as_float16(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return output.to(torch.float16)
