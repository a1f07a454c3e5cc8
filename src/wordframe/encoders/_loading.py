"""From the name that a user gives to the parts of a CLIP-type encoder: towers, tokenizer and preprocessing.

A name is a file in OpenAI's layout, a folder in transformers' format, one of our checkpoints (whose CLIP is taken), a
short name of ``named.py``, or a hub id, with or without ``@revision``.

The published ``.pt`` files are TorchScript archives, which hold tensors and TorchScript but no pickled Python; other
``.pt`` files are read with ``weights_only=True``, so a file that carries code is refused. Such a file holds no
vocabulary: it must lie beside the file, or in a folder that is named.
Neighbours: ``clip.py`` (the encoder), ``backbone.py`` (OpenAI's layout), ``_dual.py`` (the model types), ``_hub.py``
(downloads).
"""

from __future__ import annotations

import gzip
import json
import math
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wordframe.encoders._agreement import need_vocabulary, refuse_strangers
from wordframe.encoders._dual import Backbone, quiet_transformers
from wordframe.encoders._hub import fetch, split_revision
from wordframe.encoders._torchscript import is_torchscript, read_torchscript
from wordframe.encoders.backbone import ClipBackbone, ClipSizes
from wordframe.encoders.named import NAMED_ENCODERS
from wordframe.encoders.preprocess import Preprocessing
from wordframe.errors import EncoderError

_CHECKPOINT_FORMAT, _CHECKPOINT_CLIP = "wordframe-model", "backbone.model."
"""How ``models/checkpoint.py`` marks a checkpoint, and calls the tensors of its backbone."""
_WEIGHT_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors")
_TOKENIZER_FILES = (("tokenizer.json",), ("vocab.json", "merges.txt"))
_OPENAI_VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"
_CLIP_WORDS = 77
_MERGES = 49152 - 256 - 2  # of the 49,408 tokens: 2 × 256 bytes, these merges, SOS and EOS
_LOWER_CASE_TYPES = ("siglip", "siglip2")


@dataclass(frozen=True, kw_only=True)
class ClipParts:
    """What one model's files give.

    Attributes:
        name: what loads the same again, from any folder and after a push to the hub: an absolute path, a short name
            with a pinned commit, or a hub id with its commit.
        towers: the model; it can be trained as it is.
        tokenizer: transformers' own.
        max_words: of the model's training, if it is told.
    """

    name: str
    towers: Backbone
    tokenizer: Any
    max_words: int | None = None

    @property
    def preprocessing(self) -> Preprocessing:
        """Frames into the pixels that the towers take."""
        return self.towers.preprocessing

    @property
    def full_length(self) -> int:
        """The most token positions of a sentence: CLIP's 77, or less where the text tower or tokenizer says so."""
        return min(_CLIP_WORDS, self.towers.max_words, int(self.tokenizer.model_max_length))


def load_clip(name: str, *, tokenizer: str | Path | None = None) -> ClipParts:
    """What ``name`` holds: a weights file, a folder, one of our checkpoints, or a model of the hub by short name or id.

    Args:
        name: where it is.
        tokenizer: folder of the vocabulary, for a weights file or a checkpoint of ours that has none beside it.

    Raises:
        EncoderError: it is not there, cannot be read, or is of a kind that is not supported.
    """
    path = Path(name).expanduser()
    if path.is_file() and path.suffix not in _WEIGHT_SUFFIXES:
        raise EncoderError(f"{name} is no weights file; allowed endings: {', '.join(_WEIGHT_SUFFIXES)}")
    if path.is_file():
        with quiet_transformers():
            return _agreeing(_load_file(path, tokenizer))
    folder, lasting = _find_folder(name)  # outside the block: a download shows its bars
    with quiet_transformers():
        return _agreeing(_load_folder(folder, lasting, tokenizer))


def _agreeing(parts: ClipParts) -> ClipParts:
    refuse_strangers(parts.name, parts.towers, parts.tokenizer)
    return parts


def _load_file(path: Path, tokenizer: str | Path | None) -> ClipParts:
    """From a weights file in OpenAI's layout, with the vocabulary from the folder ``tokenizer`` or beside it."""
    if (path.parent / "open_clip_config.json").is_file():
        raise EncoderError(
            f"{path} is an OpenCLIP file, whose activation is not told by its weights: "
            "use the model's transformers version, by hub id or folder"
        )
    backbone = ClipBackbone.from_openai(_read_state_dict(path))
    if backbone.unused_keys:
        raise EncoderError(
            f"{path} holds more than a CLIP, among it {', '.join(backbone.unused_keys[:3])}: "
            "a checkpoint of a trained model is loaded with load_authors_checkpoint"
        )
    return ClipParts(
        name=str(path.absolute()),
        towers=backbone,
        tokenizer=load_tokenizer(path, tokenizer),
    )


