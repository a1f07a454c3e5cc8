"""Many videos into frame features: decoded and encoded at the same time, each video's trouble its own.

``pipeline`` (the threads) on top of ``_results`` (what comes out of them) and ``_repeats`` (which frames need
no encoding).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
