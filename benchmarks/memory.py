"""Peak memory of ``wordframe index``: on a folder of clips, and on one made-up video of six minutes and of an hour.

    python benchmarks/memory.py FOLDER

Each run is a process of its own; printed is the largest resident size that the system saw. The made-up videos are
H.264, 128 × 72, five pictures a second, so that what grows with their length is the indexer's own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from results import save

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.videos import write_long_video


def peak_megabytes(videos: Path, library: Path) -> float:
    """Index ``videos`` into a new library and give the process's peak resident size."""
    program = str(Path(sys.executable).with_name("wordframe"))
    process = subprocess.Popen([program, "index", str(videos), "--library", str(library)])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"indexing {videos} ended with status {process.returncode}")
    return usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        peaks = {"clips": peak_megabytes(folder, root / "clips")}
        for name, minutes in (("six_minutes", 6), ("an_hour", 60)):
            video = write_long_video(root / f"{name}.mp4", seconds=60 * minutes)
            peaks[name] = peak_megabytes(video, root / name)
    for name, megabytes in peaks.items():
        print(f"{name:12} {megabytes:6.0f} MB")
    save("memory", {f"{name}_megabytes": megabytes for name, megabytes in peaks.items()})


if __name__ == "__main__":
    main()
