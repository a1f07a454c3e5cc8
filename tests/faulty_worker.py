"""A decoder that comes to grief: in files whose names say how, behind the second frame. What tests put in the place of
``wordframe.video._worker``, whose own code runs otherwise.

``x.segv.mp4`` dies by a signal, ``.kill.`` as by the system, ``.stop.`` hears nothing any more, ``.loop.`` goes round,
``.memory.`` grows, ``.exit.`` leaves; ``.once-segv.`` does it the first time only.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from wordframe import disk
from wordframe.video import Frame, FrameStream, _worker

PROGRAM = "from tests.faulty_worker import main; main()"


def _by(number: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def _loop() -> None:
    while True:
        pass


def _grow() -> None:
    held = []
    while True:
        held.append(np.empty(64 << 20, np.uint8))


FAULTS = {
    "segv": _by(signal.SIGSEGV),
    "kill": _by(signal.SIGKILL),
    "stop": _by(signal.SIGSTOP),
    "loop": _loop,
    "memory": _grow,
    "exit": lambda: os._exit(3),
}


class FaultyStream(FrameStream):
    """Frames of a file until its fault strikes."""

    def __init__(self, path: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(path, *arguments, **options)
        self._file, self._count = Path(path), 0

    def __next__(self) -> Frame:
        self._count += 1
        name = self._file.stem.partition(".")[2]
        mark = self._file.with_suffix(".died")
        if self._count == 3 and name and not (name.startswith("once-") and mark.exists()):
            mark.touch()
            FAULTS[name.removeprefix("once-")]()
        return super().__next__()


def main(while_cutting: str | None = None) -> None:
    """``while_cutting``: the fault that strikes when a moment is cut, with the target half written."""

    def open_frames(path: Any, times: Any, **options: Any) -> FrameStream:
        return FaultyStream(path, times, **options)

    _worker.open_frames = open_frames  # type: ignore[assignment]
    if while_cutting:
        disk.sync = lambda path: FAULTS[while_cutting]()
    _worker.main()
