"""What an indexing run tells: progress while it runs, a summary at its end, and ``indexing.json`` for all who look.

The run writes the file every second (on object storage every five) as long as it lives, so one that has not been
written for a while belongs to a run that died.
Neighbours: ``indexer.py`` tells, ``library.py`` keeps the file, the server reads it.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from wordframe.errors import LibraryError
from wordframe.interrupts import interrupts_noted
from wordframe.library._manifest import json_text
from wordframe.library._place import Place, place_of

STATUS_NAME = "indexing.json"
_STOP_NAME = "stop.json"
BY_SERVER = "WORDFRAME_BY_SERVER"
"""The variable of the environment that tells a run that a server started it, so that any server may end it."""
SILENT_SECONDS = 15.0
"""A running indexer writes far more often, even on a disk that sleeps."""
MAX_FAILURES = 200


Kept = tuple[Callable[["IndexProgress"], None], Callable[["IndexSummary"], None], Callable[[], bool]]
"""To be called with progress, with the summary at the end, and to ask whether the run is to end early."""


@dataclass(frozen=True)
class IndexProgress:
    """How far a run is. Bytes are those of the files that must be read; frames are those that were looked at.

    failed: path and reason of the files that could not be read.
    """

    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int
    frames: int
    seconds_of_video: float
    failed: dict[str, str] = field(default_factory=dict)


@dataclass
class IndexSummary:
    """What a run did, path by path.

    partly: indexed, but the file ends early or is damaged, with the reason; noted: indexed whole, with what is odd
    about the file (its times start anew on the way); missing: in the library, their files gone; away: the same, by the
    folder that holds none now, as where a drive is not mounted;
    failed: could not be read, with the reason; known_failures: failed in an earlier run and are as they were, so that
    they were not tried again. prepared: segments made ready, by model; not_prepared: models that could not be, and why.
    frames: looked at; frames_reused: of them, those that hardly differ from an earlier one and took its feature;
    sampling: ``seconds`` or ``keyframes``, how they were chosen. passed_over: how many of what was not looked at:
    endings of no video that is read, folders of the system, what a ``.wordframeignore`` names. advice: what would serve
    the library better than this install can, a line each.
    """

    indexed: list[str] = field(default_factory=list)
    partly: dict[str, str] = field(default_factory=dict)
    noted: dict[str, str] = field(default_factory=dict)
    unchanged: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    copied: list[str] = field(default_factory=list)
    pruned: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    away: dict[str, list[str]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    known_failures: dict[str, str] = field(default_factory=dict)
    prepared: dict[str, int] = field(default_factory=dict)
    not_prepared: dict[str, str] = field(default_factory=dict)
    frames: int = 0
    frames_reused: int = 0
    sampling: str = "seconds"
    passed_over: dict[str, int] = field(default_factory=dict)
    advice: list[str] = field(default_factory=list)
    seconds_of_video: float = 0.0
    seconds_taken: float = 0.0
    interrupted: bool = False

    @property
    def videos_met(self) -> int:
        """How many videos the given paths hold, readable or not."""
        met = (self.indexed, self.unchanged, self.moved, self.copied, self.failed, self.known_failures)
        return sum(map(len, met))


@dataclass(frozen=True)
class IndexingStatus:
    """A run as it stands, or as it ended. Times are seconds since 1970.

    state: ``running``, ``finished`` or ``stopped`` (interrupted, or died); by_server: a server started it, on whatever
    machine; failures: path and reason of the first 200 files that could not be read, num_failures: of how many.
    """

    state: str
    process: int
    started: float
    beat: float
    files_done: int = 0
    files_total: int = 0
    bytes_done: int = 0
    bytes_total: int = 0
    frames: int = 0
    num_failures: int = 0
    failures: list[list[str]] = field(default_factory=list)
    by_server: bool = False

    @property
    def remaining_seconds(self) -> float | None:
        """What the run still needs if it goes on as fast; None while that is unknown."""
        if self.state != "running" or not self.bytes_done or self.bytes_total < self.bytes_done:
            return None
        if self.beat < self.started:  # the clock was set back
            return None
        return (self.beat - self.started) * (self.bytes_total - self.bytes_done) / self.bytes_done


def read_status(where: str | Path | Place) -> IndexingStatus | None:
    """The status of a library's last run, by folder or address; None if there was none, or its file makes no sense."""
    try:
        values: dict[str, Any] = json.loads(place_of(where).read(STATUS_NAME))
        known = {item.name for item in fields(IndexingStatus)}
        status = IndexingStatus(**{name: value for name, value in values.items() if name in known})
        # either way: of a clock that was set back, a beat may lie in the future, and its run would go on till then
        silent = abs(time.time() - status.beat) > SILENT_SECONDS
        return replace(status, state="stopped") if status.state == "running" and silent else status
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def ask_to_stop(place: Place, status: IndexingStatus) -> None:
    """Ask a run to end in order, on whatever machine it is; it looks with each beat.

    Raises:
        LibraryError: the library cannot be written.
    """
    place.write(_STOP_NAME, json_text(_name_of_run(status)), copied=False)


