"""A typed client of a wordframe server: ``client.py`` calls, ``schemas.py`` is what comes back."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
