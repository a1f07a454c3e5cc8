"""Loads what a search needs before somebody waits for it: the model, the encoder, the vector index, compiled loops.

A server that says it is ready (``/api/v1/ready``) answers its first search as quickly as its thousandth, which is what
a proxy in front of several wants to know. Where there is nothing to search yet there is nothing to load: such a server
is ready, and loads when the first videos come.
"""

from __future__ import annotations

import threading

from wordframe.errors import WordframeError
from wordframe.search import Query, encode, search
from wordframe.server.served import ServedLibrary

_LOOK_SECONDS = 1.0


class Warming(threading.Thread):
    """Looks every second until it has searched once, or until ``close``.

    Attributes:
        is_ready: whether a search would find all loaded. A library that is damaged, or a model that does not fit, never
            is; the requests themselves tell why.
    """

    def __init__(self, served: ServedLibrary) -> None:
        super().__init__(name="warming", daemon=True)
        self._served = served
        self._over, self._looked = threading.Event(), threading.Event()
        self.is_ready = False

    def run(self) -> None:
        """Search for nothing in particular as soon as there is something to search."""
        try:
            while not self._over.is_set() and not self._has_searched():
                self._looked.set()
                self._over.wait(_LOOK_SECONDS)
        finally:
            self._looked.set()

    def wait(self) -> None:
        """Wait until it has searched, or found nothing that it could search."""
        self._looked.wait()

    def close(self) -> None:
        """Look no more. Waits for a search that goes on: torch's threads must not be left in the middle of one."""
        self._over.set()
        if self.is_alive():
            self.join()

    def _has_searched(self) -> bool:
        try:
            snapshot = self._served.snapshot()
            if snapshot is None or not snapshot.num_segments:
                self.is_ready = True
                return False
            snapshot.warm()
            search(snapshot, encode(snapshot, Query(text="a first sentence")), top=1)
        except WordframeError:
            self.is_ready = False
            return False
        self.is_ready = True
        return True
