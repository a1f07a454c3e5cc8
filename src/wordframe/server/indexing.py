"""Bringing the library up to date from the server: ``wordframe index`` over its own roots, in a process of its own.

Its command is fixed: no path comes from a request. Who starts the server may name the first folders
(``wordframe try``). How it gets on is in the library's own status file, the same as for
a run from the command line; only why one died early has no place there, and is read from what it printed.
Several servers may serve one library: any of them tells how a run gets on and ends it, whichever started it, and of two
that start one at the same moment the library's own lock lets one through.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import IO, Literal

from wordframe.client import schemas as wire
from wordframe.disk import display_path
from wordframe.library import BY_SERVER, IndexingStatus, ask_to_stop, read_status
from wordframe.server.presentation import as_date
from wordframe.server.problems import ProblemError
from wordframe.server.served import ServedLibrary

_END_SECONDS = 20.0
_TAIL_BYTES = 16 * 1024
_MOST_CHARACTERS = 500
_LEAST_SHARE = 0.01
"""What must be done of a run before the time that is left is more than a guess."""
_NAMED = "wordframe: "
_BUSY = "is writing; wait until it has ended"
_IN_ORDER = (0, 130, -signal.SIGINT)
"""What a run ends with that is done, or was asked to end; 1 is trouble with a file, or the run's own."""


class Indexing:
    """At most one run at a time. ``allowed`` is False unless the server was started with ``--allow-index``."""

    def __init__(self, served: ServedLibrary, *, allowed: bool) -> None:
        self._served, self.allowed = served, allowed
        self._process: subprocess.Popen[bytes] | None = None
        self._printed: IO[bytes] | None = None
        self._started = 0.0
        self._lock = threading.Lock()

    @property
    def running(self) -> bool:
        """Whether a run that this server started goes on."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start a run over the library's roots.

        Raises:
            ProblemError: it is not allowed, a run goes on, or there is nothing to go over.
        """
        self._check_allowed()
        with self._lock:
            status = read_status(self._served.place)
            if self.running or (status is not None and status.state == "running" and not self.ended_early(status)):
                raise ProblemError(409, "the library is being indexed already")
            snapshot = self._served.snapshot()
            roots = snapshot.roots if snapshot else ()
            if not roots:
                raise ProblemError(409, "the library knows no folder yet; index the first one from the command line")
            self._begin(roots)

    def start_over(self, paths: Sequence[str]) -> None:
        """Start the first run, over paths that whoever started the server named; absolute."""
        with self._lock:
            self._begin(paths)

    def _begin(self, paths: Sequence[str]) -> None:
        command = [sys.executable, "-m", "wordframe", "index", "--library", str(self._served.place)]
        command += ["--runtime", self._served.runtime, "--", *paths]
        if self._printed is not None:
            self._printed.close()
        self._printed = _file_for_words()
        self._started = time.time()
        # a process group of its own: Ctrl-C at the terminal would reach the run as well, and the one that ``close``
        # sends would be its second, which ends a run at once instead of in order
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._printed,
            env=os.environ | {BY_SERVER: "1"},
            process_group=None if os.name == "nt" else 0,
        )

    def status(self) -> wire.IndexStatus:
        """The run that goes on, whoever started it, or the last one; ours is running before its first word, too."""
        ours = self.running  # asked before the file is read: a run that is over has written its end
        status = read_status(self._served.place)
        early = not ours and self.ended_early(status)
        ended: Literal["never", "finished", "stopped"] = "stopped"
        if not early and (status is None or status.state == "finished"):
            ended = "never" if status is None else "finished"
        problem = self.problem() if early else None
        is_older = early and not self.is_of_last(status)
        if status is None or is_older or (ours and status.state != "running"):
            return wire.IndexStatus(
                state="running" if ours else ended, by_server=ours,
                files_done=0, files_total=0, bytes_done=0, bytes_total=0, frames=0, started=None, ended=None,
                remaining_seconds=None, problem=problem, num_failures=0, failures=[], allow_index=self.allowed,
            )  # fmt: skip
        running = status.state == "running" and not early
        begun = status.bytes_done >= _LEAST_SHARE * status.bytes_total
        remaining = status.remaining_seconds if running and begun else None
        return wire.IndexStatus(
            state="running" if running else ended,
            by_server=running and (ours or status.by_server),
            files_done=status.files_done,
            files_total=status.files_total,
            bytes_done=status.bytes_done,
            bytes_total=status.bytes_total,
            frames=status.frames,
            started=as_date(status.started),
            ended=None if running else as_date(status.beat),
            remaining_seconds=None if remaining is None else round(remaining, 1),
            problem=problem,
            num_failures=status.num_failures,
            failures=[
                wire.IndexFailure(path=display_path(path), reason=display_path(reason))
                for path, reason in status.failures
            ],
            allow_index=self.allowed,
        )

    def is_of_last(self, status: IndexingStatus | None) -> bool:
        """Whether ``status`` is that of the last run that this server started."""
        return self._process is not None and status is not None and status.process == self._process.pid

    def ended_early(self, status: IndexingStatus | None) -> bool:
        """Whether the last run here is over and came to no end of its own, and ``status`` is of no later one."""
        if self._process is None or self._process.poll() in (None, 0):
            return False
        if self.is_of_last(status):
            return status is not None and status.state != "finished"
        return status is None or status.beat < self._started

    def problem(self) -> str | None:
        """Why the last run here ended early; None if it goes on, or ended as it was told to, or because another run is
        doing what it was to do."""
        if self._process is None or self._printed is None or (code := self._process.poll()) in (None, *_IN_ORDER):
            return None
        if code < 0:
            memory = "; perhaps there is too little memory" if -code == signal.SIGKILL else ""
            return f"the system ended it ({signal.strsignal(-code)}){memory}"
        with self._lock:
            reason = last_line(self._printed) or f"it ended with the status {code} and no word"
        return None if is_busy(reason) else reason

    def stop(self) -> None:
        """End a run in order; what is finished is kept.

        Raises:
            ProblemError: it is not allowed, or no server started one.
        """
        self._check_allowed()
        with self._lock:
            if self.running:
                assert self._process is not None
                self._process.send_signal(signal.SIGINT)
                return
            status = read_status(self._served.place)
            if status is None or status.state != "running" or not status.by_server or self.ended_early(status):
                raise ProblemError(409, "no indexing that a server started is going on")
            ask_to_stop(self._served.place, status)

    def close(self) -> None:
        """End what goes on when the server ends."""
        if self.running:
            assert self._process is not None
            self._process.send_signal(signal.SIGINT)  # as Ctrl-C: it commits what is finished
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()

    def _check_allowed(self) -> None:
        if not self.allowed:
            raise ProblemError(403, "this server does not start indexing; start it with --allow-index")


def _file_for_words() -> IO[bytes]:
    """What a run prints goes there. Where no temporary file can be made, its exit status alone tells how it ended."""
    try:
        return tempfile.TemporaryFile()
    except OSError:
        return open(os.devnull, "r+b")


def is_busy(reason: str) -> bool:
    """Whether a command ended because another one holds the library."""
    return _BUSY in reason


def last_line(printed: IO[bytes]) -> str:
    """What a process said last: the last line that names the program, as its errors do, else the very last."""
    printed.seek(max(0, printed.seek(0, os.SEEK_END) - _TAIL_BYTES))
    lines = [line.strip() for line in printed.read().decode("utf-8", "replace").splitlines() if line.strip()]
    named = [line.removeprefix(_NAMED) for line in lines if line.startswith(_NAMED)]
    return (named or lines or [""])[-1][:_MOST_CHARACTERS]
