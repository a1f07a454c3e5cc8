"""The start of a temporal or joint transformer from CLIP's own text tower, as published.

Positions come from CLIP's text positions, blocks from CLIP's first text blocks (CLIP4Clip, arXiv 2104.08860). Both have
the width of the text tower, so it must equal ``D``. ``load_model(PRESET, backbone=…)`` calls this.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from wordframe.encoders import ClipBackbone
from wordframe.heads import Transformer, TransformerBlock


def start_from_clip(module: nn.Module, backbone: ClipBackbone) -> int:
    """Copy CLIP's text positions and first blocks into each ``Transformer`` in ``module``; gives their number."""
    transformers = [child for child in module.modules() if isinstance(child, Transformer)]
    for transformer in transformers:
        _copy(transformer, backbone)
    return len(transformers)


@torch.no_grad()
def _copy(transformer: Transformer, backbone: ClipBackbone) -> None:
    tower = backbone.model.text_model
    positions = tower.embeddings.position_embedding.weight
    width, dimension = positions.shape[1], transformer.positions.embedding_dim
    if width != dimension:
        raise ValueError(
            f"CLIP's text tower is {width} wide, the transformer works on D = {dimension}, so it cannot start there; "
            "TextVideoModel(settings=…, backbone=…) starts from random weights"
        )
    rows = min(len(positions), transformer.positions.num_embeddings)
    transformer.positions.weight[:rows] = positions[:rows]
    for block, source in zip(transformer.blocks, tower.encoder.layers, strict=False):
        assert isinstance(block, TransformerBlock)
        _copy_block(block, source)


def _copy_block(block: TransformerBlock, source: Any) -> None:
    attention = source.self_attn
    for kind in ("weight", "bias"):
        joined = torch.cat([getattr(getattr(attention, f"{name}_proj"), kind) for name in "qkv"])
        getattr(block.qkv, kind).copy_(joined)
    for ours, theirs in (
        (block.out, attention.out_proj),
        (block.attention_norm, source.layer_norm1),
        (block.mlp_norm, source.layer_norm2),
        (block.mlp[0], source.mlp.fc1),
        (block.mlp[2], source.mlp.fc2),
    ):
        ours.load_state_dict(theirs.state_dict())
