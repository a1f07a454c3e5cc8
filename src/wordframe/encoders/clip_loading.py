"""The parts of a CLIP-type encoder out of files: towers, tokenizer and preprocessing.

A folder holds a model in transformers' format, or one of our checkpoints, whose CLIP is taken.

Neighbours: ``clip.py`` puts them together, ``hub.py`` finds the folder, ``openai_file.py`` reads ``.pt`` files,
``dual.py`` knows the families.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from wordframe.encoders.clip_backbone import ClipBackbone
from wordframe.encoders.dual import DualEncoder, family_of
from wordframe.encoders.openai_file import load_tokenizer, read_state_dict
from wordframe.encoders.openai_layout import ClipSizes
from wordframe.encoders.preprocess import Preprocessing
from wordframe.errors import EncoderError

_CHECKPOINT_FORMAT, _CHECKPOINT_CLIP = "wordframe-model", "backbone.model."
"""How ``models/checkpoint.py`` marks a checkpoint, and calls the tensors of its CLIP."""


@dataclass(frozen=True, kw_only=True)
class ClipParts:
    """What one model's files give; tokenizer: transformers' own; max_words: of the model's training, if it is told."""

    towers: DualEncoder
    tokenizer: Any
    preprocessing: Preprocessing
    max_words: int | None = None


def load_file(path: Path, tokenizer: str | Path | None) -> ClipParts:
    """From a weights file in OpenAI's layout, with the vocabulary from the folder ``tokenizer`` or beside it."""
    if (path.parent / "open_clip_config.json").is_file():
        raise EncoderError(
            f"{path} is an OpenCLIP file, whose activation is not told by its weights: "
            "use the model's transformers version, by hub id or folder"
        )
    backbone = ClipBackbone.from_openai(read_state_dict(path))
    if backbone.unused_keys:
        raise EncoderError(
            f"{path} holds more than a CLIP, among it {', '.join(backbone.unused_keys[:3])}: "
            "a checkpoint of a trained model is loaded with load_authors_checkpoint"
        )
    return ClipParts(
        towers=DualEncoder(model=backbone.model),
        tokenizer=load_tokenizer(path, tokenizer),
        preprocessing=backbone_preprocessing(backbone),
    )


def backbone_preprocessing(backbone: ClipBackbone) -> Preprocessing:
    """CLIP's own, at the size the image tower takes."""
    side = backbone.sizes.image_size
    return Preprocessing(height=side, width=side)


def load_folder(folder: Path, name: str, tokenizer_folder: str | Path | None = None) -> ClipParts:
    """From a ``folder`` in transformers' format, or of one of our checkpoints; ``name`` is what the user called it."""
    from transformers import AutoModel, AutoTokenizer

    settings = _read_json(folder / "config.json")
    if settings is None:
        raise EncoderError(f"{folder} holds no config.json: it is no model in transformers' format")
    if settings.get("format") == _CHECKPOINT_FORMAT:
        return _load_checkpoint(folder, name, settings, tokenizer_folder)
    if tokenizer_folder is not None:
        raise EncoderError(f"tokenizer= goes with a weights file only, or a checkpoint; {name} brings its own")
    family_of(settings.get("model_type", "unknown"))
    preprocessing = _load_preprocessing(folder)
    try:
        # float32 by name: transformers would keep a half-precision file's type, which CPUs compute slowly and worse
        model, report = AutoModel.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except Exception as error:
        # transformers raises OSError, ValueError, KeyError, RuntimeError, ImportError … for a bad or missing file
        raise EncoderError(f"cannot load the model {name}: {(str(error) or repr(error)).splitlines()[0]}") from error
    if missing := sorted(report["missing_keys"]):
        raise EncoderError(f"the weights of {name} lack {len(missing)} tensors, among them {', '.join(missing[:3])}")
    return ClipParts(towers=DualEncoder(model=model), tokenizer=tokenizer, preprocessing=preprocessing)


def _load_checkpoint(folder: Path, name: str, config: dict[str, Any], tokenizer_folder: str | Path | None) -> ClipParts:
    """The CLIP inside a checkpoint that ``TextVideoModel.save`` wrote; its head is not read."""
    from safetensors import SafetensorError, safe_open

    if config.get("backbone") is None:
        raise EncoderError(
            f"{name} is a model without a CLIP of its own: it scores the features of another encoder; name that one"
        )
    path = folder / "model.safetensors"
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            towers = [name for name in names if name.startswith(_CHECKPOINT_CLIP)]
            weights = {name.removeprefix(_CHECKPOINT_CLIP): file.get_tensor(name) for name in towers}
        backbone = ClipBackbone.from_weights(ClipSizes(**config["backbone"]), weights)
        max_words = int(config["settings"]["max_words"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise EncoderError(
            f"cannot load the checkpoint {name}: {(str(error) or repr(error)).splitlines()[0]}"
        ) from error
    return ClipParts(
        towers=DualEncoder(model=backbone.model),
        tokenizer=load_tokenizer(path, tokenizer_folder),
        preprocessing=backbone_preprocessing(backbone),
        max_words=max_words,
    )


def _load_preprocessing(folder: Path) -> Preprocessing:
    """From the processor's file, where newer versions of transformers keep it, or the image processor's own."""
    config = (_read_json(folder / "processor_config.json") or {}).get("image_processor")
    config = config or _read_json(folder / "preprocessor_config.json")
    if config is None:
        raise EncoderError(f"{folder} holds no preprocessor_config.json: it does not say how frames become pixels")
    if "max_num_patches" in config:
        # SigLIP 2 with free aspect: a square of all its patches, so that frames of any shape fit one batch
        side = config["patch_size"] * math.isqrt(config["max_num_patches"])
        config = {**config, "size": {"height": side, "width": side}}
    return Preprocessing.from_config(config)


def _read_json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise EncoderError(f"{path} is no valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise EncoderError(f"{path} must hold a JSON object, got {type(content).__name__}")
    return content
