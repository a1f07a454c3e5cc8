"""Runs the benchmarks and writes benchmarks/results with its page: what ``make bench`` does.

    python benchmarks/run_all.py [--clips FOLDER]

FOLDER holds videos and, for the measurements of search quality, their ``captions.json``; without one the demo's videos
are used and those measurements are left out, and said so. Not run here, for their time or their files:
``two_stage.py --segments 100000``, ``scoring.py --captions FILE`` (real lengths of captions) and ``full_test.py``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import page

HERE = Path(__file__).parent
DEMO = HERE.parent / "demo" / "output" / "videos"


def run(name: str, *arguments: str | Path) -> bool:
    """Run one benchmark; whether it succeeded."""
    print(f"\n=== {name} {' '.join(map(str, arguments))}", flush=True)
    return subprocess.run([sys.executable, str(HERE / f"{name}.py"), *map(str, arguments)]).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path)
    clips = parser.parse_args().clips
    if clips is None and not DEMO.is_dir():
        sys.exit("no videos to measure with: run `make demo` first, or say --clips FOLDER")
    folder = clips or DEMO
    with tempfile.TemporaryDirectory() as place:
        library = Path(place) / "library"
        program = Path(sys.executable).with_name("wordframe")
        subprocess.run([program, "index", folder, "--library", library], check=False)
        succeeded = {
            "decode": run("decode", folder),
            "indexing": run("indexing", folder),
            "memory": run("memory", folder),
            "search_latency": run("search_latency"),
            "cold_search": run("cold_search", library),
            "model_cost": run("model_cost"),
            "scoring": run("scoring"),
            "precision": run("precision"),
            "training_step": run("training_step"),
            "server": run("server"),
            "two_stage": run("two_stage", "--queries", "200"),
            "frame_cache": run("frame_cache", folder),
        }
    if (folder / "captions.json").exists():
        succeeded["offline_encoder"] = run("offline_encoder", folder)
        succeeded["segments"] = run("segments", folder)
    else:
        print("\nleft out, since the folder has no captions.json: offline_encoder, segments")
    page.main()
    failed = [name for name, fine in succeeded.items() if not fine]
    print(f"\nfailed: {', '.join(failed)}" if failed else "\nall benchmarks ran")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
