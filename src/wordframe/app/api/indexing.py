"""Bringing the library up to date from the server: ``wordframe index`` over its own roots, in a process of its own.

What it is told is fixed: no path comes from a request. How it gets on is told by the library's own status file, the
same as for a run from the command line.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

from wordframe.app.api.opened import Opened
from wordframe.app.api.problems import ProblemError
from wordframe.library.status import read_status

_END_SECONDS = 20.0


class Indexing:
    """At most one run at a time. ``allowed`` is False unless the server was started with ``--allow-index``."""

    def __init__(self, opened: Opened, *, allowed: bool) -> None:
        self._opened, self.allowed = opened, allowed
        self._process: subprocess.Popen[bytes] | None = None
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
            status = read_status(self._opened.folder)
            if self.running or (status is not None and status.state == "running"):
                raise ProblemError(409, "the library is being indexed already")
            roots = self._opened.snapshot().roots
            if not roots:
                raise ProblemError(409, "the library knows no folder yet; index the first one from the command line")
            command = [sys.executable, "-m", "wordframe", "index", *roots, "--library", str(self._opened.folder)]
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )

    def stop(self) -> None:
        """End a run in order; what is finished is kept.

        Raises:
            ProblemError: it is not allowed, or this server started none.
        """
        self._check_allowed()
        with self._lock:
            if not self.running:
                raise ProblemError(409, "no indexing that this server started is going on")
            assert self._process is not None
            self._process.send_signal(signal.SIGINT)

    def close(self) -> None:
        """End what goes on when the server ends."""
        if self.running:
            assert self._process is not None
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()

    def _check_allowed(self) -> None:
        if not self.allowed:
            raise ProblemError(403, "this server does not start indexing; start it with --allow-index")
