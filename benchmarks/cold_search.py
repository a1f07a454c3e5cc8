"""How long the command ``wordframe search`` takes from a standing start, against the imports it cannot do without.

    python benchmarks/cold_search.py LIBRARY [--runs 5]

In turn, run by run: ``import torch, lancedb``; the same plus the encoder of the library encoding one sentence; the
whole command; and ``wordframe --help``. Printed: medians, and the command's ratio to the second.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from results import save

IMPORTS = "import torch, lancedb"
ENCODER = (
    f"{IMPORTS}\nfrom wordframe.encoders import load_encoder\nload_encoder('offline').encode_text(['a dog on a beach'])"
)


def seconds(*command: str) -> float:
    """Wall time of a command that must succeed."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    wanted = parser.parse_args()
    program = str(Path(sys.executable).with_name("wordframe"))
    commands = {
        "imports": (sys.executable, "-c", IMPORTS),
        "imports_and_encoder": (sys.executable, "-c", ENCODER),
        "search": (program, "search", "a dog on a beach", "--library", str(wanted.library)),
        "help": (program, "--help"),
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(wanted.runs):
        for name, command in commands.items():
            taken[name].append(seconds(*command))
    medians = {name: statistics.median(times) for name, times in taken.items()}
    for name, median in medians.items():
        print(f"{name:20} {median:.2f} s")
    ratio = medians["search"] / medians["imports_and_encoder"]
    print(f"a cold search takes {ratio:.2f} times the imports and the encoder it needs")
    save("cold_search", {**{f"{name}_seconds": median for name, median in medians.items()}, "ratio": ratio})


if __name__ == "__main__":
    main()
