"""Text-video models: ``model.py`` holds the parts together, ``presets.py`` names the published settings,
``authors.py`` and ``checkpoint.py`` load and save.

Exports are looked up on first use, so that listing presets does not import torch's transformers.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
