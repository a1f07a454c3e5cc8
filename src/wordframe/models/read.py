"""Reading tensors from a file without running code: ``.safetensors``, and pickles by torch's restricted reader.

Used for authors' files (``authors.py``) and for ours (``checkpoint.py``).
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from wordframe.errors import CheckpointError

_NESTED_UNDER = ("state_dict", "model_state_dict", "model")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name.

    Raises:
        CheckpointError: it is missing, damaged, carries code, or holds no tensors.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {str(path)!r}; give the path of a .safetensors, .bin or .pt file")
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
