"""OpenAI's layout of a CLIP state dict: its sizes, and its keys as transformers' ``CLIPModel`` names them.

The layout is that of the files published with CLIP (Radford et al., ICML 2021, arXiv 2103.00020) and, under ``clip.``,
of the authors' files of CLIP4Clip, X-CLIP, EA-CLIP4Clip and TC-MGC. Two things differ beyond names: query, key and
value projections lie in one matrix there, and the two final projections are stored transposed.
Neighbours: ``clip_backbone.py`` builds the model from it, ``openai_file.py`` reads such files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from wordframe.errors import EncoderError

_HEAD_WIDTH = 64
_RECORDED_SETTINGS = frozenset({"input_resolution", "context_length", "vocab_size"})

_WHOLE = {
    "logit_scale": "logit_scale",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
}
_TRANSPOSED = {"text_projection": "text_projection.weight", "visual.proj": "visual_projection.weight"}
_IN_BLOCK = {
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_BLOCK = re.compile(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+)")


@dataclass(frozen=True, kw_only=True)
class ClipSizes:
    """Everything that fixes the shape of a CLIP with a vision transformer."""

    dimension: int
    image_size: int
    patch_size: int
    vision_width: int
    vision_layers: int
    vision_heads: int
    vocabulary: int
    max_words: int
    text_width: int
    text_layers: int
    text_heads: int


def read_sizes(
    state_dict: Mapping[str, Tensor], *, vision_heads: int | None = None, text_heads: int | None = None
) -> ClipSizes:
    """The sizes that the shapes imply. Heads leave no trace in a shape: one per 64 channels unless given."""
    for key in ("visual.conv1.weight", "visual.positional_embedding", "text_projection", "token_embedding.weight"):
        if key not in state_dict:
            raise EncoderError(f"no {key!r} among the weights: not a CLIP with a vision transformer in OpenAI's layout")
    vision_width, _, patch_size, _ = state_dict["visual.conv1.weight"].shape
    text_width, dimension = state_dict["text_projection"].shape
    grid = round((len(state_dict["visual.positional_embedding"]) - 1) ** 0.5)
    return ClipSizes(
        dimension=dimension,
        image_size=grid * patch_size,
        patch_size=patch_size,
        vision_width=vision_width,
        vision_layers=_count_blocks(state_dict, "visual."),
        vision_heads=_heads("vision_heads", vision_width, vision_heads),
        vocabulary=len(state_dict["token_embedding.weight"]),
        max_words=len(state_dict["positional_embedding"]),
        text_width=text_width,
        text_layers=_count_blocks(state_dict, None),
        text_heads=_heads("text_heads", text_width, text_heads),
    )


def _count_blocks(state_dict: Mapping[str, Tensor], tower: str | None) -> int:
    matches = (_BLOCK.fullmatch(key) for key in state_dict)
    return len({match[2] for match in matches if match and match[1] == tower})


def _heads(name: str, width: int, heads: int | None) -> int:
    heads = max(1, width // _HEAD_WIDTH) if heads is None else heads
    if heads < 1 or width % heads:
        raise EncoderError(f"{name} = {heads} does not divide the tower's width {width}; set a divisor of {width}")
    return heads


def to_transformers(state_dict: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The same weights, float32, under transformers' names, and the keys that are no part of a CLIP."""
    renamed: dict[str, Tensor] = {}
    unused = []
    for key, tensor in state_dict.items():
        entries = dict(_rename(key, tensor))
        renamed.update({name: value.float().contiguous() for name, value in entries.items()})
        if not entries and key not in _RECORDED_SETTINGS:
            unused.append(key)
    return renamed, unused


def _rename(key: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """One entry becomes one, three (query, key, value) or none."""
    if key in _WHOLE:
        yield _WHOLE[key], tensor
    elif key in _TRANSPOSED:
        yield _TRANSPOSED[key], tensor.t()
    elif match := _BLOCK.fullmatch(key):
        tower = "vision_model" if match[1] else "text_model"
        module, _, kind = match[3].replace("in_proj_", "in_proj.").rpartition(".")
        prefix = f"{tower}.encoder.layers.{match[2]}"
        if module == "attn.in_proj":
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                yield f"{prefix}.self_attn.{letter}_proj.{kind}", part
        elif module in _IN_BLOCK:
            yield f"{prefix}.{_IN_BLOCK[module]}.{kind}", tensor
