"""A library: one folder on disk holding what was computed of a person's videos. ``Library.open`` is the door."""

import lazy_loader

from wordframe.library._on_demand import run_on_demand

run_on_demand("lance_namespace_urllib3_client")  # LanceDB's, for a server that is never asked here
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
