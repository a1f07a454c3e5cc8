"""The update by hand, its rates over time, and which parameters get which."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from wordframe.train import build_model, make_recipe
from wordframe.train.build import configure
from wordframe.train.made_up import tiny_clip
from wordframe.train.optim import (
    BertAdam,
    clamp_scale,
    is_tuned,
    make_optimizer,
    make_scheduler,
    parameter_groups,
    rate_factor,
)
from wordframe.train.recipe import OptimizerSettings


def test_two_updates_by_hand() -> None:
    parameter = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimizer = BertAdam([parameter], lr=0.1, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.2)
    value, mean, square = 2.0, 0.0, 0.0
    for gradient in (0.5, -3.0):
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.98 * square + 0.02 * gradient**2
        value -= 0.1 * (mean / (math.sqrt(square) + 1e-6) + 0.2 * value)
        parameter.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        assert parameter.item() == pytest.approx(value, rel=1e-12)


def test_it_meets_adamw_once_the_bias_is_gone() -> None:
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (nn.Parameter(torch.zeros(1000)) for _ in range(2))
    settings = {"lr": 1e-3, "betas": (0.9, 0.98), "eps": 1e-6, "weight_decay": 0.0}
    optimizers = BertAdam([ours], **settings), torch.optim.AdamW([theirs], **settings)
    ratios = {}
    for step in range(1, 301):
        before = ours.detach().clone(), theirs.detach().clone()
        gradient = torch.randn(1000, generator=generator)
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = gradient.clone()
            optimizer.step()
        moves = [(after - start).norm().item() for after, start in zip((ours, theirs), before, strict=True)]
        ratios[step] = moves[0] / moves[1]
    assert ratios[1] == pytest.approx(0.1 / math.sqrt(0.02), rel=1e-3), "the first step is as much smaller"
    assert ratios[300] == pytest.approx(1.0, abs=0.01)


def test_parameters_without_a_gradient_stay() -> None:
    used, unused = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = BertAdam([used, unused], lr=0.1, weight_decay=0.5)
    used.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(unused, torch.ones(2))
    assert not torch.equal(used, torch.ones(2))


def test_the_published_rates_by_hand() -> None:
    """``0.5 (1 + cos(π x))`` of the whole progress, a linear rise from 0 below a tenth of it."""
    expected = {
        0: 0.0,
        10: 0.5,
        19: 0.95,
        20: 0.9755282581475768,  # cos 18°
        50: 0.8535533905932737,  # cos 45°
        100: 0.5,  # cos 90°
        150: 0.14644660940672624,  # cos 135°
        199: 6.168375916970614e-05,
    }
    for step, factor in expected.items():
        assert rate_factor(step, total=200, warmup=0.1, schedule="cosine") == pytest.approx(factor, rel=1e-12), step
    assert rate_factor(0, total=7, warmup=0.0, schedule="cosine") == 1.0
    assert rate_factor(10, total=200, warmup=0.1, schedule="constant") == 0.5
    assert rate_factor(150, total=200, warmup=0.1, schedule="constant") == 1.0


def test_the_cosine_behind_the_warm_up_is_another_one() -> None:
    rescaled = [rate_factor(step, total=20, warmup=0.2, schedule="cosine-after-warmup") for step in range(20)]
    assert rescaled[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert all(later < earlier for earlier, later in itertools.pairwise(rescaled[4:]))
    assert rescaled[12] == pytest.approx(0.5)
    assert 0 < rescaled[-1] < 0.02
    published = [rate_factor(step, total=20, warmup=0.2, schedule="cosine") for step in range(20)]
    assert all(ours < theirs for ours, theirs in zip(published, rescaled, strict=True))
    middle = [rate_factor(100, total=200, warmup=0.1, schedule=s) for s in ("cosine-after-warmup", "cosine")]
    assert middle[0] / middle[1] == pytest.approx(1.1736, abs=1e-4)


def recipe_with(*, tuned: bool):
    backbone = {"name": "clip", "tuned": tuned}
    return make_recipe({"name": "x", "model": "tcmgc-msrvtt", "backbone": backbone})


def test_groups_go_by_module_and_rank() -> None:
    recipe = recipe_with(tuned=True)
    model = build_model(recipe, backbone=tiny_clip(recipe))
    configure(model, recipe)
    groups = {group.name: group for group in parameter_groups(model, recipe.optimizer)}
    assert set(groups) == {"backbone decayed", "backbone others", "head decayed", "head others"}
    assert {name: (group.lr, group.weight_decay) for name, group in groups.items()} == {
        "backbone decayed": (3e-6, 0.2),
        "backbone others": (3e-6, 0.0),
        "head decayed": (1e-4, 0.2),
        "head others": (1e-4, 0.0),
    }
    assert model.backbone is not None
    assert any(p is model.backbone.logit_scale for p in groups["backbone others"].parameters)
    assert any(p is model.similarity.global_matrix for p in groups["head decayed"].parameters)
    together = [parameter for group in groups.values() for parameter in group.parameters]
    assert len(together) == len({id(p) for p in together}) == len(list(model.parameters()))


def test_a_frozen_backbone_leaves_only_its_scale_to_the_head() -> None:
    recipe = recipe_with(tuned=False)
    model = build_model(recipe, backbone=tiny_clip(recipe))
    configure(model, recipe)
    assert not is_tuned(model)
    groups = {group.name: group for group in parameter_groups(model, recipe.optimizer)}
    assert set(groups) == {"head decayed", "head others"}
    assert model.backbone is not None
    assert any(p is model.similarity.logit_scale for p in groups["head others"].parameters)
    assert not any(p.requires_grad for p in model.backbone.parameters())
    model.similarity.logit_scale.data.fill_(2.0)
    configure(model, recipe)  # as when training goes on from a checkpoint
    assert model.similarity.logit_scale.item() == 2.0


def test_each_group_gets_its_share_of_its_own_rate() -> None:
    recipe = recipe_with(tuned=True)
    model = build_model(recipe, backbone=tiny_clip(recipe))
    configure(model, recipe)
    settings = OptimizerSettings(warmup=0.2)
    optimizer = make_optimizer(parameter_groups(model, recipe.optimizer), settings)
    scheduler = make_scheduler(optimizer, settings, total=10)
    for step in range(10):
        factor = rate_factor(step, total=10, warmup=0.2, schedule="cosine")
        assert {group["lr"] for group in optimizer.param_groups} == {1e-4 * factor, 3e-6 * factor}
        optimizer.step()
        scheduler.step()


def test_the_scale_is_held_at_a_hundred() -> None:
    model = build_model(make_recipe({"name": "x", "model": "clip4clip-mean"}), dimension=8)
    with torch.no_grad():
        model.similarity.logit_scale.fill_(7.0)
    clamp_scale(model)
    assert model.similarity.logit_scale.exp().item() == pytest.approx(100.0)
    clamp_scale(build_model(make_recipe({"name": "x", "model": "clip4clip-tight"}), dimension=64))
