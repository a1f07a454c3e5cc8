"""A checkpoint on disk: a folder with ``config.json``, ``model.safetensors``, a card, and the vocabulary if known.

What is in it and how it is written and read, without the model itself: ``model.py`` saves and loads through it,
``authors.py`` reads the papers' own files by ``read_tensors``. Nothing here runs code from a file.

``huggingface_hub`` finds and uploads the folder. Its ``PyTorchModelHubMixin`` is not used: it writes ``config.json``
from constructor arguments that are plain values, and ours are a settings object, a backbone and a tokenizer, so that
every hook of it would be overridden to keep the format; ``ModelCard`` would add a template engine for one page of text.
"""

from __future__ import annotations

import json
import pickle
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import wordframe
from wordframe.disk import replacing, write_whole
from wordframe.encoders import MODEL_TYPES, SentenceTokenizer, load_tokenizer
from wordframe.errors import CheckpointError, EncoderError

FORMAT = "wordframe-model"
VERSION = 1
DEFAULT_VOCABULARY = "openai/clip-vit-base-patch32"
VOCABULARY_FILES = (
    *("vocab.json", "merges.txt", "tokenizer*.json", "special_tokens_map.json", "added_tokens.json"),
    *("spiece.model", "vocab.txt", "sentencepiece.bpe.model", "tokenizer.model"),
)
_VOCABULARIES = ("vocab.json", "tokenizer.json", "spiece.model", "vocab.txt")

_FILES = ("config.json", "model.safetensors", *VOCABULARY_FILES)
_NESTED_UNDER = ("state_dict", "model_state_dict", "model")
_CARD = """---
library_name: wordframe
tags: [text-to-video-retrieval, video-search, {family}]
---
# A text-video model: {label}

Method: {paper}. {state}

```python
import wordframe as wf

model = wf.load_model("THIS FOLDER OR HUB ID")
{use}
```

Backbone: {backbone}. Parameters on top of it: {parameters:,}.

| setting | value |
|---|---|
{settings}

Saved by wordframe {version}.
"""


class ClipTokenizer:
    """A backbone's vocabulary at work: ``T`` sentences into ``input_ids (T, W)`` and ``mask (T, W)``.

    ``W`` is the longest one's, or the full length where the family wants that.

    Args:
        tokenizer: of transformers.
        model_type: of the backbone, as transformers calls it.
    """

    def __init__(self, tokenizer: Any, model_type: str = "clip") -> None:
        self.tokenizer = tokenizer
        self.model_type = model_type

    @classmethod
    def load(cls, name_or_folder: str | Path = DEFAULT_VOCABULARY, model_type: str = "clip") -> ClipTokenizer:
        """From a folder with ``tokenizer.json``, or ``vocab.json`` and ``merges.txt``; or by hub id.

        Raises:
            EncoderError: it is not there.
        """
        try:
            folder = Path(name_or_folder)
            place = folder if folder.is_dir() else _download_vocabulary(str(name_or_folder))
            return cls(load_tokenizer(folder, place, model_type=model_type), model_type)
        except (OSError, ValueError, EncoderError) as error:
            raise EncoderError(
                f"no CLIP vocabulary at {str(name_or_folder)!r}: encode_text(['a sentence']) needs vocab.json and "
                "merges.txt; set model.tokenizer = ClipTokenizer.load(FOLDER), or pass input_ids= and mask="
            ) from error

    @classmethod
    def beside(cls, folder: Path, model_type: str) -> ClipTokenizer | None:
        """The vocabulary in a checkpoint's folder, if it has one."""
        there = any((folder / name).is_file() for name in _VOCABULARIES)
        return cls.load(folder, model_type) if there else None

    def __call__(self, sentences: Sequence[str], *, max_words: int, vocabulary: int) -> tuple[Tensor, Tensor]:
        tokenize = SentenceTokenizer(
            tokenizer=self.tokenizer,
            model_type=MODEL_TYPES[self.model_type],
            max_words=max_words,
            vocabulary=vocabulary,
        )
        return tokenize(sentences)

    def save(self, folder: str | Path) -> None:
        """Write the vocabulary, so that ``load(folder)`` finds it."""
        with tempfile.TemporaryDirectory() as written:  # transformers writes in place, several files
            self.tokenizer.save_pretrained(written)
            for file in sorted(Path(written).iterdir()):
                write_whole(Path(folder) / file.name, file.read_bytes())


