"""Ctrl-C and SIGTERM noted instead of raised: a step is finished and its state written before a run ends."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

from wordframe.library import interrupts_noted


@contextlib.contextmanager
def stops_noted() -> Iterator[threading.Event]:
    """Within the block the first of either signal sets the event; a second one raises KeyboardInterrupt."""
    with interrupts_noted() as noted:
        if threading.current_thread() is not threading.main_thread():
            yield noted
            return
        before = signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
        try:
            yield noted
        finally:
            signal.signal(signal.SIGTERM, before)
