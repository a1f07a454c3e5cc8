"""Our checkpoints: a folder with ``config.json``, ``model.safetensors``, a model card, and the vocabulary if known.

``load_model`` opens a preset, such a folder, or one on the Hugging Face Hub; ``save`` and ``push_to_hub`` write them.
Authors' own files are read by ``authors.py``.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import wordframe
from wordframe.encoders import ClipBackbone
from wordframe.errors import CheckpointError
from wordframe.models.card import model_card
from wordframe.models.initialise import start_from_clip
from wordframe.models.model import TextVideoModel
from wordframe.models.presets import PRESETS
from wordframe.models.read import read_tensors
from wordframe.models.settings import EncoderIdentity, ModelSettings
from wordframe.models.tokens import VOCABULARY_FILES, ClipTokenizer

FORMAT = "wordframe-model"
VERSION = 1
DEFAULT_DIMENSION = 512
"""``D`` of a preset where neither a dimension nor a backbone is given: CLIP ViT-B/32's, as published."""

_FILES = ("config.json", "model.safetensors", *VOCABULARY_FILES)


def load_model(
    name_or_folder: str | Path, *, dimension: int | None = None, backbone: ClipBackbone | None = None
) -> TextVideoModel:
    """A preset with fresh weights, or a saved model, in eval mode.

    Args:
        name_or_folder: a preset (``tcmgc-msrvtt``, ``zero-shot``, …), a folder written by ``model.save``, or a hub id.
        dimension: ``D`` of the features the model is to work on. Presets take 512 if it is left out; a saved model
            has its own, and another one is refused.
        backbone: for presets, both towers of CLIP; transformers of the preset then start from its text tower.

    Raises:
        CheckpointError: nothing of that name, or a folder that cannot be read or does not fit.
    """
    if (preset := PRESETS.get(str(name_or_folder))) is not None:
        if dimension is None and backbone is None:
            dimension = DEFAULT_DIMENSION
        model = TextVideoModel(
            settings=preset.settings, dimension=dimension, backbone=backbone, trained=not preset.needs_training
        )
        if backbone is not None:
            start_from_clip(model, backbone)
        return model.eval()
    if backbone is not None:
        raise ValueError("backbone= goes with a preset; a saved model has its own")
    folder = Path(name_or_folder)
    if folder.is_file():
        raise CheckpointError(
            f"{str(folder)!r} is a file; load_model takes a preset, a folder or a hub id, and load_authors_checkpoint "
            "(`wordframe convert`) reads the authors' files"
        )
    model = _load_folder(folder if folder.is_dir() else _download(str(name_or_folder)))
    if dimension not in (None, model.dimension):
        raise CheckpointError(
            f"{str(name_or_folder)!r} works on features of {model.dimension} dimensions, these have {dimension}; "
            "use the encoder it was trained with"
        )
    return model


def save(model: TextVideoModel, folder: str | Path) -> None:
    """Write ``model`` into ``folder``, which is made if needed; files of an earlier save are replaced."""
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(_tensors(model), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(_config(model), indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(model_card(model), encoding="utf-8")
    if model.tokenizer is not None:
        model.tokenizer.save(folder)


def push_to_hub(model: TextVideoModel, repo_id: str, *, private: bool = False, token: str | None = None) -> str:
    """Save and upload to ``repo_id`` on the Hugging Face Hub, which is made if needed; gives the commit's address."""
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    api.create_repo(repo_id, private=private, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        save(model, folder)
        commit = api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="Upload a wordframe model")
    return str(commit.commit_url)


def _config(model: TextVideoModel) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "wordframe_version": wordframe.__version__,
        "settings": model.settings.to_dict(),
        "dimension": model.dimension,
        "backbone": None if model.backbone is None else asdict(model.backbone.sizes),
        "trained": model.trained,
        "trained_on": None if model.trained_on is None else asdict(model.trained_on),
    }


def _tensors(model: TextVideoModel) -> dict[str, Tensor]:
    """All weights by name, on the CPU. CLIP's scale is one parameter under two names and is kept under the first."""
    seen: set[int] = set()
    kept: dict[str, Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            kept[name] = tensor.detach().cpu().contiguous()
    return kept


def _load_folder(folder: Path) -> TextVideoModel:
    config = _read_config(folder / "config.json")
    try:
        settings = ModelSettings.from_dict(config["settings"])
        backbone = None if config["backbone"] is None else ClipBackbone(**config["backbone"])
        trained_on = config.get("trained_on")  # older checkpoints do not tell
        model = TextVideoModel(
            settings=settings,
            dimension=config["dimension"],
            backbone=backbone,
            trained=config["trained"],
            trained_on=None if trained_on is None else EncoderIdentity(**trained_on),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{str(folder / 'config.json')!r} does not describe a model: {error}") from error
    _fill(model, read_tensors(folder / "model.safetensors"), folder)
    if (folder / "vocab.json").is_file() or (folder / "tokenizer.json").is_file():
        model.tokenizer = ClipTokenizer.load(folder)
    return model.eval()


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"no config.json in {str(path.parent)!r}: not a model saved by wordframe") from error
    except ValueError as error:
        raise CheckpointError(f"{str(path)!r} is not valid JSON: {error}") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise CheckpointError(f"{str(path)!r} is not of a model saved by wordframe (no format {FORMAT!r})")
    if config.get("version") != VERSION:
        raise CheckpointError(
            f"{str(path)!r} is of version {config.get('version')}, this wordframe reads {VERSION}; update wordframe"
        )
    return config


@torch.no_grad()
def _fill(model: TextVideoModel, tensors: dict[str, Tensor], folder: Path) -> None:
    expected = _tensors(model).keys()
    if missing := sorted(expected - tensors.keys()):
        raise CheckpointError(f"{len(missing)} tensors are missing in {str(folder)!r}: {', '.join(missing[:5])}")
    if unknown := sorted(tensors.keys() - expected):
        raise CheckpointError(f"{len(unknown)} tensors in {str(folder)!r} are unknown: {', '.join(unknown[:5])}")
    for name, target in model.state_dict().items():
        if name not in tensors:
            continue  # CLIP's scale under its second name
        if tensors[name].shape != target.shape:
            raise CheckpointError(
                f"{name} has size {tuple(tensors[name].shape)} in {str(folder)!r}, but config.json asks for "
                f"{tuple(target.shape)}; the two files do not belong together"
            )
        target.copy_(tensors[name])


def _download(name: str) -> Path:
    """The folder of a hub id, in the hub's cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        if name.count("/") != 1:
            raise HFValidationError(name)
        return Path(snapshot_download(name, allow_patterns=list(_FILES)))
    except HFValidationError as error:
        raise CheckpointError(
            f"{name!r} is neither a preset, a folder nor a hub id; presets: {', '.join(PRESETS)}"
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(
            f"{name!r} is no preset and no folder, and the hub does not give it: {str(error).splitlines()[0]}"
        ) from error
