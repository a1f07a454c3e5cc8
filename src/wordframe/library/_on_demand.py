"""A module that is run when something is asked of it, not when another module imports it.

LanceDB imports the client of a server that it may talk to. That client checks the arguments of its hundreds of
functions by schemas, which are built as it is loaded: a good part of the time in which LanceDB starts. Nothing here
talks to such a server.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from types import ModuleType
from typing import Any


class _OnDemand(ModuleType):
    """Stands for a package until one of its own names is asked for. Its submodules can be imported meanwhile, which
    ``importlib.util.LazyLoader`` does not allow: to look for one, Python asks the package where it lies."""

    def __getattr__(self, name: str) -> Any:
        with _lock:  # other threads wait until it has run
            if self.__name__ not in _begun:
                _begun.add(self.__name__)
                assert self.__spec__ is not None
                assert self.__spec__.loader is not None
                self.__spec__.loader.exec_module(self)
            if name not in vars(self):
                raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
            return vars(self)[name]


_lock = threading.RLock()
_begun: set[str] = set()


def run_on_demand(package: str) -> None:
    """From now on ``import package`` runs nothing; the first name that is asked of it does. Nothing happens if the
    package was imported before, or is not installed."""
    if package in sys.modules:
        return
    spec = importlib.util.find_spec(package)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    module.__class__ = _OnDemand
    sys.modules[package] = module
