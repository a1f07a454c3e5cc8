"""Any dual encoder of transformers behind one face: token ids and pixels into features of one space.

The families differ in three ways, told in ``FAMILIES``: whether padding is masked in the text tower (where attention
looks both ways) or needs no mask (causal), whether texts are padded to a fixed length, and which layer projects token
states. The sentence is the model's own text feature; words are all token states through the same projection.
Neighbours: ``clip_backbone.py`` (OpenAI's CLIP, trainable), ``clip.py`` (the encoder around either).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wordframe.errors import EncoderError
from wordframe.features import TextFeatures


@dataclass(frozen=True, kw_only=True)
class Family:
    """How one ``model_type`` of transformers wants its input.

    Attributes:
        mask_padding: the text tower attends both ways and needs to be told the padding.
        fixed_length: every text is padded to the model's full length, as in training.
        pad_with_zero: padded positions carry id 0, as in OpenAI's code, whatever the tokenizer's padding token.
        patches: the image tower takes a list of patches instead of an image.
        projection: the layer that brings token states into the common space.
    """

    mask_padding: bool = False
    fixed_length: bool = False
    pad_with_zero: bool = False
    patches: bool = False
    projection: str = "text_projection"


FAMILIES = {
    "clip": Family(pad_with_zero=True),
    "metaclip_2": Family(),
    "siglip": Family(fixed_length=True, projection="text_model.head"),
    "siglip2": Family(fixed_length=True, patches=True, projection="text_model.head"),
    "chinese_clip": Family(mask_padding=True),
    "altclip": Family(mask_padding=True),
}


def family_of(model_type: str) -> Family:
    """The family called ``model_type`` in a model's ``config.json``."""
    if model_type not in FAMILIES:
        raise EncoderError(
            f"a model of type {model_type!r} is not supported; supported types: {', '.join(sorted(FAMILIES))}"
        )
    return FAMILIES[model_type]


class DualEncoder:
    """A dual encoder of transformers, for inference."""

    def __init__(self, *, model: Any) -> None:
        self.model = model.eval()
        self.family = family_of(model.config.model_type)
        self._project = model.get_submodule(self.family.projection)
        self.dimension = int(self._project.out_features)

    @property
    def max_words(self) -> int:
        """The most token positions ``W`` that the text tower takes."""
        return int(self.model.config.text_config.max_position_embeddings)

    @property
    def vocabulary(self) -> int:
        """Number of tokens the text tower knows."""
        return int(self.model.config.text_config.vocab_size)

    def encode_ids(self, input_ids: Tensor, mask: Tensor) -> TextFeatures:
        """Token ids ``(T, W)`` and their mask ``(T, W)`` into features."""
        attention_mask = mask if self.family.mask_padding else None
        output = self.model.get_text_features(input_ids=input_ids, attention_mask=attention_mask)
        words = self._project(output.last_hidden_state)  # (T, W, width) -> (T, W, D)
        return TextFeatures(output.pooler_output, words, mask)

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """Pixels ``(N, 3, H, W)`` into frame features ``(N, D)``."""
        inputs = {"pixel_values": pixels}
        if self.family.patches:
            inputs = _to_patches(pixels, self.model.config.vision_config.patch_size)
        frames: Tensor = self.model.get_image_features(**inputs).pooler_output
        return frames


def _to_patches(pixels: Tensor, side: int) -> dict[str, Tensor]:
    """Pixels ``(N, 3, H, W)`` as the patches ``(N, P, side · side · 3)`` of SigLIP 2, row by row, none padded."""
    count, _, height, width = pixels.shape
    rows, columns = height // side, width // side
    patches = pixels.reshape(count, 3, rows, side, columns, side).permute(0, 2, 4, 3, 5, 1)
    patches = patches.reshape(count, rows * columns, side * side * 3)  # (N, P, side · side · 3)
    return {
        "pixel_values": patches,
        "pixel_attention_mask": torch.ones(patches.shape[:2], dtype=torch.long, device=pixels.device),
        "spatial_shapes": torch.tensor([[rows, columns]] * count, device=pixels.device),
    }