def _name_of_run(status: IndexingStatus) -> list[float]:
    return [status.process, status.started]


class StatusWriter:
    """Keeps the file of one run."""

    def __init__(self, place: Place) -> None:
        now = time.time()
        self._place = place
        self._status = IndexingStatus("running", os.getpid(), now, now, by_server=BY_SERVER in os.environ)
        self._lock = threading.Lock()

    def update(self, progress: IndexProgress) -> None:
        """Note how far the run is; it is written with the next beat."""
        numbers = {name: value for name, value in asdict(progress).items() if hasattr(self._status, name)}
        with self._lock:
            self._status = replace(self._status, **numbers, **_failures(progress.failed))

    def write(self, state: str = "running", failed: dict[str, str] | None = None) -> None:
        """Write the file now. A disk that is full or read-only must not end a run because of its status."""
        with self._lock:
            self._status = replace(self._status, state=state, beat=time.time(), **_failures(failed))
            values = asdict(self._status)
        with contextlib.suppress(LibraryError):
            # no copy while it changes: of a run that was killed nothing says what the file should hold
            self._place.write(STATUS_NAME, json_text(values), copied=state != "running")

    def is_asked_to_stop(self) -> bool:
        """Whether somebody wants this very run to end."""
        try:
            return bool(json.loads(self._place.read(_STOP_NAME)) == _name_of_run(self._status))
        except (OSError, ValueError, LibraryError, RecursionError):
            return False


def _failures(failed: dict[str, str] | None) -> dict[str, Any]:
    if failed is None:
        return {}
    return {"num_failures": len(failed), "failures": [list(item) for item in list(failed.items())[:MAX_FAILURES]]}


@contextlib.contextmanager
def keeping_status(place: Place, on_progress: Callable[[IndexProgress], None] | None = None) -> Iterator[Kept]:
    """Within the block the status file is kept, and Ctrl-C and ``ask_to_stop`` are noted instead of raised."""
    writer, over = StatusWriter(place), threading.Event()
    end: dict[str, Any] = {"state": "stopped"}

    def beat() -> None:
        while not over.wait(place.beat_seconds):
            writer.write()
            if writer.is_asked_to_stop():
                interrupted.set()

    def tell(progress: IndexProgress) -> None:
        writer.update(progress)
        if on_progress is not None:
            on_progress(progress)

    def finish(summary: IndexSummary) -> None:
        failed = summary.failed | summary.known_failures
        end.update(state="stopped" if summary.interrupted else "finished", failed=failed)

    with interrupts_noted() as interrupted:
        writer.write()
        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield tell, finish, interrupted.is_set
        finally:
            over.set()
            thread.join()
            writer.write(**end)
