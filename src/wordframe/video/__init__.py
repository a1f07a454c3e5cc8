"""Videos into frames at given seconds, and frames into segments.

``decode`` (frames of any file) on top of ``reader``, ``plan``, ``picture``, ``frame`` · ``sampling`` (which seconds) ·
``segments`` (parts of a video) · ``cut`` (a moment into a file of its own) · ``thumbnail`` (a small JPEG).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
