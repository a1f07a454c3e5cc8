"""Encoders: sentences and frames into one space. ``load_encoder`` is the door, ``base.py`` the contract.

``offline.py`` needs nothing but pip, ``clip.py`` is any CLIP-type model; ``backbone.py`` is the CLIP that models train.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
