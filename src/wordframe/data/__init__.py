"""Data: captions and the videos they speak of, into queries and candidates.

``captions.py`` reads captions · ``folder.py`` brings them together with a folder of videos.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