def _load_folder(folder: Path, name: str, tokenizer_folder: str | Path | None = None) -> ClipParts:
    """From a ``folder`` in transformers' format, or of one of our checkpoints; ``name`` is what the user called it."""
    from transformers import AutoModel

    settings = _refuse_unsupported(folder)
    if settings.get("format") == _CHECKPOINT_FORMAT:
        return _load_checkpoint(folder, name, settings, tokenizer_folder)
    if tokenizer_folder is not None:
        raise EncoderError(f"tokenizer= goes with a weights file only, or a checkpoint; {name} brings its own")
    preprocessing = _load_preprocessing(folder)
    try:
        # float32 by name: transformers would keep a half-precision file's type, which CPUs compute slowly and worse
        model, report = AutoModel.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
        tokenizer = _own_tokenizer(folder, settings["model_type"])
    except Exception as error:
        # transformers raises OSError, ValueError, KeyError, RuntimeError, ImportError … for a bad or missing file
        raise EncoderError(f"cannot load the model {name}: {(str(error) or repr(error)).splitlines()[0]}") from error
    if missing := sorted(report["missing_keys"]):
        raise EncoderError(f"the weights of {name} lack {len(missing)} tensors, among them {', '.join(missing[:3])}")
    backbone: Backbone | None = ClipBackbone.of_model(model)
    if backbone is None or backbone.preprocessing != preprocessing:
        backbone = Backbone(model, preprocessing=preprocessing)
    return ClipParts(name=name, towers=backbone, tokenizer=tokenizer)


def _refuse_unsupported(folder: Path) -> dict[str, Any]:
    """A folder's ``config.json``; raises unless its model can be used."""
    settings = _read_json(folder / "config.json")
    if settings is None:
        raise EncoderError(f"{folder} holds no config.json: it is no model in transformers' format")
    if settings.get("format") != _CHECKPOINT_FORMAT:
        need_vocabulary(folder, settings.get("model_type", "unknown"))
    return settings


def _own_tokenizer(folder: Path, model_type: str) -> Any:
    """The tokenizer that lies with a model, as it was trained with.

    SigLIP 2 was trained on lower-case text, by Gemma's vocabulary. Its published folders name Gemma's tokenizer, which
    keeps capitals, and those of fixed resolution call themselves plain ``siglip``: so transformers gives "A Dog" other
    tokens than training had. Its ``Siglip2Tokenizer`` is the one that is meant
    (huggingface/transformers, pull request 43101).
    """
    from transformers import AutoTokenizer, Siglip2Tokenizer

    told = (_read_json(folder / "tokenizer_config.json") or {}).get("tokenizer_class") or ""
    if model_type in _LOWER_CASE_TYPES and told.removesuffix("Fast") == "GemmaTokenizer":
        return Siglip2Tokenizer.from_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


