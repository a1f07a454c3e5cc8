"""Text-video models: ``model.py`` holds the parts together, ``presets.py`` names the published settings,
``authors.py`` and ``checkpoint.py`` load and save.

Exports are looked up on first use, so that listing presets does not import torch's transformers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "PRESETS": "presets",
    "ClipTokenizer": "tokens",
    "Family": "families",
    "ModelSettings": "settings",
    "Preset": "presets",
    "TextVideoModel": "model",
    "load_authors_checkpoint": "authors",
    "load_model": "checkpoint",
    "register_family": "families",
    "register_preset": "presets",
}

if TYPE_CHECKING:
    from wordframe.models.authors import load_authors_checkpoint as load_authors_checkpoint
    from wordframe.models.checkpoint import load_model as load_model
    from wordframe.models.families import Family as Family
    from wordframe.models.families import register_family as register_family
    from wordframe.models.model import TextVideoModel as TextVideoModel
    from wordframe.models.presets import PRESETS as PRESETS
    from wordframe.models.presets import Preset as Preset
    from wordframe.models.presets import register_preset as register_preset
    from wordframe.models.settings import ModelSettings as ModelSettings
    from wordframe.models.tokens import ClipTokenizer as ClipTokenizer

__all__ = [*sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
