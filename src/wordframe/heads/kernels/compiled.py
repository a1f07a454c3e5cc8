"""How the kernels are compiled: once, kept on disk beside the package or in the user's cache, free of Python's lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Any:
    """``numba.njit`` for this folder. Where no folder can be written, every process compiles anew."""
    try:
        return njit(function, nogil=True, cache=True)
    except RuntimeError:
        return njit(function, nogil=True)