def write_folder(
    folder: Path,
    *,
    config: Mapping[str, Any],
    tensors: dict[str, Tensor],
    card: str,
    tokenizer: ClipTokenizer | None,
) -> None:
    """Write a checkpoint; files of an earlier one are replaced, others stay.

    A save that is killed leaves the earlier checkpoint whole: what takes long, the weights, is written beside its
    place, and everything takes its place afterwards, ``config.json`` last, so that a new folder is a checkpoint only
    when it is complete.

    Raises:
        OSError: the folder cannot be written.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as parts:  # left in reverse: the weights take their place first, config.json last
        part = parts.enter_context(replacing(folder / "config.json"))
        part.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        save_file(tensors, parts.enter_context(replacing(folder / "model.safetensors")), metadata={"format": "pt"})
        if tokenizer is not None:
            tokenizer.save(folder)
        write_whole(folder / "README.md", card)


def read_config(folder: Path) -> dict[str, Any]:
    """What ``config.json`` of a checkpoint's folder holds.

    Raises:
        CheckpointError: it is missing, damaged, or of something else.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"no config.json in {str(folder)!r}: not a model saved by wordframe") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{str(path)!r} is not valid JSON: {error}") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise CheckpointError(f"{str(path)!r} is not of a model saved by wordframe (no format {FORMAT!r})")
    if config.get("version") != VERSION:
        raise CheckpointError(
            f"{str(path)!r} is of version {config.get('version')}, this wordframe reads {VERSION}; update wordframe"
        )
    return config


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name: ``.safetensors``, or a pickle by torch's restricted reader.

    Raises:
        CheckpointError: it is missing, damaged, carries code, or holds no tensors.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {str(path)!r}; give the path of a .safetensors, .bin or .pt file")
    # by its ending alone: a pickle that calls itself .safetensors is refused by the reader of safetensors
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{str(path)!r} cannot be read as safetensors: {error}") from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch advises on its pickles; the refusal below says what a user needs
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{str(path)!r} carries more than tensors, or is damaged, and is not loaded: running code from a "
            "checkpoint is unsafe; convert it to safetensors where you trust it"
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{str(path)!r} cannot be read as a checkpoint: {' '.join(str(error).split())[:200]}"
        ) from error
    return _only_tensors(path, content)


def _only_tensors(path: Path, content: object) -> dict[str, Tensor]:
    if isinstance(content, Mapping):
        for key in _NESTED_UNDER:
            if isinstance(content.get(key), Mapping):
                content = content[key]
                break
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{str(path)!r} holds a {type(content).__name__}, expected tensors by name")
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise CheckpointError(f"{str(path)!r} holds no tensors by name")
    return tensors


def card_text(config: Mapping[str, Any], *, label: str, paper: str, parameters: int) -> str:
    """The text of ``README.md``: what a model is, how to load it, its settings.

    Args:
        config: what its ``config.json`` holds.
        label: what it is called.
        paper: where its method was published.
        parameters: how many it has on top of its backbone.
    """
    settings, backbone, trained_on = config["settings"], config["backbone"], config["trained_on"]
    if backbone is None:
        text, encode = "…  # TextFeatures of the encoder it is used with", "model.contextualize(frames, frame_mask)"
        source = f"none, features of {config['dimension']} dimensions come from outside"
        if trained_on is not None:
            encoder = "{name} (fingerprint {fingerprint})".format(**trained_on)
            source = f"none, features come from the encoder {encoder}"
    else:
        text, encode = 'model.encode_text(["a sentence"])', "model.encode_video(pixels=pixels)"
        kind, vision = "CLIP", backbone
        if "config" in backbone:
            kind, vision = backbone["config"]["model_type"], backbone["config"]["vision_config"]
        layers = vision.get("vision_layers") or vision.get("num_hidden_layers")
        source = f"{kind}, {layers} layers, patches of {vision['patch_size']} pixels"
    return _CARD.format(
        family=settings["family"],
        label=label,
        paper=paper or label,
        state="The weights are trained." if config["trained"] else "The weights are NOT trained.",
        use=f"text = {text}\nlogits = model.score(text, {encode}).logits  # (texts, videos)",
        backbone=source,
        parameters=parameters,
        settings="\n".join(f"| {name} | {value} |" for name, value in settings.items()),
        version=wordframe.__version__,
    )


def upload(repo_id: str, write: Callable[[Path], None], *, private: bool, token: str | None) -> str:
    """What ``write`` puts into a folder, to ``repo_id`` on the Hugging Face Hub; gives the commit's address."""
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    api.create_repo(repo_id, private=private, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        commit = api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="Upload a wordframe model")
    return str(commit.commit_url)


def download(name: str, *, presets: Sequence[str]) -> Path:
    """The folder of a hub id, in the hub's cache; ``presets`` are told where ``name`` is nothing.

    Raises:
        CheckpointError: it is no hub id, or the hub does not give it.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        if name.count("/") != 1:
            raise HFValidationError(name)
        return Path(snapshot_download(name, allow_patterns=list(_FILES)))
    except HFValidationError as error:
        raise CheckpointError(
            f"{name!r} is neither a preset, a folder nor a hub id; presets: {', '.join(presets)}"
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(
            f"{name!r} is no preset and no folder, and the hub does not give it: {str(error).splitlines()[0]}"
        ) from error


def _download_vocabulary(hub_id: str) -> Path:
    """The vocabulary alone, not the model it belongs to."""
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(hub_id, allow_patterns=list(VOCABULARY_FILES)))
