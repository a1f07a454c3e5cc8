"""What the served model needs of each segment, made in the background: ``wordframe prepare`` in a process of its own.

A search never prepares; without it it makes for its candidates what it needs, which is slower and may miss something.
So a server looks now and then whether its model lacks something (new videos, a model that the library does not know)
and has it made, at low priority, under the library's own lock: an indexer at work comes first, and the next look tries
again. Who runs the server reads of it once on standard error.
Neighbours: ``indexing.py`` is the same for indexing, ``library/library.py`` prepares.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading

from wordframe.disk import one_line
from wordframe.errors import WordframeError, counted
from wordframe.server.indexing import is_busy, last_line
from wordframe.server.served import ServedLibrary

LOOK_SECONDS = 5.0
_END_SECONDS = 10.0
_NICE = 10


class Preparing(threading.Thread):
    """Looks every few seconds until ``close``; one run at a time."""

    def __init__(self, served: ServedLibrary) -> None:
        super().__init__(name="preparing", daemon=True)
        self._served = served
        self._over = threading.Event()
        self._told = False

    def run(self) -> None:
        """Look, prepare, look again; a run that fails for good ends it, with a line that says why."""
        while not self._over.is_set():
            with contextlib.suppress(WordframeError):  # a library that cannot be read is told to whoever asks
                missing = self._missing()
                if missing and not self._prepare(missing):
                    return
            self._over.wait(LOOK_SECONDS)

    def close(self) -> None:
        """End what goes on; what was done is kept."""
        self._over.set()
        if self.is_alive():
            self.join()

    def _missing(self) -> set[int]:
        """Row ids of the segments that lack something."""
        snapshot = self._served.snapshot()
        return set() if snapshot is None else set(snapshot.unprepared())

    def _prepare(self, missing: set[int]) -> bool:
        """Have it made; False if there is no use in another try."""
        model = one_line(self._served.model_name)
        if not self._told:
            self._told = True
            segments = counted(len(missing), "segment")
            _say(f"preparing {segments} for {model} in the background; until then searches are slower")
        command = [sys.executable, "-m", "wordframe", "prepare", "--library", str(self._served.place)]
        command += [*(["--untrained"] if self._served.untrained else []), "--", self._served.model_name]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            # away from the terminal's Ctrl-C, which would come twice: ``close`` sends its own
            process_group=None if os.name == "nt" else 0,
        )
        with contextlib.suppress(OSError, AttributeError):  # searches come first
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
        printed = self._wait_for(process)
        if self._over.is_set():
            return False
        reason = last_line(io.BytesIO(printed)) or f"it ended with the status {process.returncode} and no word"
        if process.returncode == 0:
            reason = "it has other weights by now; start the server again"
            if not missing <= self._missing():
                _say(f"prepared for {model}")
                return True
        elif is_busy(reason):
            return True
        _say(f"could not prepare for {model}: {one_line(reason)}")
        return False

    def _wait_for(self, process: subprocess.Popen[bytes]) -> bytes:
        """What it printed, at its end or at ours."""
        while not self._over.is_set():
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.communicate(timeout=0.2)[1]
        process.send_signal(signal.SIGINT)
        try:
            return process.communicate(timeout=_END_SECONDS)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            return process.communicate()[1]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
