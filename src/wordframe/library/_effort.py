"""Keeping how much of the index on disk a search reads, after it was measured (``wordframe doctor --recall``)."""

from __future__ import annotations

from wordframe.library._lance_index import Effort
from wordframe.library.library import Library


def keep_effort(library: Library, effort: Effort) -> None:
    """Keep it with the library, for all that search it from now on.

    Raises:
        LibraryError: it has no index on disk, or is being written.
    """
    with library.locked():
        library._store.keep_effort(effort)
