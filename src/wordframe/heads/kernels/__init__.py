"""Compiled loops over (text, video) pairs on CPU: what is left of a similarity once its matrix products are made.

``lanes.py`` sixteen videos in one value · ``compiled.py`` how numba compiles · ``conditioned.py`` TC-MGC's pairs ·
``grained.py`` X-CLIP's pairs · ``tiles.py`` packing, products and threads around them.
numba is imported, and the loops are compiled or read from its cache, when the first pair is scored. Without it the
similarities answer by their slower tensor form, with the same numbers.
"""

from __future__ import annotations

import importlib.util
import warnings
from functools import cache

import torch
from torch import Tensor


@cache
def installed() -> bool:
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
    return plain and not torch.is_grad_enabled() and installed()
