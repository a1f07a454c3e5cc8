"""OpenAI's own CLIP files: the weights out of a ``.pt`` or ``.safetensors`` file, and the tokenizer beside it.

The published ``.pt`` files are TorchScript archives, which hold tensors and TorchScript but no pickled Python; other
``.pt`` files are read with ``weights_only=True``, so a file that carries code is refused. Such a file holds no
vocabulary: it must lie beside the file, or in a folder that is named.
Neighbours: ``openai_layout.py`` (names of the weights), ``clip_backbone.py`` (the model).
"""

from __future__ import annotations

import gzip
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wordframe.errors import EncoderError

WEIGHT_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors")
_TOKENIZER_FILES = (("tokenizer.json",), ("vocab.json", "merges.txt"))
_OPENAI_VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"
_MERGES = 49152 - 256 - 2  # of the 49,408 tokens: 2 × 256 bytes, these merges, SOS and EOS


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name.

    Raises:
        EncoderError: it cannot be read, carries code, or is no flat state dict.
    """
    try:
        weights = _read(path)
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
    if _is_torchscript(path):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript is deprecated; the published files stay what they are
            jit: Any = torch.jit
            return dict(jit.load(path, map_location="cpu").state_dict())
    return torch.load(path, map_location="cpu", weights_only=True)


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def load_tokenizer(weights: Path, folder: str | Path | None) -> Any:
    """CLIP's tokenizer from ``folder``, else from the folder of the ``weights`` file.

    Raises:
        EncoderError: there is none.
    """
    from transformers import CLIPTokenizer

    place = weights.parent if folder is None else Path(folder).expanduser()
    if any(all((place / file).is_file() for file in files) for files in _TOKENIZER_FILES):
        return CLIPTokenizer.from_pretrained(str(place))
    if (place / _OPENAI_VOCABULARY).is_file():
        return CLIPTokenizer(**_read_openai_vocabulary(place / _OPENAI_VOCABULARY))
    raise EncoderError(
        f"{weights.name} holds no vocabulary and {place} has none: put there tokenizer.json, or vocab.json and "
        f"merges.txt, of any OpenAI CLIP, or {_OPENAI_VOCABULARY} of OpenAI's, or name their folder by tokenizer="
    )


def _read_openai_vocabulary(path: Path) -> dict[str, Any]:
    """Vocabulary and merges: ids run over the bytes, the bytes that end a word, the merges, SOS and EOS."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    lines = gzip.decompress(path.read_bytes()).decode("utf-8").splitlines()[1 : 1 + _MERGES]
    merges = [(left, right) for left, right in (line.split() for line in lines)]
    symbols = list(bytes_to_unicode().values())
    tokens = [*symbols, *(symbol + "</w>" for symbol in symbols), *(left + right for left, right in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {"vocab": {token: index for index, token in enumerate(tokens)}, "merges": merges}
