"""A library: one folder on disk holding what was computed of a person's videos. ``Library.open`` is the door."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
