"""Runs the server: in this process, or in several that take connections at one address.

Several share nothing but the library and the token, so a browser or a program may meet another one at each request.
Their supervisor is uvicorn's: it starts them, and starts one anew that died, while the others go on.
"""

from __future__ import annotations

import functools
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from wordframe.cores import usable_cores
from wordframe.errors import WordframeError
from wordframe.server import Preparing, ServedLibrary, create_app

_LOOK_SECONDS = 1.0
_DEAD = 3
"""uvicorn's exit status of a process that could not begin to serve."""


def run(served: ServedLibrary, listener: socket.socket, **options: Any) -> None:
    """Serve until Ctrl-C; ``options`` are those of ``create_app``."""
    keep_to_ourselves()
    uvicorn.Server(_config(create_app(served, warm=True, **options), factory=False)).run(sockets=[listener])


def run_replicas(
    replicas: int, served: ServedLibrary, listener: socket.socket, *, prepare: bool, **options: Any
) -> None:
    """Serve by several processes until Ctrl-C or SIGTERM.

    Raises:
        WordframeError: the first of them cannot begin to serve.
        KeyboardInterrupt: Ctrl-C; all have ended.
    """
    keep_to_ourselves()
    at_once = max(1, usable_cores() // replicas)
    make = functools.partial(_replica, served, os.getpid(), at_once, options)
    supervisor = _Replicas(_config(make, factory=True, workers=replicas), [listener])
    preparing = Preparing(served)  # once, not once a replica
    if prepare:
        preparing.start()
    try:
        supervisor.run()
    finally:
        preparing.close()
    if supervisor.interrupted:
        raise KeyboardInterrupt
    if any(process.exitcode == _DEAD for process in supervisor.processes):
        raise WordframeError("the server could not begin; without --replicas it tells why")


def keep_to_ourselves() -> None:
    """Let no library tell anybody anything, here and in processes that are started from here."""
    for name in ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_OFFLINE", "DO_NOT_TRACK"):
        os.environ.setdefault(name, "1")


def _config(app: Callable[..., Any], *, factory: bool, workers: int = 1) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=factory,
        workers=workers,
        # whatever else is installed: what Ray Serve needs brings others
        loop="asyncio",
        http="h11",
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )


def _replica(served: ServedLibrary, supervisor: int, at_once: int, options: dict[str, Any]) -> Any:
    """The application of one of several processes, which share the cores."""
    import torch

    torch.set_num_threads(at_once)
    threading.Thread(target=_end_with, args=(supervisor,), daemon=True).start()
    return create_app(served, warm=True, at_once=at_once, **options)


def _end_with(supervisor: int) -> None:
    """A supervisor that was killed ends nobody, and its port would stay taken."""
    while os.name == "nt" or os.getppid() == supervisor:
        time.sleep(_LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


class _Replicas(Multiprocess):
    """Starts one anew that died, and remembers Ctrl-C.

    uvicorn's own way asks each replica in turn whether it lives, which takes the whole time-out when it dies meanwhile.
    """

    interrupted = False

    def keep_subprocess_alive(self) -> None:
        for place, process in enumerate(self.processes):
            if self.should_exit.is_set() or process.process.is_alive():
                continue
            if process.exitcode == _DEAD:  # the next one could not begin, either
                self.should_exit.set()
                continue
            print(f"replica {process.pid} died; another takes its place", file=sys.stderr, flush=True)
            self.processes[place] = Process(self.config, self.sockets)
            self.processes[place].start()

    def handle_int(self) -> None:
        self.interrupted = True
        super().handle_int()
