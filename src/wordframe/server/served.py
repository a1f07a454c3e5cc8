"""The library that is served, and the model that answers: opened when they are there, read by one snapshot a request.

A server may start before its library exists; the page then says how to make one. Nothing is kept here but the two: what
was read hangs on the library's snapshots, which any number of requests may share.
"""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass
from pathlib import Path

from wordframe.encoders import Encoder
from wordframe.errors import LibraryError
from wordframe.library import AskShards, Library, Place, Snapshot, place_of
from wordframe.models import TextVideoModel


@dataclass(frozen=True)
class _Opened:
    library: Library
    model: TextVideoModel


class ServedLibrary:
    """One library, and the model that answers.

    Args:
        model: a preset, or a checkpoint by its folder or hub id.
        untrained: allow a preset whose heads need training.
        encoder: the library's own, if it was made with one that has no name to be loaded by.
        runtime: what encodes pictures that are searched with, and frames when the server brings the library up to date.

    Attributes:
        ask_shards: who looks into the index on disk of a large library, where it is cut; set before the first request.
    """

    def __init__(
        self,
        where: str | Path | Place,
        *,
        model: str = "zero-shot",
        untrained: bool = False,
        encoder: Encoder | None = None,
        runtime: str = "auto",
    ) -> None:
        self.place, self.model_name, self.runtime = place_of(where), model, runtime
        self.untrained, self._encoder = untrained, encoder
        self.ask_shards: AskShards | None = None
        self._opened: _Opened | None = None
        self._opening = threading.Lock()

    def __reduce__(self) -> tuple[object, ...]:
        """Another process opens it for itself."""
        make = functools.partial(
            ServedLibrary,
            model=self.model_name,
            untrained=self.untrained,
            encoder=self._encoder,
            runtime=self.runtime,
        )
        return make, (str(self.place),)

    def snapshot(self) -> Snapshot | None:
        """The library as it is now, as the model sees it; None while there is no library. One is enough for a request.

        Raises:
            WordframeError: the library is damaged, or the model does not fit it.
        """
        with self._opening:  # so that the first requests load the model once
            if self._opened is not None and self._opened.library.is_replaced:
                self._opened = None  # wordframe upgrade --encoder put another in its place
            if self._opened is None:
                library = Library.open(
                    self.place, encoder=self._encoder, runtime=self.runtime, ask_shards=self.ask_shards
                )
                if not library.exists:
                    return None
                model = library.load_model(self.model_name, untrained=self.untrained)
                self._opened = _Opened(library, model)
            opened = self._opened
        return opened.library.snapshot(opened.model)

    def need_snapshot(self) -> Snapshot:
        """As ``snapshot``, or LibraryError where there is no library."""
        snapshot = self.snapshot()
        if snapshot is None:
            raise LibraryError("there is no library here yet; run wordframe index VIDEOS --library FOLDER")
        return snapshot

    def num_failures(self) -> int:
        """How many files could not be read when they were last tried; they are no part of a snapshot."""
        return 0 if self._opened is None else len(self._opened.library.failures())
