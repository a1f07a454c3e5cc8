"""A running ``_worker.py``: how it is started, asked, heard, and found dead; and those that wait for their next video.

It is started from this interpreter by a command, not by ``multiprocessing``: that would import the caller's main module
again, and a script without ``if __name__ == "__main__"`` would run twice.
Neighbours: ``_worker.py`` says what goes through the pipes, ``apart.py`` asks for frames.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import os
import select
import signal
import subprocess
import sys
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wordframe.errors import DecoderError
from wordframe.video._worker import LENGTHS

_START_SECONDS = 60.0
PROGRAM = "from wordframe.video._worker import main; main()"
_START = "import sys, json; sys.path[:] = json.loads(sys.stdin.buffer.readline()); "
"""The modules of a worker come from where those of its parent come from."""
_PIPE_BYTES = 1 << 20
"""A few pictures, so that a process decodes on while the one before is looked at."""
_DEATH_SECONDS = 5.0


class DiedError(Exception):
    """The process is gone; the message says how."""


class Process:
    """A running worker. Used by one thread at a time; ``kill`` may come from any."""

    def __init__(self) -> None:
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START + PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                process_group=None if os.name == "nt" else 0,  # where Ctrl-C at the terminal does not reach
            )
        except OSError as error:
            raise DecoderError(_cannot_start(error.strerror or str(error))) from error
        assert isinstance(self._process.stdin, io.FileIO)
        assert isinstance(self._process.stdout, io.FileIO)
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self.number = self._process.pid
        self._stalled_seconds = 0.0
        _enlarge(self._answers.fileno())
        try:
            self.ask([path for path in sys.path if isinstance(path, str)])
            self.answer(_START_SECONDS)
        except DiedError as error:
            raise DecoderError(_cannot_start(str(error))) from None

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, values: object) -> None:
        line = memoryview(json.dumps(values).encode() + b"\n")
        try:
            while line:
                line = line[self._requests.write(line) :]
        except OSError:
            raise self._died() from None

    def answer(self, limit_seconds: float) -> tuple[dict[str, Any], NDArray[np.uint8] | None]:
        """What it says next, and the picture ``(h, w, 3)`` that comes with it.

        Raises:
            DiedError: it is dead, or was killed because it said nothing for ``limit_seconds``.
        """
        values: dict[str, Any] = {"beat": True}
        picture: NDArray[np.uint8] | None = None
        while "beat" in values:  # it lives; one may be left from the video before
            values, picture = self._next(limit_seconds)
        return values, picture

    def _next(self, limit_seconds: float) -> tuple[dict[str, Any], NDArray[np.uint8] | None]:
        length, num_bytes = LENGTHS.unpack(self._read(LENGTHS.size, limit_seconds))
        values: dict[str, Any] = json.loads(self._read(length, limit_seconds))
        if not num_bytes:
            return values, None
        return values, np.frombuffer(self._read(num_bytes, limit_seconds), np.uint8).reshape(values["shape"])

    def _read(self, num_bytes: int, limit_seconds: float) -> bytearray:
        target = bytearray(num_bytes)
        view = memoryview(target)
        while view:
            self._wait(limit_seconds)
            count = self._answers.readinto(view)
            if not count:
                raise self._died()
            view = view[count:]
        return target

    def _wait(self, limit_seconds: float) -> None:
        if not hasattr(select, "poll"):  # Windows, where nothing waits for a pipe with a limit
            return
        poll = select.poll()
        poll.register(self._answers, select.POLLIN)
        if not poll.poll(1000 * limit_seconds):
            self._stalled_seconds = limit_seconds
            self.kill()

    def _died(self) -> DiedError:
        self.close()
        code = self._process.returncode
        if self._stalled_seconds:
            return DiedError(f"it hung for {self._stalled_seconds:g} s")
        if code is None:
            return DiedError("it cannot be ended")
        if code >= 0:
            return DiedError(f"it ended with the status {code}")
        memory = "; perhaps there is too little memory" if -code == signal.SIGKILL else ""
        return DiedError(f"{signal.strsignal(-code) or -code}{memory}")

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        """Kill it, unless it is dead, and give back what belongs to it."""
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # stuck in a network drive; it dies when that answers
            self._process.wait(_DEATH_SECONDS)
        self._answers.close()
        with contextlib.suppress(OSError):
            self._requests.close()


def _cannot_start(reason: str) -> str:
    return f"the process that decodes videos cannot be started: {reason}; is another limit of this system reached?"


def _enlarge(pipe: int) -> None:
    with contextlib.suppress(ImportError, AttributeError, OSError):  # Linux has it, and may refuse it
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


_idle: list[Process] = []
_idle_lock = threading.Lock()


def idle_process() -> Process:
    """One that waits for a video, or a new one.

    Raises:
        DecoderError: none can be started.
    """
    return _waiting_process() or Process()


def keep_idle(process: Process) -> None:
    """It is done with a video, and good for another."""
    with _idle_lock:
        _idle.append(process)


def _waiting_process() -> Process | None:
    with _idle_lock:
        while _idle:
            process = _idle.pop()
            if process.is_alive():
                return process
            process.close()
    return None


def _forget_idle() -> None:
    """After a fork they are the parent's."""
    _idle.clear()


def end_idle_decoders() -> None:
    """End the processes that wait for another video, which they do by themselves after some seconds."""
    while (process := _waiting_process()) is not None:
        process.close()


atexit.register(end_idle_decoders)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_idle)
