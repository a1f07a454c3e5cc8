"""Trains one head on stand-ins, contrastively: a plain loop, since features are made on the fly and fit one core.

InfoNCE both ways (plus SDR for TC-MGC) by AdamW without weight decay, warm-up over a tenth of the steps, then a cosine;
gradients clipped at 1. Batches of the recipe's sources take turns.
Neighbours: ``heads.py`` (what), ``stand_ins.py`` (on what).
"""

from __future__ import annotations

import math

import torch
from torch import nn

from text_trained.heads import Recipe
from text_trained.stand_ins import StandIns
from wordframe.losses import contrastive, decorrelation
from wordframe.models import TextVideoModel

_WARM_UP = 0.1


def train(recipe: Recipe, stand_ins: StandIns, *, seed: int) -> nn.Module:
    """The trained head, in eval mode."""
    torch.manual_seed(seed)
    head = recipe.make().train()
    optimizer = torch.optim.AdamW(_groups(recipe, head), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, recipe.steps))
    for step in range(recipe.steps):
        pairs = stand_ins.draw(recipe.batch, source=recipe.sources[step % len(recipe.sources)])
        score = head.score if isinstance(head, TextVideoModel) else head
        output = score(pairs.text, pairs.video)
        loss = contrastive(output.logits)
        if recipe.decorrelation:
            loss = loss + recipe.decorrelation * decorrelation(output.parts)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return head.eval()


def _groups(recipe: Recipe, head: nn.Module) -> list[dict[str, object]]:
    named = dict(head.named_parameters())
    for name, parameter in named.items():
        wanted = not recipe.trained or any(part in name for part in recipe.trained)
        parameter.requires_grad_(parameter.requires_grad and wanted)
    used = [parameter for parameter in named.values() if parameter.requires_grad]
    large = [parameter for parameter in used if parameter.numel() >= 384 * 384]
    small = [parameter for parameter in used if parameter.numel() < 384 * 384]
    return [{"params": large, "lr": recipe.matrix_rate}, {"params": small, "lr": recipe.small_rate}]


def _rate(step: int, steps: int) -> float:
    warm = _WARM_UP * steps
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))
