"""Who reads which content, so that the copies of a file are read once a run.

With Ray it is a process of its own (``_ray_reader.py``), so nothing is loaded here: what a reader needs takes seconds.
"""

from __future__ import annotations

import threading


class Claims:
    """Who reads a content: the first file of a run that has it. May be asked by many threads."""

    def __init__(self) -> None:
        self._readers: dict[str, str] = {}
        self._lock = threading.Lock()

    def claim(self, digest: str, path: str) -> bool:
        """Whether the file at ``path`` is the one to be read for that content; asked again, it still is."""
        with self._lock:
            return self._readers.setdefault(digest, path) == path
