"""Processes that meet on the loopback as machines would: each has a folder of its own, and sees no other's."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as multiprocessing

from wordframe.processes import end_process_group, start_process_group


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def run_machines(tell: Callable[[int, Path], Any], folder: Path, *, machines: int) -> list[Any]:
    """What ``tell(rank, own folder)`` gives in each of ``machines`` processes, through JSON; None of one that died."""
    started = multiprocessing.spawn(
        _machine, args=(tell, str(folder), free_port(), machines), nprocs=machines, join=False
    )
    for process in started.processes:
        process.join(timeout=300)
    alive = [process for process in started.processes if process.is_alive()]
    for process in alive:
        process.kill()
    assert not alive, "a process waits for ever"
    files = [folder / f"{rank}.json" for rank in range(machines)]
    return [json.loads(file.read_text()) if file.is_file() else None for file in files]


def _machine(rank: int, tell: Callable[[int, Path], Any], folder: str, port: int, machines: int) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(machines)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    own = Path(folder) / f"machine-{rank}"
    for name in ("home", "tmp", "work"):
        (own / name).mkdir(parents=True)
    os.environ |= {"HOME": str(own / "home"), "TMPDIR": str(own / "tmp")}
    os.chdir(own / "work")
    torch.set_num_threads(1)
    start_process_group()
    told = tell(rank, own / "work")
    (Path(folder) / f"{rank}.json").write_text(json.dumps(told))
    end_process_group()
