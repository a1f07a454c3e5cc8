"""The model of a recipe: fresh weights by its seed, on top of a CLIP where it has one.

``loop.py`` trains what is built here, or any ``TextVideoModel`` of the same settings.
"""

from __future__ import annotations

import torch
from torch import nn

from wordframe.encoders import Backbone, ClipBackbone, ClipParts
from wordframe.errors import RecipeError
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.models import ClipTokenizer, EncoderIdentity, TextVideoModel, start_from_clip
from wordframe.train.adapters import add_adapters, has_adapters
from wordframe.train.optim import is_tuned
from wordframe.train.recipe import Recipe


def build_model(
    recipe: Recipe,
    *,
    dimension: int | None = None,
    trained_on: EncoderIdentity | None = None,
    backbone: Backbone | None = None,
    start: Backbone | None = None,
) -> TextVideoModel:
    """The model of ``recipe``, alike for the same seed.

    Transformers start from the text tower where that is of CLIP's kind and as wide as ``D``, as published, else from
    random weights.

    Args:
        recipe: its model and its seed.
        dimension: ``D`` of cached features; with a backbone it is the backbone's.
        trained_on: the encoder that made those features: the checkpoint keeps it, and refuses those of another one.
        backbone: becomes part of the model.
        start: the backbone that made cached features: transformers and scale start from it, it is no part of the model.

    Raises:
        RecipeError: the settings do not make a model.
    """
    # on the side, so that the caller's random numbers go on as if no model had been made
    devices = range(torch.cuda.device_count())
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(recipe.seed)
        try:
            model = TextVideoModel(
                settings=recipe.settings, dimension=dimension, backbone=backbone, trained_on=trained_on
            )
        except ValueError as error:
            raise RecipeError(f"{recipe.name}: model: {error}") from error
    clip = start if backbone is None else backbone
    if clip is not None and clip.causal_text_width == model.dimension:
        start_from_clip(model, clip)
    scale = getattr(model.similarity, "logit_scale", None)
    if clip is not None and isinstance(scale, nn.Parameter):
        scale.data.copy_(clip.logit_scale.data.reshape(scale.shape))  # SigLIP keeps it as (1,)
    return model


def attach_tokenizer(model: TextVideoModel, parts: ClipParts) -> None:
    """Let the checkpoint bring its vocabulary."""
    model.tokenizer = ClipTokenizer(parts.tokenizer, parts.towers.type_name)


def configure(model: TextVideoModel, recipe: Recipe) -> None:
    """Freeze or free the backbone, and hand the recipe's choices for training to the modules that have them.

    Raises:
        RecipeError: the recipe tunes a backbone that the model does not have, or decorrelates parts it does not have.
        ValueError: the model is not the recipe's.
    """
    if model.settings != recipe.settings:
        raise ValueError(f"the model's settings are not those of the recipe: {model.settings} and {recipe.settings}")
    if recipe.tuned and model.backbone is None:
        raise RecipeError(
            f"{recipe.name}: the recipe tunes its backbone, which cached features leave no room for; "
            "train from frames or videos, or say --set backbone.tuned=false"
        )
    if recipe.decorrelation > 0 and not _has_parts(model):
        raise RecipeError(
            f"{recipe.name}: loss.decorrelation={recipe.decorrelation} needs a model that puts several similarities "
            f"together, {recipe.settings.family!r} does not; set it to 0"
        )
    if model.backbone is not None:
        _tune(model, model.backbone, recipe)
        if recipe.backbone is not None and recipe.backbone.gradient_checkpointing:
            clip = model.backbone.model
            enable = getattr(clip, "activation_checkpointing_enable", None) or clip.gradient_checkpointing_enable
            enable({"use_reentrant": False})  # the second is its name in transformers 5.0
    _choose_loss(model, recipe)
    attention = getattr(model.similarity, "attention", None)
    if attention is not None and hasattr(attention, "dropout_mode"):
        attention.dropout_mode = recipe.dropout_mode


def _tune(model: TextVideoModel, backbone: Backbone, recipe: Recipe) -> None:
    """Free or freeze the towers, or put adapters into them."""
    lora, frozen = (None, None) if recipe.backbone is None else (recipe.backbone.lora, recipe.backbone.freeze_layers)
    if lora is None:
        backbone.requires_grad_(recipe.tuned)
        if recipe.tuned and frozen is not None:
            backbone.freeze_layers(frozen)
    elif not has_adapters(backbone):  # a model may come here twice
        add_adapters(backbone, lora, seed=recipe.seed)
    if recipe.tuned and recipe.precision == "float16-weights":
        if not isinstance(backbone, ClipBackbone) or lora is not None:
            raise RecipeError(
                f"{recipe.name}: precision=float16-weights is how OpenAI's CLIP was tuned as a whole; "
                "say float32 or bfloat16 for LoRA and for other backbones"
            )
        backbone.to_half()
    if not recipe.tuned:  # the scale of the logits is trained even where CLIP is not
        model.separate_scale()
    # CLIP's scale where it is the model's. SigLIP's scale and bias only start the model's own, and nothing moves them
    shared = getattr(model.similarity, "logit_scale", None) is backbone.logit_scale
    backbone.logit_scale.requires_grad_(recipe.tuned and shared)
    if backbone.logit_bias is not None:
        backbone.logit_bias.requires_grad_(False)


def _choose_loss(model: TextVideoModel, recipe: Recipe) -> None:
    """Give the model a ``logit_bias`` where its loss is the sigmoid one: by the recipe, else as its backbone was."""
    of_backbone = None if model.backbone is None else model.backbone.logit_bias
    contrast = recipe.loss.contrast or ("softmax" if of_backbone is None else "sigmoid")
    if contrast == "softmax":
        model.logit_bias = None
    elif model.logit_bias is None:
        start = torch.tensor(recipe.loss.bias) if of_backbone is None else of_backbone.detach().reshape(())
        like = next(model.parameters(), start)  # its device and type
        model.logit_bias = nn.Parameter(start.to(like.device, like.dtype, copy=True))


@torch.no_grad()
def _has_parts(model: TextVideoModel) -> bool:
    """Whether the similarity has parts, asked of one made-up pair: a registered head is known by nothing else."""
    was_training = model.training
    model.eval()  # without dropout, which would draw random numbers
    parameter = next(model.parameters(), torch.zeros(()))  # a model may have none
    features, mask = parameter.new_ones(1, 1, model.dimension), parameter.new_ones(1, 1, dtype=torch.bool)
    text, video = TextFeatures(features[:, 0], features, mask), VideoFeatures(features, features, mask)
    output = model.score(text, video, method=model.methods[-1])  # the plainest, which has nothing to compile
    model.train(was_training)
    return len(output.parts) > 1  # one alone has nothing to be decorrelated from


def train_mode(model: TextVideoModel) -> None:
    """All but a frozen backbone in training mode."""
    model.train()
    if model.backbone is not None:
        model.backbone.train(is_tuned(model))
