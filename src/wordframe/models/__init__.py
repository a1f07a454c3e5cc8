"""Text-video models: settings, the modules they make, weights on disk, and a model at work.

``config.py`` has what settings of all families share, ``families/`` the papers' own, ``presets.py`` the published
choices by name; ``model.py`` holds the parts together; ``checkpoint.py`` knows the folder it is saved in and
``authors.py`` the papers' files; ``inference.py`` makes a model of a name and scores stored features with it.

Exports are looked up on first use, so that listing presets does not import torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
