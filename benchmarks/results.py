"""Where the benchmarks of this folder keep their figures: ``results/NAME.json``, with the machine beside them."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    packages = {name: version(name) for name in ("wordframe", "torch", "openvino", "av", "lancedb", "numba", "numpy")}
    return {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version(), **packages}


def load(name: str) -> dict[str, Any] | None:
    """One benchmark's figures, where they were kept."""
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def save(name: str, figures: dict[str, Any]) -> None:
    """Write one benchmark's figures."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), **figures}, indent=2) + "\n")
    print(f"written: {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
