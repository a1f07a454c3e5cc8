"""The published procedure, step for step, against computations of our own: float16 weights, frozen parts, decay."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wordframe.encoders import ClipBackbone
from wordframe.models import TextVideoModel
from wordframe.train import Recipe, build_model, make_recipe
from wordframe.train.build import configure, train_mode
from wordframe.train.made_up import IMAGE, VOCABULARY, MadeUpPixels
from wordframe.train.optim import BertAdam, clamp_scale, make_optimizer, make_scheduler, parameter_groups
from wordframe.train.step import backward, encode

STEPS = 10
LARGEST_NORM = 1.0


def published_recipe(**values: Any) -> Recipe:
    model = {"preset": "tcmgc-msrvtt", "max_words": 10, "max_frames": 4, "layers": 2}
    header = {"name": "x", "procedure": "published", "backbone": "clip"}
    return make_recipe({**header, "model": model, "dropout_mode": "video", **values})


def small_clip() -> ClipBackbone:
    torch.manual_seed(0)
    return ClipBackbone(
        dimension=64,
        image_size=IMAGE,
        patch_size=IMAGE // 2,
        vision_width=64,
        vision_layers=2,
        vision_heads=2,
        vocabulary=VOCABULARY,
        max_words=77,
        text_width=64,
        text_layers=2,
        text_heads=2,
    )


def published_model(recipe: Recipe) -> TextVideoModel:
    model = build_model(recipe, backbone=small_clip())
    configure(model, recipe)
    train_mode(model)
    return model


class ReferenceBertAdam:
    """The released update for one parameter in numpy: each line rounds to the parameter's type, as there."""

    def __init__(self, start: Tensor, *, lr: float, decay: float) -> None:
        self.value = start.detach().numpy().copy()
        self.mean = np.zeros_like(self.value)
        self.square = np.zeros_like(self.value)
        self.lr, self.decay, self.steps = lr, decay, 0

    def factor(self, x: float) -> np.float64:
        """A factor of a sum as torch's CPU code takes it: in the parameters' type (a GPU's keeps it in float32)."""
        return np.float64(self.value.dtype.type(x))

    def rounded(self, x: NDArray[Any]) -> NDArray[Any]:
        return x.astype(np.float32).astype(self.value.dtype)

    def step(self, gradient: NDArray[Any], *, total: int, warmup: float) -> None:
        norm = self.factor(np.sqrt(np.sum(gradient.astype(np.float64) ** 2)))  # a norm has the gradient's type, too
        if norm > LARGEST_NORM:
            gradient = self.rounded(gradient * self.factor(LARGEST_NORM / self.factor(norm + 1e-6)))
        progress = self.steps / total
        rate = self.lr * (progress / warmup if progress < warmup else 0.5 * (1 + math.cos(math.pi * progress)))
        g, mean, square, value = (x.astype(np.float64) for x in (gradient, self.mean, self.square, self.value))
        mean = self.rounded(mean * np.float32(0.9)).astype(np.float64)
        self.mean = self.rounded(mean + self.factor(1 - 0.9) * g)
        square = self.rounded(square * np.float32(0.98)).astype(np.float64)
        self.square = self.rounded(square + np.float32(0.02) * g * g)
        root = self.rounded(np.sqrt(self.square.astype(np.float64))).astype(np.float64)
        below = self.rounded(root + np.float32(1e-6)).astype(np.float64)
        move = self.rounded(self.mean / below)
        if self.decay:
            move = self.rounded(move + self.factor(self.decay) * value)
        move = self.rounded(move * np.float64(np.float32(rate)))
        self.value = self.rounded(value - move)
        self.steps += 1


def units_apart(found: Tensor, expected: NDArray[Any]) -> float:
    """The largest difference in units of the last place of the expected numbers."""
    difference = np.abs(found.detach().numpy().astype(np.float64) - expected.astype(np.float64))
    return float((difference / np.spacing(np.abs(expected)).astype(np.float64)).max())


@pytest.mark.parametrize("size", [3e-7, 8e-5, 2e-3, 0.3])
def test_the_update_in_float16_is_the_published_one(size: float) -> None:
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(40, 30, generator=generator).mul(0.05).half()
    parameter = nn.Parameter(start.clone())
    reference = ReferenceBertAdam(start, lr=1e-4, decay=0.2)
    optimizer = BertAdam([parameter], lr=1e-4, weight_decay=0.2, clip_each=LARGEST_NORM)
    for step in range(STEPS):
        gradient = torch.randn(40, 30, generator=generator).mul(size).half()
        optimizer.param_groups[0]["lr"] = 1e-4 * (
            step / STEPS / 0.1 if step < 1 else 0.5 * (1 + math.cos(math.pi * step / STEPS))
        )
        parameter.grad = gradient.clone()
        optimizer.step()
        reference.step(gradient.numpy(), total=STEPS, warmup=0.1)
        assert units_apart(parameter, reference.value) <= 1, step
    assert parameter.dtype == optimizer.state[parameter]["square"].dtype == torch.float16
    assert not torch.equal(parameter, start)


