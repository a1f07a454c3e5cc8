"""The command ``wordframe``: ``main.py`` parses and tells errors; one file a command, thin over the packages below."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
