"""Processes that meet on the loopback as machines would: each has a folder of its own, and sees no other's."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Sequence
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


Tell = Callable[[int, Path], Any]


def run_machines(*tells: Tell, folder: Path, machines: int) -> list[list[Any]]:
    """What each ``tell(rank, own folder)`` gives, one after the other, in each of ``machines`` processes, through JSON;
    None of one that died."""
    started = multiprocessing.spawn(
        _machine, args=(tells, str(folder), free_port(), machines), nprocs=machines, join=False
    )
    for process in started.processes:
        process.join(timeout=300)
    alive = [process for process in started.processes if process.is_alive()]
    for process in alive:
        process.kill()
    assert not alive, "a process waits for ever"
    files = [[folder / f"{number}-{rank}.json" for rank in range(machines)] for number in range(len(tells))]
    return [[json.loads(file.read_text()) if file.is_file() else None for file in each] for each in files]


def _machine(rank: int, tells: Sequence[Tell], folder: str, port: int, machines: int) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(machines)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    own = Path(folder) / f"machine-{rank}"
    for name in ("home", "tmp", "work"):
        (own / name).mkdir(parents=True)
    os.environ |= {"HOME": str(own / "home"), "TMPDIR": str(own / "tmp")}
    os.chdir(own / "work")
    torch.set_num_threads(1)
    start_process_group()
    for number, tell in enumerate(tells):
        (Path(folder) / f"{number}-{rank}.json").write_text(json.dumps(tell(rank, own / "work")))
    end_process_group()
