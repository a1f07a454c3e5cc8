"""The library that is served, and its search engine: opened when there is one, following what an indexer commits.

A server may start before its library exists; the page then says how to make one. Nothing is kept here but the engine
and what a look into the tables gave at one snapshot.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from wordframe.encoders import Encoder
from wordframe.errors import LibraryError, NotFoundError
from wordframe.library import Library, Store, VideoEntry, read_roots
from wordframe.search import SearchEngine


@dataclass(frozen=True)
class Snapshot:
    """The videos of a library at one version of its tables, by id, in the order of their paths."""

    version: int
    videos: dict[str, VideoEntry]
    num_segments: int
    num_failures: int
    roots: tuple[str, ...]


class ServedLibrary:
    """One library folder, and the model that answers.

    Args:
        encoder: the library's own, if it was made with one that has no name to be loaded by.
    """

    def __init__(
        self, folder: Path, *, model: str = "zero-shot", untrained: bool = False, encoder: Encoder | None = None
    ) -> None:
        self.folder, self.model = folder, model
        self._untrained, self._encoder = untrained, encoder
        self._engine: SearchEngine | None = None
        self._store: Store | None = None
        self._snapshot: Snapshot | None = None
        self._making_engine, self._looking = threading.Lock(), threading.Lock()

    def engine(self) -> SearchEngine | None:
        """The engine, made at first use; None while there is no library.

        Raises:
            WordframeError: the library is damaged, or the model does not fit it.
        """
        with self._making_engine:
            if self._engine is None:
                library = Library.open(self.folder, encoder=self._encoder)
                if not library.exists:
                    return None
                self._engine = SearchEngine.with_model(library, self.model, untrained=self._untrained)
            return self._engine

    def need_engine(self) -> SearchEngine:
        """As ``engine``, or LibraryError where there is no library."""
        engine = self.engine()
        if engine is None:
            raise LibraryError(
                f"{self.folder}: no library here yet; run wordframe index VIDEOS --library {self.folder}"
            )
        return engine

    def snapshot(self) -> Snapshot:
        """What the library holds now. Reads with a handle of its own, so that it never waits for a search."""
        with self._looking:
            if self._store is None:
                library = Library.open(self.folder)
                if not library.exists:
                    return Snapshot(-1, {}, 0, 0, ())
                self._store = Store(self.folder, library.manifest.dimension)
            self._store.refresh()
            if self._snapshot is None or self._snapshot.version != self._store.version():
                videos = {entry.video_id: entry for entry in self._store.videos()}
                self._snapshot = Snapshot(
                    version=self._store.version(),
                    videos=videos,
                    num_segments=self._store.count(),
                    num_failures=len(self._store.failures()),
                    roots=tuple(read_roots(self.folder, (entry.path for entry in videos.values()))),
                )
            return self._snapshot

    def video(self, video_id: str) -> VideoEntry:
        """A video by its id.

        Raises:
            NotFoundError: the library does not hold it, or no longer.
        """
        found = self.snapshot().videos.get(video_id)
        if found is None:
            raise NotFoundError(f"there is no video {video_id[:64]!r} in this library, or no longer")
        return found

    def store(self) -> Store:
        """The tables, for looks that are no searches.

        Raises:
            NotFoundError: there is no library yet.
        """
        self.snapshot()
        if self._store is None:
            raise NotFoundError("there is no library yet")
        return self._store
