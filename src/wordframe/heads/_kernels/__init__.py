"""Compiled loops over (text, video) pairs on CPU: what is left of a similarity once its matrix products are made.

``lanes.py`` sixteen videos in one value · ``tcmgc.py``, ``xclip.py``, ``xpool.py``, ``wti.py`` the pairs of each;
``heads/_fused.py`` packs, cuts and starts threads around them. Importing this package costs nothing; its modules import
numba, and their loops are compiled, or read from numba's cache, when the first pair is scored. Without numba the
similarities answer by their slower tensor form, with the same numbers.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

LANES = 16
"""Videos in one value: a register of AVX-512, two of AVX2, four of NEON; groups in memory have this size on all."""


@cache
def numba_installed() -> bool:
    """Whether numba is there; says once what its absence costs."""
    if importlib.util.find_spec("numba") is not None:
        return True
    warnings.warn(
        "numba is not installed: text-conditioned scoring on CPU is several times slower; pip install numba",
        RuntimeWarning,
        stacklevel=2,
    )
    return False


def usable(*tensors: Tensor) -> bool:
    """Whether the loops can work on these: float32 on CPU, with nothing to differentiate, and numba installed."""
    plain = all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in tensors)
    return plain and not torch.is_grad_enabled() and numba_installed()


def compiled(function: Callable[..., Any]) -> Any:
    """``numba.njit``, free of Python's lock, kept on disk beside the module or in the user's cache.

    Where no folder can be written (numba then raises when it decorates), every process compiles anew.
    """
    import numba

    try:
        return numba.njit(function, nogil=True, cache=True)
    except RuntimeError:
        return numba.njit(function, nogil=True)
