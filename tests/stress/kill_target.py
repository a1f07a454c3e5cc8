"""The victim of ``kills.py``, in a process of its own: an operation that goes on until it is killed."""

from __future__ import annotations

import itertools
import os
import threading
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

from tests.colours import ColourEncoder
from tests.served import listening
from wordframe.client import Client
from wordframe.library import Library, change_encoder, indexer
from wordframe.video import export_moment

MODEL = "clip4clip-mean"


def encoder_of(name: str) -> ColourEncoder:
    """One of two encoders with the same kind of features."""
    return ColourEncoder(name=name, fingerprint=f"{name}-1", delay_seconds=0.02)


def opened(folder: Path) -> Library:
    """The library with the encoder it was made with; a new one with ``colours``."""
    library = Library.open(folder / "library")
    name = library.manifest.encoder if library.exists else "colours"
    return Library.open(folder / "library", encoder=encoder_of(name))


def index(folder: Path) -> None:
    for _ in itertools.count():
        opened(folder).index([folder / "videos"])
        for path in (folder / "videos").glob("1*.mp4"):  # read again, so that there is work till the end
            os.utime(path)


def prune(folder: Path) -> None:
    for turn in itertools.count():
        source, target = folder / "videos" / "moving", folder / "elsewhere"
        source, target = (source, target) if source.exists() else (target, source)
        source.rename(target)
        opened(folder).index([folder / "videos"], prune=bool(turn % 3))


def prepare(folder: Path) -> None:
    while True:
        library = opened(folder)
        library.prepare(MODEL, untrained=True)
        library.forget_model(MODEL)


def upgrade(folder: Path) -> None:
    if (folder / "elsewhere").exists():  # a prune was killed; without all files no encoder is changed
        (folder / "elsewhere").rename(folder / "videos" / "moving")
    while True:
        now = opened(folder).manifest.encoder
        change_encoder(folder / "library", encoder_of("other" if now == "colours" else "colours"))


def export(folder: Path) -> None:
    source = folder / "film.mp4"
    for turn in itertools.count():
        export_moment(source, folder / "cuts" / f"{turn % 7}.mp4", turn % 7, turn % 7 + 2, overwrite=True, copy=False)


def serve(folder: Path) -> None:
    """A server that is searched, while another thread of its process indexes."""
    threading.Thread(target=index, args=(folder,), daemon=True).start()
    encoder = encoder_of(opened(folder).manifest.encoder)
    with listening(folder / "library", encoder=encoder) as address, Client(address) as client:
        while True:
            client.search("green", limit=5)


OPERATIONS = {work.__name__: work for work in (index, prune, prepare, upgrade, export, serve)}


def work(operation: str, folder: Path, told: Connection) -> None:
    """Say that it begins, and never end."""
    indexer.COMMIT_SECONDS = 0.05  # many commits, so that many kills meet one
    threading.excepthook = _end
    told.send("ready")
    OPERATIONS[operation](folder)


def _end(error: threading.ExceptHookArgs) -> None:
    """A thread that fails ends the process, which is seen."""
    traceback.print_exception(error.exc_value)
    os._exit(1)
