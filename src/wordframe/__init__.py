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
    "Library": "wordframe.library",
    "SearchEngine": "wordframe.search",
    "Hit": "wordframe.search",
    "load_encoder": "wordframe.encoders",
    "TextFeatures": "wordframe.features",
    "VideoFeatures": "wordframe.features",
    "SimilarityOutput": "wordframe.features",
    "WordframeError": "wordframe.errors",
}

if TYPE_CHECKING:
    from wordframe.encoders import load_encoder as load_encoder
    from wordframe.errors import WordframeError as WordframeError
    from wordframe.features import SimilarityOutput as SimilarityOutput
    from wordframe.features import TextFeatures as TextFeatures
    from wordframe.features import VideoFeatures as VideoFeatures

__all__ = [*sorted(_PUBLIC), "__version__"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'wordframe' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
