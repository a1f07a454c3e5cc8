"""What a run tells while it runs: a line of JSON a step, and the same numbers as TensorBoard's curves.

A resumed run drops the lines behind its state first, so that each step is told once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import torch

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class RunLog:
    """``metrics.jsonl`` and ``tensorboard/`` in the run's ``folder``; ``done`` steps are told there already."""

    def __init__(self, folder: Path, *, done: int) -> None:
        self.path = folder / "metrics.jsonl"
        kept = [json.dumps(line) + "\n" for line in read_log(self.path) if line["step"] <= done]
        unfinished = self.path.with_suffix(".part")
        unfinished.write_text("".join(kept), encoding="utf-8")
        unfinished.replace(self.path)
        self._file = self.path.open("a", encoding="utf-8")
        self._curves = _curves(folder / "tensorboard", done)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
        self._curves.close()

    def add(self, step: int, values: Mapping[str, Any]) -> None:
        """Tell what holds once ``step`` steps are done. Values are numbers, or mappings of them."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in _numbers(values):
            self._curves.add_scalar(name, value, step)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a ``metrics.jsonl``; a last one that was cut short by a kill is left out."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


def peak_memory_mb(device: torch.device) -> float:
    """The most memory held so far: the device's, or this process's where it computes on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == "win32":
        import psutil  # comes with accelerate

        return psutil.Process().memory_info().peak_wset / 2**20
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _numbers(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            found.append((prefix + name, float(value)))
    return found


def _curves(folder: Path, done: int) -> SummaryWriter:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=done + 1)
