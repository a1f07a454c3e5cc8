"""The papers' families, one a module: the settings of each, and how they become a temporal head and a similarity.

A new family inside the package is a module here, found by its being there; one outside is registered in the same way
(docs/adding-a-head.md). The names of ``wordframe.heads`` load torch when they are first used, so that listing presets
does not. Neighbours: ``config.py`` (what settings have in common), ``presets.py`` (settings by name).
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

from wordframe.models.config import ModelSettings, SequentialSettings, find_family

if TYPE_CHECKING:
    from torch import nn

    from wordframe.heads import Similarity


def build_temporal(settings: ModelSettings, dimension: int) -> nn.Module | None:
    """The temporal head ``(V, F, D), frame_mask → (V, F, D)``; None where contextual frames are the frames."""
    build = find_family(settings.family).temporal
    if build is not None:
        return build(settings, dimension)
    if not isinstance(settings, SequentialSettings):
        return None
    from wordframe.models.families._sequential import sequential_head

    return sequential_head(settings, dimension)


def build_similarity(settings: ModelSettings, dimension: int) -> Similarity:
    """The similarity of ``settings.family``."""
    return find_family(settings.family).similarity(settings, dimension)


for _found in pkgutil.iter_modules(__path__):
    if not _found.name.startswith("_"):
        importlib.import_module(f"{__name__}.{_found.name}")
