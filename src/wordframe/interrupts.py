"""Ctrl-C and SIGTERM that are noted instead of ending all, so that a commit and its bookkeeping are never torn apart.

SIGTERM is what a timer, a service or a container ends its programs by: a lease on object storage is given up, copies of
videos are removed.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def interrupts_noted() -> Iterator[threading.Event]:
    """Within the block the first Ctrl-C or SIGTERM sets the event; a second one raises KeyboardInterrupt.

    Outside the main thread, where Python delivers no signals, the event simply stays unset.
    """
    noted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return

    def note(number: int, frame: FrameType | None) -> None:
        if noted.is_set():
            raise KeyboardInterrupt
        noted.set()

    before = [(number, signal.signal(number, note)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield noted
    finally:
        for number, handler in before:
            signal.signal(number, handler)
