"""LoRA: low-rank adapters in the towers' linear layers, in the place of the layers' own weights.

Hu et al., ICLR 2022, arXiv 2106.09685, equation 3: ``h = W x + (α / r) B A x`` with ``W`` frozen, ``A (r, in)`` drawn
at random and ``B (out, r)`` zero, so that training starts from the very model. ``peft`` puts the layers in; what is
saved is ``W + (α / r) B A``, an ordinary checkpoint that knows nothing of adapters.
Neighbours: ``build.py`` asks for adapters, ``trainer.py`` saves without them, ``recipe.LoraSettings`` has the choices.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from wordframe.encoders import Backbone
from wordframe.errors import RecipeError, needs_extra
from wordframe.train.recipe import LoraSettings

_NAME = "default"


def add_adapters(backbone: Backbone, settings: LoraSettings, *, seed: int) -> None:
    """Freeze the towers and put adapters beside their linear layers, alike for the same seed.

    Raises:
        RecipeError: a target is no linear layer of the towers.
        MissingExtraError: ``peft`` is not installed.
    """
    with needs_extra("train", "training"):
        from peft import LoraConfig, inject_adapter_in_model

    layers = _linear_layers(backbone.model)
    kinds = {name.rpartition(".")[2] for name in layers}
    wanted = kinds if settings.targets is None else set(settings.targets)
    if unknown := sorted(wanted - kinds):
        raise RecipeError(
            f"backbone.lora.targets: {', '.join(unknown)} is no linear layer of a {backbone.type_name} model's towers; "
            f"these are {', '.join(sorted(kinds))}"
        )
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=2 * settings.rank if settings.alpha is None else settings.alpha,  # type: ignore[arg-type]
        lora_dropout=settings.dropout,
        target_modules=[name for name in layers if name.rpartition(".")[2] in wanted],
    )
    backbone.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):  # weights lie on the CPU when a model is made
        torch.manual_seed(seed)
        inject_adapter_in_model(config, backbone.model, adapter_name=_NAME)


def has_adapters(module: nn.Module) -> bool:
    """Whether ``add_adapters`` was here, and ``merge`` was not."""
    return any(True for _ in _adapted(module))


@contextlib.contextmanager
def merged(module: nn.Module) -> Iterator[None]:
    """Within the block plain layers with the adapters' part in their weights: the same function, other names.

    Behind it everything is as before, to the last bit: nothing is subtracted, the weights are put back.
    """
    kept: list[tuple[nn.Module, str, nn.Module, Any, torch.Tensor]] = []
    try:
        for parent, name, layer in list(_adapted(module)):
            base = layer.get_base_layer()
            kept.append((parent, name, layer, base, base.weight.data))
            base.weight.data = _merged_weight(layer)
            setattr(parent, name, base)
        yield
    finally:
        for parent, name, layer, base, weight in kept:
            base.weight.data = weight
            setattr(parent, name, layer)


def merge(module: nn.Module) -> None:
    """Take the adapters out for good, their part staying in the weights."""
    for parent, name, layer in list(_adapted(module)):
        base = layer.get_base_layer()
        base.weight.data = _merged_weight(layer)
        setattr(parent, name, base)


@torch.no_grad()
def _merged_weight(layer: Any) -> torch.Tensor:
    weight: torch.Tensor = layer.get_base_layer().weight.data
    change: torch.Tensor = layer.get_delta_weight(_NAME)
    return weight + change.to(weight.dtype)


def _adapted(module: nn.Module) -> Iterator[tuple[nn.Module, str, Any]]:
    """(parent, name in it, layer) of each layer that has an adapter; told by its parts, so that peft is not needed."""
    for path, layer in module.named_modules():
        if hasattr(layer, "lora_A") and hasattr(layer, "get_base_layer"):
            parent, _, name = path.rpartition(".")
            yield module.get_submodule(parent), name, layer


def _linear_layers(towers: nn.Module) -> list[str]:
    """Those of the towers' blocks. Poolers and projections stay as they are: they are small, and SigLIP's pooler is a
    module of torch that reads its layer's weight without calling it, which would pass an adapter by."""
    return [name for name, layer in towers.named_modules() if ".encoder." in name and isinstance(layer, nn.Linear)]
