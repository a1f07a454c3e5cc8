"""From a query to ranked moments: a shortlist from the vector index, then exact scores by a model."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
