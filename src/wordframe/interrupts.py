"""Ctrl-C that is noted instead of raised, so that a commit and its bookkeeping are never torn apart."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def interrupts_noted() -> Iterator[threading.Event]:
    """Within the block the first Ctrl-C sets the event; a second one raises KeyboardInterrupt as ever.

    Outside the main thread, where Python delivers no signals, the event simply stays unset.
    """
    noted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        if noted.is_set():
            raise KeyboardInterrupt
        noted.set()

    signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)
