"""Data: captions and the videos they speak of, kept decoded and encoded, and given out in batches.

``benchmarks.py`` published test sets by their protocols (``_readers.py``: their files) ·
``captions.py`` one's own captions, and the videos of any · ``check.py`` are they all there · ``sampled.py`` which
frames of a video · ``frame_cache.py`` decode once · ``feature_cache.py`` (``_feature_building.py``) encode once, both
folders kept by ``_cache_folder.py`` · ``sets.py``, ``pixel_sets.py`` what is trained on.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
