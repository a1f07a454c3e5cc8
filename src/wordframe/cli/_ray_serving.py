"""Runs the server on a Ray cluster, until Ctrl-C or SIGTERM: what the command tells meanwhile, and its end."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from wordframe.cli._serving import keep_to_ourselves
from wordframe.errors import WordframeError, counted
from wordframe.server import Preparing, ServedLibrary, Serving

_LOOK_SECONDS = 0.5
_PATIENCE_SECONDS = 30.0


def run_on_ray(
    serving: Serving,
    served: ServedLibrary,
    replicas: int,
    address: tuple[str, int],
    *,
    shards: int,
    prepare: bool,
    on_ready: Callable[[], None],
    everywhere: bool,
    **options: Any,
) -> None:
    """Serve until Ctrl-C or SIGTERM; ``options`` are those of ``create_app``.

    Args:
        shards: of the index on disk; 0 leaves it to the replicas.
        address: where the proxy listens, as a number; its port is free.
        on_ready: called once requests are answered.
        everywhere: also take requests on the other machines that have a replica.

    Raises:
        WordframeError: no replica can begin, or the cluster is gone.
        KeyboardInterrupt: Ctrl-C; all has ended.
    """
    keep_to_ourselves()
    preparing = Preparing(served)  # once, not once a replica
    with _end_noted() as end:
        try:
            of_index = f" and {counted(shards, 'shard')} of the index" if shards else ""
            print(f"starting {counted(replicas, 'replica')}{of_index} by Ray Serve …", file=sys.stderr, flush=True)
            serving.start(served, replicas, *address, shards=shards, everywhere=everywhere, **options)
            if _wait_until_up(serving, end):
                on_ready()
                if prepare:
                    preparing.start()
                _watch(serving, replicas, shards, end)
        finally:
            preparing.close()
            serving.close()
    if end.by == signal.SIGINT:
        raise KeyboardInterrupt


class _End(threading.Event):
    """Set by a signal, which it remembers."""

    by: int | None = None


@contextlib.contextmanager
def _end_noted() -> Iterator[_End]:
    """Within the block Ctrl-C and SIGTERM, which Ray takes for itself, set the event; a second Ctrl-C is raised."""
    end = _End()

    def note(number: int, _: FrameType | None) -> None:
        if end.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        end.by = end.by or number
        end.set()

    before = [(number, signal.signal(number, note)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield end
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _wait_until_up(serving: Serving, end: _End) -> bool:
    """Whether all replicas came to be ready; False if the end was asked for before."""
    tell_at = time.monotonic() + _PATIENCE_SECONDS
    while not end.wait(_LOOK_SECONDS):
        look = serving.look()
        if look.is_up:
            return True
        if look.problem is not None:
            raise WordframeError(f"the server could not begin: {look.problem}; without --ray it tells why")
        if time.monotonic() > tell_at:
            print("still waiting: for room on the cluster, or for a model to be loaded", file=sys.stderr, flush=True)
            tell_at = float("inf")
    return False


def _watch(serving: Serving, replicas: int, shards: int, end: _End) -> None:
    """Tell of replicas and shards that die, until the end is asked for."""
    running = replicas + shards
    while not end.wait(_LOOK_SECONDS):
        now = serving.look().running
        if now < running:
            dead = f"{running - now} of the replicas and shards" if shards else counted(running - now, "replica")
            print(f"{dead} died; another takes its place", file=sys.stderr, flush=True)
        running = now
