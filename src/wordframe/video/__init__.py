"""Videos into frames at given seconds, and frames into segments.

``decode`` (frames of any file) on top of ``_reader``, ``_plan``, ``_picture`` · ``sampling`` (which seconds) ·
``segments`` (parts of a video) · ``export`` (a moment into a file of its own).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
