"""wordframe finds the videos, and the moments in them, that a sentence describes.

    words ──► encoders ────────────────────────────────┐
                                                       ├─► similarity ─► logits (texts × videos) ─► losses   (training)
    video ──► video ──► encoders ──► temporal ─────────┘                                          ├─► evaluation
              frames    frame        contextual                                                   └─► search ──► app
                        features     frame features
                        └──────── stored by library ───────┘ └──── computed for each query ────┘

Left of the bar nothing depends on the query: computed once, stored. Right of it everything does.
Nothing heavy is imported until it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "Filters": "wordframe.search",
    "Hit": "wordframe.search",
    "Library": "wordframe.library",
    "ModelSettings": "wordframe.models",
    "PRESETS": "wordframe.models",
    "SearchEngine": "wordframe.search",
    "SimilarityOutput": "wordframe.features",
    "TextFeatures": "wordframe.features",
    "TextVideoModel": "wordframe.models",
    "VideoFeatures": "wordframe.features",
    "WordframeError": "wordframe.errors",
    "load_authors_checkpoint": "wordframe.models",
    "load_encoder": "wordframe.encoders",
    "load_model": "wordframe.models",
    "rank": "wordframe.evaluate.rank",
    "register_family": "wordframe.models",
    "register_preset": "wordframe.models",
}
_PACKAGES = {"losses"}

if TYPE_CHECKING:
    from wordframe import losses as losses
    from wordframe.encoders import load_encoder as load_encoder
    from wordframe.errors import WordframeError as WordframeError
    from wordframe.evaluate.rank import rank as rank
    from wordframe.features import SimilarityOutput as SimilarityOutput
    from wordframe.features import TextFeatures as TextFeatures
    from wordframe.features import VideoFeatures as VideoFeatures
    from wordframe.library import Library as Library
    from wordframe.models import PRESETS as PRESETS
    from wordframe.models import ModelSettings as ModelSettings
    from wordframe.models import TextVideoModel as TextVideoModel
    from wordframe.models import load_authors_checkpoint as load_authors_checkpoint
    from wordframe.models import load_model as load_model
    from wordframe.models import register_family as register_family
    from wordframe.models import register_preset as register_preset
    from wordframe.search import Filters as Filters
    from wordframe.search import Hit as Hit
    from wordframe.search import SearchEngine as SearchEngine

__all__ = [*sorted(_PUBLIC), *sorted(_PACKAGES), "__version__"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    if name in _PACKAGES:
        return importlib.import_module(f"wordframe.{name}")
    raise AttributeError(f"module 'wordframe' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
