"""OpenAI's CLIP as a backbone: built of its sizes, or of weights under OpenAI's names.

As published (Radford et al., ICML 2021, arXiv 2103.00020), and as CLIP4Clip, X-CLIP, EA-CLIP4Clip and TC-MGC use it:
words are all token positions through the final LayerNorm and the text projection, the sentence is the position of the
highest id (EOS), a frame is the projected class token. The text runs under the causal mask alone, so padding behind
EOS never reaches a real word. Nothing is normalised.

Weights come under OpenAI's names, in the files published with CLIP and, under ``clip.``, in those of the four papers.
Two things differ beyond names: query, key and value projections lie in one matrix there, and the two final projections
are stored transposed.
Neighbours: ``_dual.py`` (backbones of any family), ``_loading.py`` reads the files, ``clip.py`` is the encoder around
it, ``models`` builds on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from wordframe.encoders._dual import Backbone, model_of_weights
from wordframe.encoders._half_weights import embeddings_in_half, store_in_half
from wordframe.encoders.preprocess import Preprocessing
from wordframe.errors import EncoderError
from wordframe.features import TextFeatures

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


class ClipBackbone(Backbone):
    """Both towers of OpenAI's CLIP, differentiable.

    Built with random weights from its sizes, or by ``from_openai``. ``sizes`` gives the sizes back.
    """

    def __init__(
        self,
        *,
        dimension: int,
        image_size: int,
        patch_size: int,
        vision_width: int,
        vision_layers: int,
        vision_heads: int,
        vocabulary: int,
        max_words: int,
        text_width: int,
        text_layers: int,
        text_heads: int,
    ) -> None:
        from transformers.models.clip.modeling_clip import CLIPModel

        sizes = ClipSizes(
            dimension=dimension,
            image_size=image_size,
            patch_size=patch_size,
            vision_width=vision_width,
            vision_layers=vision_layers,
            vision_heads=vision_heads,
            vocabulary=vocabulary,
            max_words=max_words,
            text_width=text_width,
            text_layers=text_layers,
            text_heads=text_heads,
        )
        self._take(CLIPModel(_config(sizes)), sizes)

    def _take(self, model: Any, sizes: ClipSizes) -> None:
        super().__init__(model, preprocessing=Preprocessing(height=sizes.image_size, width=sizes.image_size))
        self.sizes = sizes
        self.unused_keys: tuple[str, ...] = ()
        self.in_half = False

    @classmethod
    def of_model(cls, model: Any) -> ClipBackbone | None:
        """Around transformers' model where that is a CLIP of OpenAI's kind (QuickGELU, four-fold MLP); else None."""
        config = model.config
        if config.model_type != "clip":
            return None
        text, vision = config.text_config, config.vision_config
        alike = (
            {text.hidden_act, vision.hidden_act} == {"quick_gelu"}
            and {text.layer_norm_eps, vision.layer_norm_eps} == {1e-5}
            and text.intermediate_size == 4 * text.hidden_size
            and vision.intermediate_size == 4 * vision.hidden_size
        )
        if not alike:
            return None
        sizes = ClipSizes(
            dimension=config.projection_dim,
            image_size=vision.image_size,
            patch_size=vision.patch_size,
            vision_width=vision.hidden_size,
            vision_layers=vision.num_hidden_layers,
            vision_heads=vision.num_attention_heads,
            vocabulary=text.vocab_size,
            max_words=text.max_position_embeddings,
            text_width=text.hidden_size,
            text_layers=text.num_hidden_layers,
            text_heads=text.num_attention_heads,
        )
        return cls._around(model, sizes)

    @classmethod
    def _around(cls, model: Any, sizes: ClipSizes) -> ClipBackbone:
        backbone = cls.__new__(cls)  # without the random weights that __init__ makes
        backbone._take(model, sizes)
        return backbone

    def describe(self) -> dict[str, Any]:
        """Its sizes, which say all."""
        return asdict(self.sizes)

    @classmethod
    def from_openai(
        cls, state_dict: Mapping[str, Tensor], *, vision_heads: int | None = None, text_heads: int | None = None
    ) -> ClipBackbone:
        """From weights under OpenAI's names; sizes come from the shapes, heads default to width // 64.

        Keys that are no part of a CLIP are listed in ``unused_keys``.

        Raises:
            EncoderError: weights are missing or do not fit together.
        """
        sizes = read_sizes(state_dict, vision_heads=vision_heads, text_heads=text_heads)
        weights, unused = to_transformers(state_dict)
        backbone = cls.from_weights(sizes, weights)
        backbone.unused_keys = tuple(unused)
        return backbone

    @classmethod
    def from_weights(cls, sizes: ClipSizes, weights: dict[str, Tensor]) -> ClipBackbone:
        """From weights under transformers' names.

        Raises:
            EncoderError: weights are missing or have other sizes.
        """
        from transformers.models.clip.modeling_clip import CLIPModel

        return cls._around(model_of_weights(CLIPModel, _config(sizes), weights), sizes)

    def to_half(self) -> None:
        """Keep the weights in float16 from now on, as the released codes tune CLIP; a second call changes nothing."""
        if not self.in_half:
            store_in_half(self.model)
            self.in_half = True

    def pooled_place(self, ids: Sequence[int]) -> int:
        """That of the highest id, the end token's."""
        return max(range(len(ids)), key=ids.__getitem__)

    def encode_ids(self, input_ids: Tensor, mask: Tensor) -> TextFeatures:
        """Token ids ``(T, W)`` and their mask ``(T, W)`` into features."""
        if input_ids.dim() != 2 or not 1 <= input_ids.shape[1] <= self.max_words:
            raise ValueError(f"input_ids must be (T, W) with W in 1..{self.max_words}, got {tuple(input_ids.shape)}")
        states = self._run(self.model.text_model, input_ids=input_ids).last_hidden_state  # (T, W, width)
        words = self._outside(self.model.text_projection(states))  # (T, W, D)
        # Not transformers' pooled output: that looks for the EOS of the configuration, which older published ones
        # give as 2. OpenAI's own rule is the highest id, and needs no configuration.
        rows = torch.arange(len(input_ids), device=input_ids.device)
        sentence = words[rows, input_ids.argmax(dim=-1)]  # (T, D)
        return TextFeatures(sentence, words, mask)

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """Pixels ``(N, 3, H, W)`` into frame features ``(N, D)``."""
        side = self.sizes.image_size
        if pixels.dim() != 4 or pixels.shape[1:] != (3, side, side):
            raise ValueError(f"pixels must be (N, 3, {side}, {side}), got {tuple(pixels.shape)}")
        pooled = self._run(self.model.vision_model, pixel_values=pixels).pooler_output  # (N, width)
        return self._outside(self.model.visual_projection(pooled))  # (N, D)

    def _run(self, tower: nn.Module, **inputs: Tensor) -> Any:
        if not self.in_half:
            return tower(**inputs)
        return functional_call(tower, embeddings_in_half(tower), (), inputs)

    def _outside(self, features: Tensor) -> Tensor:
        """What leaves the towers: whatever is built on them computes in float32, as in the released codes."""
        return features.float() if self.in_half else features


