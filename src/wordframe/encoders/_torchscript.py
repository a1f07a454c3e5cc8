"""Weights out of a TorchScript file, such as OpenAI's CLIPs, without running any of it.

``torch.jit.load`` runs what the file says: a class's ``__setstate__`` may write to any path. So its pickle is read here
by an unpickler that knows tensors, containers and modules as bundles of named parts, and refuses everything else. The
code in the archive is never looked at.
Neighbours: ``_loading.py`` reads all other files.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wordframe.errors import EncoderError

_OF_SCRIPTS = "__torch__."
"""What the classes of a scripted module are called in its pickle."""
_STORAGES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def is_torchscript(path: Path) -> bool:
    """Whether this is an archive that ``torch.jit.save`` wrote."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """The tensors of the scripted module by their names, as its ``state_dict``.

    Raises:
        EncoderError: the file is damaged, or its modules want to run code of their own when they are loaded.
    """
    with zipfile.ZipFile(path) as archive:
        places = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(places) != 1:
            raise EncoderError(f"{path} holds {len(places)} modules instead of one; save model.state_dict() instead")
        try:
            module = _Unpickler(archive, places[0].removesuffix("data.pkl")).load()
        except _ForbiddenError as error:
            raise EncoderError(f"{path}: {error}; nothing of it was run. Save model.state_dict() instead") from error
        except Exception as error:  # a damaged pickle raises nearly anything
            reason = " ".join(str(error).split()) or type(error).__name__
            raise EncoderError(f"{path} is damaged: {reason}") from error
    if not isinstance(module, _Module):
        raise EncoderError(f"{path} holds no module; save model.state_dict() instead")
    return dict(_named(module, ""))


class _ForbiddenError(Exception):
    """The pickle asks for what only running it could give."""


class _Module:
    """A scripted module: its parts by name, whatever class it says it is of."""

    parts: dict[str, Any]

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise _ForbiddenError("one of its modules has a __setstate__ of its own, which is a program")
        self.parts = state


class _Unpickler(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(io.BytesIO(_stored(archive, folder + "data.pkl")))
        self._archive, self._folder = archive, folder
        self._read: dict[str, Tensor] = {}  # one storage may hold several tensors

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith(_OF_SCRIPTS):
            return _Module
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        found = _ALLOWED.get((module, name))
        if found is None:
            raise _ForbiddenError(f"it asks for {module}.{name}, which is neither a tensor nor a module")
        return found

    def persistent_load(self, key: Any) -> Tensor:
        kind, dtype, place, *_ = key
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise _ForbiddenError(f"it asks for a {kind!r}, not a storage of numbers")
        if place not in self._read:
            content = bytearray(_stored(self._archive, f"{self._folder}data/{place}"))
            self._read[place] = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
        return self._read[place]


def _stored(archive: zipfile.ZipFile, name: str) -> bytes:
    """A part as it lies in the file: torch compresses code alone, and a compressed part could be of any size."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise _ForbiddenError(f"its {name} is compressed, which torch never does")
    return archive.read(name)


def _tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    return storage.as_strided(size, stride, offset)  # torch refuses what reaches beyond the storage


def _parameter(data: Tensor, *_: Any) -> Tensor:
    return data


def _list(values: Any) -> list[Any]:
    return list(values)


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    **{("torch.jit._pickle", f"build_{kind}list"): _list for kind in ("int", "double", "bool", "tensor")},
}


def _named(module: _Module, prefix: str) -> Iterator[tuple[str, Tensor]]:
    for name, part in module.parts.items():
        if isinstance(part, Tensor):
            yield prefix + name, part
        elif isinstance(part, _Module):
            yield from _named(part, f"{prefix}{name}.")