def test_ten_steps_are_the_published_ones() -> None:
    recipe = published_recipe(batch_size=4)
    model = published_model(recipe)
    data = MadeUpPixels(recipe)
    groups = parameter_groups(model, recipe.optimizer)
    optimizer = make_optimizer(groups, recipe.optimizer)
    scheduler = make_scheduler(optimizer, recipe.optimizer, total=STEPS)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    # rates and decays by the released rules: the towers' names begin with the backbone's, biases have it in theirs
    reference = {
        name: ReferenceBertAdam(
            parameter,
            lr=1e-7 if name.startswith("backbone.") or name.endswith("logit_scale") else 1e-4,
            decay=0.0 if "bias" in name else 0.2,
        )
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    half = [name for name, found in reference.items() if found.value.dtype == np.float16]
    assert any("self_attn" in name for name in half)
    assert not any("norm" in name for name in half)
    start = {name: found.value.copy() for name, found in reference.items()}
    parameters = [parameter for group in groups for parameter in group.parameters]
    assert {names[id(parameter)] for parameter in parameters} == reference.keys()
    for step in range(STEPS):
        optimizer.zero_grad()
        backward(model, data.batch([0, 3, 5, 6]), sizes=[4], decorrelation=0.5)
        nn.utils.clip_grad_norm_(parameters, recipe.optimizer.clip)  # torch's own, as there; then each by itself
        gradients = {names[id(p)]: p.grad.numpy().copy() for p in parameters if p.grad is not None}
        optimizer.step()
        scheduler.step()
        clamp_scale(model)
        for name, gradient in gradients.items():
            reference[name].step(gradient, total=STEPS, warmup=0.1)
        for parameter in parameters:
            expected = reference[names[id(parameter)]].value
            if expected.dtype == np.float16:
                assert units_apart(parameter, expected) <= 1, (step, names[id(parameter)])
            else:
                assert np.allclose(parameter.detach().numpy(), expected, rtol=1e-5, atol=1e-8), names[id(parameter)]
            # both go on from the same place: a unit's difference would grow by itself, through the gradients
            reference[names[id(parameter)]].value = parameter.detach().numpy().copy()
    assert any((start[name] != reference[name].value).any() for name in half), "float16 weights moved"


def test_the_first_step_moves_nothing() -> None:
    recipe = published_recipe(batch_size=4)
    model = published_model(recipe)
    before = copy.deepcopy(model.state_dict())
    optimizer = make_optimizer(parameter_groups(model, recipe.optimizer), recipe.optimizer)
    make_scheduler(optimizer, recipe.optimizer, total=STEPS)
    backward(model, MadeUpPixels(recipe).batch([0, 3, 5, 6]), sizes=[4], decorrelation=0.5)
    optimizer.step()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("count", [0, 1])
def test_frozen_parts_are_those_of_the_released_codes(count: int) -> None:
    model = published_model(published_recipe(backbone={"name": "clip", "freeze_layers": count}))
    assert model.backbone is not None
    frozen = {name for name, parameter in model.backbone.model.named_parameters() if not parameter.requires_grad}
    embeddings = {
        "text_model.embeddings.token_embedding.weight",
        "text_model.embeddings.position_embedding.weight",
        "vision_model.embeddings.class_embedding",
        "vision_model.embeddings.patch_embedding.weight",
        "vision_model.embeddings.position_embedding.weight",
        "vision_model.pre_layrnorm.weight",
        "vision_model.pre_layrnorm.bias",
    }
    blocks = {name for name in frozen if ".layers.0." in name}
    assert frozen - blocks == embeddings
    assert bool(blocks) == (count == 1)
    assert len(blocks) in (0, 2 * 16), "all of a block, in both towers"
    own = published_model(make_recipe({"name": "x", "model": "clip4clip-mean", "backbone": "clip"}))
    assert all(parameter.requires_grad for parameter in own.parameters())


def test_decay_is_of_all_but_biases() -> None:
    recipe = published_recipe(model="clip4clip-lstm")
    model = published_model(recipe)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = {group.name: group for group in parameter_groups(model, recipe.optimizer)}
    for group in groups.values():
        for parameter in group.parameters:
            assert ("bias" in names[id(parameter)]) == (group.weight_decay == 0.0), names[id(parameter)]
    decayed = {names[id(parameter)] for parameter in groups["backbone decayed"].parameters}
    assert {"backbone.model.logit_scale", "backbone.model.vision_model.post_layernorm.weight"} <= decayed
    assert {group.lr for name, group in groups.items() if name.startswith("backbone")} == {1e-7}


def blocks_in_half(x: Tensor, layers: nn.ModuleList, *, heads: int, causal: bool) -> Tensor:
    """A CLIP tower's blocks from the equations, LayerNorms in float32, all else in float16."""
    for layer in layers:
        a = layer.self_attn
        y = nn.functional.layer_norm(x.float(), x.shape[-1:], layer.layer_norm1.weight, layer.layer_norm1.bias).half()
        length, width = y.shape[1], y.shape[2] // heads
        q, k, v = (p(y).view(len(y), length, heads, width).transpose(1, 2) for p in (a.q_proj, a.k_proj, a.v_proj))
        scores = (q * width**-0.5) @ k.transpose(2, 3)
        if causal:
            scores = scores + torch.full((length, length), -math.inf).triu(1).half()
        x = x + a.out_proj((scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2))
        y = nn.functional.layer_norm(x.float(), x.shape[-1:], layer.layer_norm2.weight, layer.layer_norm2.bias).half()
        y = layer.mlp.fc1(y)
        x = x + layer.mlp.fc2(y * torch.sigmoid(1.702 * y))
    return x


@torch.no_grad()
def test_the_towers_run_in_float16_as_the_released_ones_do() -> None:
    clip = small_clip()
    recipe = published_recipe(batch_size=4)
    batch = MadeUpPixels(recipe).batch([0, 3, 5, 6])
    whole = clip.encode_pixels(batch.pixels.flatten(0, -4))
    clip.to_half()
    clip.to_half()  # once is enough
    text, vision = clip.model.text_model, clip.model.vision_model
    emb = vision.embeddings
    patches = emb.patch_embedding(batch.pixels.flatten(0, -4).half()).flatten(2).transpose(1, 2)
    assert emb.class_embedding.dtype == torch.float32
    x = torch.cat([emb.class_embedding.half().expand(len(patches), 1, -1), patches], dim=1)
    x = vision.pre_layrnorm(x + emb.position_embedding.weight.half())
    x = blocks_in_half(x, vision.encoder.layers, heads=2, causal=False)
    expected = clip.model.visual_projection(vision.post_layernorm(x[:, 0]))
    found = clip.encode_pixels(batch.pixels.flatten(0, -4))
    assert (found.dtype, expected.dtype) == (torch.float32, torch.float16)
    assert (found - expected).abs().max() <= 4 * np.spacing(np.float16(expected.abs().max().item()))
    assert (found.float() - whole).abs().max() < 0.02 * whole.abs().max()
    assert not torch.equal(found.float(), whole)
    ids = batch.input_ids
    y = text.embeddings.token_embedding(ids).half() + text.embeddings.position_embedding.weight[: ids.shape[1]].half()
    y = text.final_layer_norm(blocks_in_half(y, text.encoder.layers, heads=2, causal=True))
    words = clip.encode_ids(ids, batch.word_mask).words
    expected = clip.model.text_projection(y)
    assert (words - expected).abs().max() <= 4 * np.spacing(np.float16(expected.abs().max().item()))


def test_features_of_float16_towers_are_float32_behind_them() -> None:
    recipe = published_recipe(batch_size=4)
    model = published_model(recipe)
    text, video = encode(model, MadeUpPixels(recipe).batch([0, 3, 5, 6]))
    assert text.words.dtype == video.frames.dtype == video.contextual.dtype == torch.float32


def test_a_procedure_stands_for_what_it_writes_out() -> None:
    published = published_recipe()
    assert published.precision == "float16-weights"
    assert published.backbone is not None
    assert published.backbone.freeze_layers == 0
    assert (published.optimizer.backbone_lr, published.optimizer.clip_each) == (1e-7, 1.0)
    own = published_recipe(precision="float32", optimizer={"backbone_lr": 2e-7})
    assert (own.precision, own.optimizer.backbone_lr, own.optimizer.decayed) == ("float32", 2e-7, "all-but-biases")
    written = {key: value for key, value in published.resolved().items() if key != "procedure"}
    assert make_recipe(written).fingerprint == published.fingerprint
    assert make_recipe({"name": "x", "model": "clip4clip-mean", "procedure": "published"}).backbone is None
