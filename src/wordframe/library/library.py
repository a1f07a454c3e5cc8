"""The library as a caller sees it: open, index, look.

    library = wf.Library.open("my-library")
    summary = library.index("~/Videos")
    snapshot = library.snapshot()

In its place (a folder, or a prefix on object storage): ``wordframe.json`` (format and encoder), ``roots.json``,
``sampling.json``, ``tables/`` (LanceDB), ``indexing.json`` (how the last run got on) and ``indexing.lock`` or
``lease.json``. Whoever writes holds that; whoever reads takes a snapshot and needs none.
Neighbours: ``snapshot.py`` is what is read, ``_snapshots.py`` keeps it, ``indexer.py`` fills the tables,
``_known_models.py`` those of models.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wordframe.addresses import is_address
from wordframe.encoders import Encoder, load_encoder
from wordframe.errors import LibraryError
from wordframe.library._known_models import forget_model, prepare, prepare_known
from wordframe.library._lance_index import LARGE_SEGMENTS, Effort, LanceIndex
from wordframe.library._manifest import (
    FORMAT,
    MANIFEST_NAME,
    OLDEST_FORMAT,
    Manifest,
    add_roots,
    read_roots,
    without_nested,
)
from wordframe.library._model_table import ModelTable
from wordframe.library._place import Place, local_folder, place_of
from wordframe.library._rows import SegmentEntry, VideoEntry, segment_rows
from wordframe.library._sampling import keep_sampling
from wordframe.library._segment_table import SegmentTable
from wordframe.library._shards import AskShards, ShardedIndex
from wordframe.library._snapshots import Snapshots
from wordframe.library._store import FailureEntry, ModelEntry, Store
from wordframe.library.snapshot import Snapshot
from wordframe.library.status import IndexProgress, IndexSummary, keeping_status
from wordframe.models import TextVideoModel, load_model, load_ready, refuse_other_features

if TYPE_CHECKING:
    from wordframe.library._executor import Executor

DEFAULT_MODEL = "zero-shot"


class Library:
    """The features of many videos, in one place. Made by ``Library.open``."""

    def __init__(
        self,
        place: Place,
        manifest: Manifest | None,
        encoder: Encoder | str | None,
        runtime: str = "auto",
        ask_shards: AskShards | None = None,
    ) -> None:
        self.place = place
        self._manifest = manifest
        self._encoder, self._runtime = encoder, runtime
        self._ask_shards = ask_shards
        self._snapshots = Snapshots(place, lambda: self._store, self._open_index)

    @classmethod
    def open(
        cls,
        where: str | Path | Place,
        *,
        encoder: Encoder | str | None = None,
        runtime: str = "auto",
        storage_options: Mapping[str, str] | None = None,
        ask_shards: AskShards | None = None,
    ) -> Library:
        """The library in a folder or at ``s3://``, ``gs://`` or ``az://``; a place that holds none yet becomes one at
        the first ``index``.

        Args:
            encoder: an encoder or its name; default: the library's own, or ``offline`` for a new one.
            runtime: what encodes frames with an encoder that is loaded by name: ``auto``, ``torch``, ``openvino`` or
                ``openvino-bfloat16``.
            storage_options: credentials, endpoint and the like of an object store, by object_store's names; what is not
                given is read from the usual variables of the environment.
            ask_shards: who looks into the index on disk of a large library, in place of this process.

        Raises:
            LibraryError: the library is damaged, of another format, or was made with another encoder; its object store
                cannot be reached or refuses.
            EncoderError: the encoder that was asked for cannot be loaded.
            MissingExtraError: the runtime, or what object storage needs, is not installed.
        """
        place = place_of(where, storage_options)
        place.settle()
        library = cls(place, Manifest.read(place), encoder, runtime, ask_shards)
        if library._manifest is not None and encoder is not None:
            library._manifest.check(library.encoder, place)
        if runtime != "auto":
            _ = library.encoder  # that it cannot be had is told now, and not at the first frame
        return library

    @classmethod
    def upgrade(cls, where: str | Path | Place) -> bool:
        """Bring a library of an older format up to date, in place; False if there was nothing to do.

        A run that was cut short is finished by the next one; until then the library is refused as before.

        Raises:
            LibraryError: there is no library, its format is unknown, it is being written, or it is damaged.
        """
        from wordframe.library._upgrade import upgrade_in_place

        place = place_of(where)
        place.settle()
        if Manifest.read(place, formats=range(OLDEST_FORMAT, FORMAT + 1)) is None:
            raise LibraryError(f"{place}: no library here, so there is nothing to bring up to date")
        with cls(place, None, None).locked():
            return upgrade_in_place(place)

    @property
    def folder(self) -> Path:
        """The library's folder, absolute.

        Raises:
            LibraryError: it lies on object storage; ``place`` is its address.
        """
        return local_folder(self.place, "lies on object storage, and has no folder")

    @property
    def exists(self) -> bool:
        """Whether something has been indexed into this place."""
        return self._manifest is not None

    @property
    def is_replaced(self) -> bool:
        """Whether the place holds another library by now, made by ``change_encoder``."""
        found = Manifest.read(self.place)
        return found is not None and self._manifest is not None and found.fingerprint != self._manifest.fingerprint

    @property
    def manifest(self) -> Manifest:
        """What the library says of itself.

        Raises:
            LibraryError: there is no library yet.
        """
        if self._manifest is None:
            raise LibraryError(f"{self.place}: no library here; make one with: wordframe index FOLDER --library DIR")
        return self._manifest

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder whose features the library holds, loaded at first use and checked against the manifest."""
        wanted = self._encoder
        if wanted is None:
            wanted = self._manifest.encoder if self._manifest else "offline"
        elif isinstance(wanted, str) and self._manifest is not None and self._manifest.encoder.startswith(f"{wanted}@"):
            wanted = self._manifest.encoder  # the commit it was made with, wherever the hub's main is by now
        encoder = load_encoder(wanted, runtime=self._runtime) if isinstance(wanted, str) else wanted
        if self._manifest is not None:
            self._manifest.check(encoder, self.place)
        return encoder

    @cached_property
    def _store(self) -> Store:
        _ = self.manifest  # no tables where there is no library
        return Store(self.place)

    # Reading ---------------------------------------------------------------------------------------------------------

    def snapshot(self, model: TextVideoModel | None = None) -> Snapshot:
        """The library as it is now, to be searched with ``model`` (default: the untrained language-video attention).

        As long as nothing is committed it is the same object, which knows what it read before.

        Raises:
            LibraryError: there is no library, or it is damaged.
            CheckpointError: the model was made for features of another encoder.
        """
        manifest = self.manifest
        if self.is_replaced:  # the new encoder's features must not meet the old one's queries
            raise LibraryError(f"{self.place}: was made anew with another encoder; open it again")

        def make(table: SegmentTable, model_table: ModelTable | None, before: Snapshot | None) -> Snapshot:
            if before is None and model is not None:
                self.check_model(model)
            return Snapshot(
                self.place,
                manifest,
                table,
                model=lambda: self._default_model if model is None else model,
                encoder=lambda: self.encoder,
                roots=self.roots,
                model_table=model_table,
                before=before,
                open_index=self._open_index,
            )

        return self._snapshots.now(model, make)

    def _open_index(self, table: Any, effort: Effort, column: str) -> LanceIndex:
        if self._ask_shards is None:
            return LanceIndex(table, effort, column)
        return ShardedIndex(self.manifest.fingerprint, self._ask_shards, table, effort, column)

    @cached_property
    def _default_model(self) -> TextVideoModel:
        return load_model(DEFAULT_MODEL, dimension=self.manifest.dimension)

    def check_model(self, model: TextVideoModel, name: str = "MODEL") -> None:
        """Raise unless ``model`` was made for the library's features.

        Raises:
            CheckpointError: it has a backbone or was trained on features of another encoder, or works on another ``D``.
        """
        refuse_other_features(
            model,
            name,
            encoder=self.manifest.encoder,
            fingerprint=self.manifest.fingerprint,
            dimension=self.manifest.dimension,
            remedy="make a library with it: wordframe index VIDEOS --library NEW_FOLDER --encoder {encoder}",
        )

    def load_model(self, name: str, *, untrained: bool = False) -> TextVideoModel:
        """A preset, or a checkpoint by its folder or hub id, ready to score the library's features.

        Raises:
            WordframeError: there is no such model, it does not fit the library's features, or its heads need training
                and ``untrained`` does not allow that.
        """
        model = load_ready(name, dimension=self.manifest.dimension, untrained=untrained)
        self.check_model(model, name)
        return model

    def videos(self) -> list[VideoEntry]:
        """All indexed videos, by path."""
        return self.snapshot().videos()

    def failures(self) -> list[FailureEntry]:
        """Files that could not be read when they were last tried."""
        return self._store.failures()

    def roots(self) -> list[str]:
        """The folders and files that were given to be indexed, absolute; if that is not known, those of the videos."""
        return read_roots(self.place) or without_nested(set(self.snapshot().folders))

    # Writing ---------------------------------------------------------------------------------------------------------

    def index(
        self,
        paths: str | Path | Sequence[str | Path],
        *,
        prune: bool = False,
        force: bool = False,
        retry: bool = False,
        every_frame: bool | None = None,
        sampling: str | None = None,
        on_progress: Callable[[IndexProgress], None] | None = None,
        executor: Executor | None = None,
    ) -> IndexSummary:
        """Bring the library up to date with all videos below ``paths``, one or several; ``~`` is your home.

        Paths may be addresses on object storage, such as ``s3://bucket/videos``.

        Unchanged files cost a stat; moved ones are recognised by content; a run that was cut short goes on. What was
        prepared for a model is prepared for the new videos, too.

        Args:
            prune: forget videos below ``paths`` whose files are gone; of empty folders only with ``force``.
            retry: try unchanged files again that failed before.
            sampling: ``seconds`` or ``keyframes``; every_frame: encode also frames that hardly differ from the last
                encoded one, which else take its feature. Both are kept for later runs (``_sampling.py``).
            on_progress: called in this thread after each result.
            executor: reads the videos, and makes what models need of them; default: this process.

        Raises:
            LibraryError: none of the paths exists, or their store cannot be reached or refuses; another indexer is at
                work, or the library cannot be written.
        """
        # these bring the decoder, which a search does not need
        from wordframe.library._files import expanded
        from wordframe.library._objects import those_there
        from wordframe.library.indexer import Indexer

        places = expanded(paths)
        there = those_there(places)
        if not there and not (prune and force):
            what = "no such object, and none below it" if any(map(is_address, places)) else "no such file or folder"
            raise LibraryError(f"{', '.join(places) or 'no path'}: {what}; name what is to be indexed")
        with self.locked():
            self._open_for_writing()
            add_roots(self.place, there)
            with keeping_status(self.place, on_progress) as (tell, finish, should_stop):
                indexer = Indexer(
                    self._store,
                    self.encoder,
                    leave_out=[str(self.place)],
                    sampling=keep_sampling(self.place, sampling, every_frame),
                    on_progress=tell,
                    should_stop=should_stop,
                    executor=executor,
                )
                summary = indexer.run(places, prune=prune, force=prune and force, retry=retry)
                if not summary.interrupted:
                    prepare_known(self, self._store, summary, should_stop, executor)
                finish(summary)
            return summary

    def add_videos(self, videos: Iterable[tuple[VideoEntry, Sequence[SegmentEntry]]]) -> None:
        """Add videos whose features are there already, made elsewhere by the library's encoder, in one commit.

        Raises:
            LibraryError: the library is being written, or cannot be.
        """
        with self.locked():
            self._open_for_writing()
            self._store.add([row for video, segments in videos for row in segment_rows(video, segments)])

    def tidy(self, *, large_from: int = LARGE_SEGMENTS) -> None:
        """Merge small files and keep the indexes, as each ``index`` does; LibraryError if it is being written."""
        with self.locked():
            self._store.tidy(large_from=large_from)

    def keep_effort(self, effort: Effort) -> None:
        """Keep how much of the index on disk a search reads, for all who search from now on (``doctor --recall``).

        Raises:
            LibraryError: it has no index on disk, or is being written.
        """
        with self.locked():
            self._store.keep_effort(effort)

    def _open_for_writing(self) -> None:
        self._manifest = Manifest.read(self.place)
        if self._manifest is None:
            self._manifest = Manifest.of(self.encoder)
            self.place.make(MANIFEST_NAME, self._manifest.text())
        self._manifest.check(self.encoder, self.place)
        if self._encoder is not None and self._manifest != Manifest.of(self.encoder):
            self._manifest = Manifest.of(self.encoder)  # the same encoder, now found under another name
            self.place.write(MANIFEST_NAME, self._manifest.text())
        with self._store.commit():  # what is there now is what a loss of power may go back to
            pass

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Keep all others out who write, within the block.

        Raises:
            LibraryError: another writes, or the place cannot be written.
        """
        return self.place.writing()

    # What models need ------------------------------------------------------------------------------------------------

    def models(self) -> list[ModelEntry]:
        """The models that the library is prepared for."""
        return self._store.models()

    def prepare(
        self,
        model: str | TextVideoModel,
        *,
        untrained: bool = False,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
        executor: Executor | None = None,
    ) -> int:
        """Store what a model needs of each segment; gives for how many it was made.

        Ctrl-C ends it in order; what was done is kept.

        Args:
            model: a preset or a checkpoint by folder or hub id, kept up to date by each later ``index``; or a model.
            on_progress: called with the segments done and their total, first with 0.
            executor: makes what is stored; default: this process.

        Raises:
            WordframeError: as ``load_model``; the library is being written, or cannot be.
        """
        loaded = self.load_model(model, untrained=untrained) if isinstance(model, str) else model
        self.check_model(loaded)
        name = model if isinstance(model, str) else None
        return prepare(self, self._store, loaded, name, untrained=untrained, on_progress=on_progress, executor=executor)

    def forget_model(self, name: str) -> int:
        """Remove what is kept for a model, by the name that ``models`` gives, or its fingerprint; gives how many were.

        Raises:
            LibraryError: nothing is kept for it, or the library is being written.
        """
        return forget_model(self, self._store, name)
