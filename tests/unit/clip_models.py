"""Small random dual encoders in transformers' format, made on the spot: no test needs a download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AltCLIPConfig,
    AutoModel,
    ChineseCLIPConfig,
    CLIPConfig,
    CLIPTokenizer,
    MetaClip2Config,
    PreTrainedTokenizerFast,
    Siglip2Config,
    Siglip2Tokenizer,
    SiglipConfig,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

SIDE = 32
SENTENCES = ["a dog runs", "A red car drives slowly past the old house", "sea"]
_WORDS = "a dog runs red car drives slowly past the old house sea".split()
_TOWER = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
_IMAGE = {**_TOWER, "image_size": SIDE, "patch_size": 8}


def clip_tokenizer() -> CLIPTokenizer:
    """Byte pairs with a handful of merges; EOS has the highest id."""
    symbols = list(bytes_to_unicode().values())
    merges = [("t", "h"), ("th", "e</w>"), ("d", "o"), ("do", "g</w>")]
    tokens = [*symbols, *(symbol + "</w>" for symbol in symbols), *(a + b for a, b in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: index for index, token in enumerate(tokens)}, merges=merges)


def word_tokenizer(*, start: str | None, end: str, max_words: int) -> PreTrainedTokenizerFast:
    """Whole words between an optional start token and an end token."""
    names = dict.fromkeys(["<pad>", "<unk>", *([start] if start else []), end, *_WORDS])
    backend = Tokenizer(models.WordLevel({name: index for index, name in enumerate(names)}, unk_token="<unk>"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    special = [(name, backend.token_to_id(name)) for name in (start, end) if name]
    template = f"{start} $A {end}" if start else f"$A {end}"
    backend.post_processor = processors.TemplateProcessing(single=template, special_tokens=special)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>", eos_token=end, model_max_length=max_words
    )


def letter_tokenizer(*, max_words: int, padding_side: str = "left") -> Siglip2Tokenizer:
    """SigLIP 2's own tokenizer over single letters."""
    names = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *"abcdefghijklmnopqrstuvwxyz"]
    vocabulary = {name: index for index, name in enumerate(names)}
    return Siglip2Tokenizer(vocab=vocabulary, merges=[], model_max_length=max_words, padding_side=padding_side)


def build(kind: str) -> tuple[Any, Any, Any]:
    """A model of ``kind`` with random weights, its tokenizer, and its image processor (Pillow's)."""
    torch.manual_seed(sum(map(ord, kind)))
    sized = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
    clip_processor = CLIPImageProcessorPil(**sized)
    if kind == "clip":
        tokenizer = clip_tokenizer()
        text = {**_TOWER, "vocab_size": len(tokenizer), "max_position_embeddings": 24}
        text |= {"eos_token_id": len(tokenizer) - 1, "bos_token_id": len(tokenizer) - 2}
        config: Any = CLIPConfig(text_config=text, vision_config=_IMAGE, projection_dim=48)
        processor: Any = clip_processor
    elif kind == "metaclip_2":
        tokenizer = word_tokenizer(start="<s>", end="</s>", max_words=16)
        text = {**_TOWER, "vocab_size": len(tokenizer), "max_position_embeddings": 16}
        text |= {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
        config, processor = MetaClip2Config(text_config=text, vision_config=_IMAGE, projection_dim=48), clip_processor
    elif kind == "siglip":
        tokenizer = word_tokenizer(start=None, end="</s>", max_words=16)
        text = {**_TOWER, "vocab_size": len(tokenizer), "max_position_embeddings": 16}
        config = SiglipConfig(text_config=text, vision_config=_IMAGE)
        processor = SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    elif kind == "siglip2":
        tokenizer = letter_tokenizer(max_words=64)
        text = {**_TOWER, "vocab_size": len(tokenizer), "max_position_embeddings": 64}
        vision = {**_TOWER, "patch_size": 8, "num_patches": 16}
        config = Siglip2Config(text_config=text, vision_config=vision)
        processor = Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16)
    elif kind == "chinese_clip":
        tokenizer = word_tokenizer(start="<s>", end="</s>", max_words=16)
        text = {**_TOWER, "vocab_size": len(tokenizer), "max_position_embeddings": 32, "pad_token_id": 0}
        config, processor = ChineseCLIPConfig(text_config=text, vision_config=_IMAGE, projection_dim=48), clip_processor
    else:
        tokenizer = word_tokenizer(start="<s>", end="</s>", max_words=16)
        text = {**_TOWER, "vocab_size": len(tokenizer), "max_position_embeddings": 32, "pad_token_id": 0}
        text |= {"project_dim": 40}
        config, processor = AltCLIPConfig(text_config=text, vision_config=_IMAGE, projection_dim=48), clip_processor
    model = AutoModel.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # transformers' small start values would hide a wrong layer behind nearly constant outputs
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model, tokenizer, processor


def save(kind: str, folder: Path) -> tuple[Any, Any, Any]:
    """``build(kind)``, written to ``folder`` as transformers writes it."""
    parts = build(kind)
    for part in parts:
        part.save_pretrained(folder)
    return parts


def openai_weights(*, vocabulary: int = 512 + 4 + 2, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """A random state dict in OpenAI's layout: two blocks of width 128 per tower, D = 48, 24 words, 32 × 32 pixels."""
    generator = torch.Generator().manual_seed(7)
    shapes = {
        "logit_scale": (),
        "token_embedding.weight": (vocabulary, 128),
        "positional_embedding": (24, 128),
        "text_projection": (128, 48),
        "visual.class_embedding": (128,),
        "visual.conv1.weight": (128, 3, 8, 8),
        "visual.positional_embedding": (17, 128),
        "visual.proj": (128, 48),
    }
    for norm in ("ln_final", "visual.ln_pre", "visual.ln_post"):
        shapes |= {f"{norm}.weight": (128,), f"{norm}.bias": (128,)}
    for block in (f"{tower}transformer.resblocks.{index}" for tower in ("", "visual.") for index in (0, 1)):
        shapes |= {f"{block}.ln_{i}.{kind}": (128,) for i in (1, 2) for kind in ("weight", "bias")}
        shapes |= {f"{block}.attn.in_proj_weight": (384, 128), f"{block}.attn.in_proj_bias": (384,)}
        shapes |= {f"{block}.attn.out_proj.weight": (128, 128), f"{block}.attn.out_proj.bias": (128,)}
        shapes |= {f"{block}.mlp.c_fc.weight": (512, 128), f"{block}.mlp.c_fc.bias": (512,)}
        shapes |= {f"{block}.mlp.c_proj.weight": (128, 512), f"{block}.mlp.c_proj.bias": (128,)}
    return {key: (0.2 * torch.randn(shape, generator=generator)).to(dtype) for key, shape in shapes.items()}
