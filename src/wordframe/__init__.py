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

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, _names = lazy_loader.attach_stub(__name__, __file__)
__all__ = [*_names, "__version__"]
