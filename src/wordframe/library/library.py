"""The library as a caller sees it: open, index, and read features back.

    library = wf.Library.open("my-library")
    summary = library.index(["~/Videos"])

On disk: ``wordframe.json`` (manifest), ``tables/`` (LanceDB), ``roots.json``, ``indexing.json`` (how the last run got
on) and ``indexing.lock``. Neighbours: ``store.py`` holds the tables, ``indexer.py`` fills them, ``prepared.py`` adds
what a model needs, ``wordframe.search`` reads them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from wordframe.encoders import Encoder, load_encoder
from wordframe.errors import LibraryError
from wordframe.features import VideoFeatures
from wordframe.library.manifest import Manifest
from wordframe.library.model_table import forget_stale
from wordframe.library.roots import add_roots, read_roots
from wordframe.library.status import told_status
from wordframe.library.store import FailureEntry, Store, VideoEntry
from wordframe.library.summary import IndexSummary, Progress

_LOCK_NAME = "indexing.lock"
_OWNER_NAME = "indexing.pid"


class Library:
    """One folder of features. Made by ``Library.open``."""

    def __init__(self, folder: Path, manifest: Manifest | None, encoder: Encoder | str | None) -> None:
        self.folder = folder
        self._manifest = manifest
        self._encoder = encoder

    @classmethod
    def open(cls, folder: str | Path, *, encoder: Encoder | str | None = None) -> Library:
        """The library in ``folder``; a folder that holds none yet becomes one at the first ``index``.

        Args:
            encoder: an encoder or its name; default: the library's own, or ``offline`` for a new one.

        Raises:
            LibraryError: the library is damaged, of another format, or was made with another encoder.
        """
        path = Path(folder).expanduser()
        path = path if path.is_absolute() else Path.cwd() / path
        library = cls(path, Manifest.read(path), encoder)
        if library._manifest is not None and encoder is not None:
            library._manifest.check(library.encoder, path)
        return library

    @property
    def exists(self) -> bool:
        """Whether something has been indexed into this folder."""
        return self._manifest is not None

    @property
    def manifest(self) -> Manifest:
        """What the library says of itself.

        Raises:
            LibraryError: there is no library yet.
        """
        if self._manifest is None:
            raise LibraryError(f"{self.folder}: no library here; make one with: wordframe index FOLDER --library DIR")
        return self._manifest

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder whose features the library holds, loaded at first use and checked against the manifest."""
        wanted = self._encoder
        if wanted is None:
            wanted = self._manifest.encoder if self._manifest else "offline"
        encoder = load_encoder(wanted) if isinstance(wanted, str) else wanted
        if self._manifest is not None:
            self._manifest.check(encoder, self.folder)
        return encoder

    @cached_property
    def store(self) -> Store:
        """The tables."""
        return Store(self.folder, self.manifest.dimension)

    def videos(self) -> list[VideoEntry]:
        """All indexed videos, by path."""
        return self.store.videos()

    def failures(self) -> list[FailureEntry]:
        """Files that could not be read when they were last tried."""
        return self.store.failures()

    def index(
        self,
        paths: Sequence[str | Path],
        *,
        prune: bool = False,
        retry: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> IndexSummary:
        """Bring the library up to date with all videos below ``paths``.

        Unchanged files cost a stat; moved ones are recognised by their content; a run that was cut short goes on.

        Args:
            prune: forget videos below ``paths`` whose files are gone.
            retry: try files again that failed before and have not changed.
            on_progress: called in this thread after each result.

        Raises:
            LibraryError: another indexer is at work, the disk is full, or the library cannot be written.
        """
        from wordframe.library.indexer import Indexer  # brings the decoder, which a search does not need

        with self.locked():
            self._manifest = Manifest.read(self.folder) or self._create()
            self._manifest.check(self.encoder, self.folder)
            if self._encoder is not None and self._manifest != Manifest.of(self.encoder):
                self._manifest = Manifest.of(self.encoder)  # the same encoder, now found under another name
                self._manifest.write(self.folder)
            self.store.refresh()
            add_roots(self.folder, paths, (video.path for video in self.videos()))
            with told_status(self.folder) as (update, finish):

                def tell(progress: Progress) -> None:
                    update(progress)
                    if on_progress is not None:
                        on_progress(progress)

                indexer = Indexer(self.store, self.encoder, leave_out=[str(self.folder)], on_progress=tell)
                summary = indexer.run(paths, prune=prune, retry=retry)
                finish(summary)
            forget_stale(self.store)
            return summary

    def roots(self) -> list[str]:
        """The folders and files that were given to be indexed, absolute."""
        return read_roots(self.folder, (video.path for video in self.videos()))

    def _create(self) -> Manifest:
        strangers = [p.name for p in self.folder.iterdir() if p.name not in (_LOCK_NAME, _OWNER_NAME)]
        if strangers:
            raise LibraryError(
                f"{self.folder}: holds {strangers[0]!r} but no library; name a new or empty folder with --library"
            )
        manifest = Manifest.of(self.encoder)
        manifest.write(self.folder)
        return manifest

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep all others out who write. The system drops the lock when the process dies, however it dies."""
        owner = self.folder / _OWNER_NAME
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / _LOCK_NAME)
            lock.acquire(timeout=0)
            owner.write_text(f"{os.getpid()}\n", encoding="utf-8")
        except Timeout:
            by = owner.read_text(encoding="utf-8").strip() if owner.exists() else "unknown"
            raise LibraryError(
                f"{self.folder}: another run of wordframe (process {by}) is writing; wait until it has ended"
            ) from None
        except OSError as error:
            raise LibraryError(f"{self.folder}: cannot be written ({(error.strerror or str(error)).lower()})") from None
        try:
            yield
        finally:
            owner.unlink(missing_ok=True)
            lock.release()

    def read_segments(
        self, row_ids: Sequence[int], columns: Sequence[str] = ()
    ) -> tuple[list[dict[str, Any]], VideoFeatures]:
        """Some columns and the frame features of some segments, in one read.

        The features come as ``V`` videos of ``F`` frames, padded to the longest; raw frames stand in for contextual
        ones, since a model with a temporal head makes its own.
        """
        columns = list(dict.fromkeys(columns))
        table = self.store.take(row_ids, list(dict.fromkeys([*columns, "num_frames", "frames", "seconds"])))
        counts = table["num_frames"].to_numpy()
        mask = np.arange(counts.max(initial=1))[None, :] < counts[:, None]
        frames = np.zeros((*mask.shape, self.manifest.dimension), np.float32)
        seconds = np.zeros(mask.shape, np.float32)
        if len(counts):
            cells = b"".join(table["frames"].to_pylist())
            frames[mask] = np.frombuffer(cells, np.float16).reshape(-1, self.manifest.dimension)
            seconds[mask] = np.concatenate([chunk.flatten().to_numpy() for chunk in table["seconds"].chunks])
        raw = torch.from_numpy(frames)
        features = VideoFeatures(raw, raw, torch.from_numpy(mask), torch.from_numpy(seconds))
        return table.select(columns).to_pylist(), features
