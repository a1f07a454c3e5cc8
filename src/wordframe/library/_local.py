"""A library in a folder of this machine: files written whole and copied, a file lock, tables that outlast a power cut.

Neighbours: ``_place.py`` is what a place must do; ``_writing.py``, ``_durable.py``, ``_copies.py`` and ``_swap.py`` do
the work.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from wordframe.disk import sync, write_whole
from wordframe.errors import LibraryError
from wordframe.library._copies import keep_copy, read_copies
from wordframe.library._durable import DurableTables


class LocalFolder:
    """The place of a library that is a folder, absolute."""

    beat_seconds = 1.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __str__(self) -> str:
        return str(self.folder)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def tables(self) -> str:
        """Where LanceDB's tables lie."""
        return str(self.folder / "tables")

    @property
    def storage_options(self) -> dict[str, str]:
        """None are needed."""
        return {}

    def read(self, name: str) -> str:
        """See ``Place``."""
        return (self.folder / name).read_text(encoding="utf-8")

    def read_copy(self, name: str) -> str | None:
        """See ``Place``."""
        return (read_copies(self.folder) or {}).get(name)

    def write(self, name: str, text: str, *, copied: bool = True) -> None:
        """See ``Place``."""
        try:
            # the copy first: where a crash comes between, the file is mended forward
            keep_copy(self.folder, name, text if copied else None)
            write_whole(self.folder / name, text)
        except OSError as error:
            raise LibraryError(f"{self}: cannot be written ({(error.strerror or str(error)).lower()})") from None

    def make(self, name: str, text: str) -> None:
        """See ``Place``."""
        from wordframe.library._writing import begin_library

        begin_library(self.folder)
        self.write(name, text)
        sync(self.folder.parent)

    def num_bytes(self) -> int:
        """See ``Place``."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def writing(self) -> contextlib.AbstractContextManager[None]:
        """See ``Place``; the system drops the lock when the process dies, however it dies."""
        from wordframe.library._writing import writing

        return writing(self.folder)

    @cached_property
    def _durable(self) -> DurableTables:
        return DurableTables(self.folder)

    @contextlib.contextmanager
    def commit(self, table: Any | None) -> Iterator[None]:
        """See ``Place``: at its end what was committed is on the disk, and survives a loss of power."""
        before = self._durable.files()
        yield
        self._durable.sync(before)

    def state(self, tables: Collection[str]) -> object:
        """See ``Place``: the names of the versions, of which each commit makes one, and when the newest was made, since
        a number may be used again. Opening tells what is damaged."""
        try:
            return tuple(self._versions(table) for table in tables)
        except OSError:
            return None

    def _versions(self, table: str) -> tuple[frozenset[str], int]:
        try:
            place = self.folder / "tables" / f"{table}.lance" / "_versions"
            names = frozenset(os.listdir(place))
            newest = min((name for name in names if name.endswith(".manifest")), default="")  # counted downwards
            return names, (place / newest).stat().st_mtime_ns
        except FileNotFoundError:  # a model's, which nobody has prepared
            return frozenset(), 0

    def settle(self) -> None:
        """See ``Place``."""
        from wordframe.library._swap import finish

        finish(self.folder)

    def explain(self, text: str) -> str | None:
        """See ``Place``; what a disk says is known to ``library_errors``."""
        if os.path.isdir(self.tables):
            return None
        return "its folder is gone; if it was moved or its drive is not mounted, all goes on when it is back"