def _load_checkpoint(folder: Path, name: str, config: dict[str, Any], tokenizer_folder: str | Path | None) -> ClipParts:
    """The backbone inside a checkpoint that ``TextVideoModel.save`` wrote; its head is not read."""
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
        backbone = backbone_of(config["backbone"], weights)
        max_words = int(config["settings"]["max_words"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise EncoderError(
            f"cannot load the checkpoint {name}: {(str(error) or repr(error)).splitlines()[0]}"
        ) from error
    return ClipParts(
        name=name,
        towers=backbone,
        tokenizer=load_tokenizer(path, tokenizer_folder, model_type=backbone.type_name),
        max_words=max_words,
    )


def backbone_of(description: Mapping[str, Any], weights: dict[str, Tensor] | None = None) -> Backbone:
    """The backbone that ``describe`` described: of OpenAI's kind by its sizes, or any other by its configuration.

    Args:
        description: of a checkpoint.
        weights: under transformers' names; random ones if not given.

    Raises:
        EncoderError: weights are missing or have other sizes.
        TypeError, KeyError, ValueError: the description is none.
    """
    if "config" in description:
        return Backbone.from_description(description, weights)
    if weights is None:
        return ClipBackbone(**description)
    return ClipBackbone.from_weights(ClipSizes(**description), weights)


def _load_preprocessing(folder: Path) -> Preprocessing:
    """From the processor's file, where newer versions of transformers keep it, or the image processor's own."""
    file = folder / "processor_config.json"
    if (config := (_read_json(file) or {}).get("image_processor")) is None:
        file = folder / "preprocessor_config.json"
        config = _read_json(file)
    if config is None:
        raise EncoderError(f"{folder} holds no preprocessor_config.json: it does not say how frames become pixels")
    try:
        if "max_num_patches" in config:
            # SigLIP 2 with free aspect: a square of all its patches, so that frames of any shape fit one batch
            side = config["patch_size"] * math.isqrt(config["max_num_patches"])
            config = {**config, "size": {"height": side, "width": side}}
        return Preprocessing.from_config(config)
    except (EncoderError, ValueError, TypeError, KeyError) as error:
        raise EncoderError(f"{file}: {str(error) or repr(error)}") from error


def _read_json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise EncoderError(f"{path} is no valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise EncoderError(f"{path} must hold a JSON object, got {type(content).__name__}")
    return content


def _find_folder(name: str) -> tuple[Path, str]:
    """The folder called ``name``, else the files of the hub's model; and the name that finds the same again.

    Raises:
        EncoderError: there is neither, or it cannot be fetched; the message says what to do.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path, str(path.absolute())
    called, revision = split_revision(name)
    row = NAMED_ENCODERS.get(called)
    if row is None and (called.startswith(("/", ".", "~")) or called.count("/") > 1 or "\\" in called):
        raise EncoderError(f"no encoder at {name}: give a folder, an OpenAI .pt file, a hub id, or 'offline'")
    if row is None and "/" not in called:
        raise EncoderError(
            f"{name!r} is no folder, and no hub id either: a hub id looks like owner/model; "
            f"short names: {', '.join(NAMED_ENCODERS)} (wordframe encoders tells more)"
        )
    repository = called if row is None else row.repository
    pinned = None if row is None else row.revision
    folder = fetch(repository, revision or pinned, accept=_refuse_unsupported)
    is_pinned = pinned is not None and folder.name == pinned
    return folder, called if is_pinned else f"{called}@{folder.name}"


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name.

    Raises:
        EncoderError: it cannot be read, carries code, or is no flat state dict.
    """
    try:
        weights = _read(path)
    except EncoderError:
        raise
    except pickle.UnpicklingError as error:
        raise EncoderError(f"{path} is no weights file, or carries code, and was not loaded") from error
    except Exception as error:
        # torch and safetensors raise half a dozen unrelated types on a damaged file
        raise EncoderError(f"cannot read the weights in {path}: {str(error).splitlines()[0]}") from error
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise EncoderError(f"{path} is no plain state dict of tensors; save model.state_dict() alone")
    return weights


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    if is_torchscript(path):
        return read_torchscript(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def load_tokenizer(weights: Path, folder: str | Path | None, *, model_type: str = "clip") -> Any:
    """The tokenizer from ``folder``, else from the folder of the ``weights`` file: CLIP's, or the model type's own.

    Raises:
        EncoderError: there is none.
    """
    from transformers import CLIPTokenizer

    place = weights.parent if folder is None else Path(folder).expanduser()
    if model_type != "clip":
        return _tokenizer_beside(weights, place, model_type)
    if any(all((place / file).is_file() for file in files) for files in _TOKENIZER_FILES):
        return CLIPTokenizer.from_pretrained(str(place))
    if (place / _OPENAI_VOCABULARY).is_file():
        return CLIPTokenizer(**_read_openai_vocabulary(place / _OPENAI_VOCABULARY))
    raise EncoderError(
        f"{weights.name} holds no vocabulary and {place} has none: put there tokenizer.json, or vocab.json and "
        f"merges.txt, of any OpenAI CLIP, or {_OPENAI_VOCABULARY} of OpenAI's, or name their folder by tokenizer="
    )


def _tokenizer_beside(weights: Path, place: Path, model_type: str) -> Any:
    """As ``_own_tokenizer``, of a checkpoint of ours, where ``save_pretrained`` wrote it under its own class."""
    try:
        need_vocabulary(place, model_type)
        return _own_tokenizer(place, model_type)
    except Exception as error:  # transformers raises many types where files are missing or damaged
        raise EncoderError(
            f"{weights.name} holds no vocabulary and {place} has none that can be read: put there the tokenizer's "
            "files of the model it was trained from, or name their folder by tokenizer="
        ) from error


def _read_openai_vocabulary(path: Path) -> dict[str, Any]:
    """Vocabulary and merges: ids run over the bytes, the bytes that end a word, the merges, SOS and EOS."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    lines = gzip.decompress(path.read_bytes()).decode("utf-8").splitlines()[1 : 1 + _MERGES]
    merges = [(left, right) for left, right in (line.split() for line in lines)]
    symbols = list(bytes_to_unicode().values())
    tokens = [*symbols, *(symbol + "</w>" for symbol in symbols), *(left + right for left, right in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {"vocab": {token: index for index, token in enumerate(tokens)}, "merges": merges}