def _config(sizes: ClipSizes) -> Any:
    """transformers' configuration of a CLIP as OpenAI made them: QuickGELU, LayerNorm ε 1e-5, four-fold MLP."""
    from transformers.models.clip.configuration_clip import CLIPConfig

    return CLIPConfig(
        projection_dim=sizes.dimension,
        text_config={
            "vocab_size": sizes.vocabulary,
            "max_position_embeddings": sizes.max_words,
            "hidden_size": sizes.text_width,
            "intermediate_size": 4 * sizes.text_width,
            "num_hidden_layers": sizes.text_layers,
            "num_attention_heads": sizes.text_heads,
            "projection_dim": sizes.dimension,
            "hidden_act": "quick_gelu",
            "layer_norm_eps": 1e-5,
            "pad_token_id": 0,
            "bos_token_id": sizes.vocabulary - 2,
            "eos_token_id": sizes.vocabulary - 1,
        },
        vision_config={
            "image_size": sizes.image_size,
            "patch_size": sizes.patch_size,
            "hidden_size": sizes.vision_width,
            "intermediate_size": 4 * sizes.vision_width,
            "num_hidden_layers": sizes.vision_layers,
            "num_attention_heads": sizes.vision_heads,
            "projection_dim": sizes.dimension,
            "hidden_act": "quick_gelu",
            "layer_norm_eps": 1e-5,
        },
    )


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
