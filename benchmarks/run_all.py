"""Runs the benchmarks and writes benchmarks/results with its page: what ``make bench`` does.

    python benchmarks/run_all.py [--clips FOLDER] [--annotations FOLDER] [--only NAME …]

``--clips`` holds videos and, for the measurements of search quality, their ``captions.json``; without it the demo's
videos are used. ``--annotations`` holds MSR-VTT's ``MSRVTT_JSFUSION_test.csv`` and ``msrvtt_full_test_captions.json``,
whose captions give texts their lengths. What is left out for want of files is said. Never run here: a million segments
(``two_stage.py --segments 1000000``, 28 GB on disk) and what trains for long (``rendered_world.py``,
``procedures.py``, ``text_trained.py``), which have commands of their own.
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
NEEDS = {
    "offline_encoder": "--clips with captions.json",
    "segments": "--clips with captions.json",
    "reuse": "--clips with captions.json",
    "keyframes": "--clips with captions.json",
    "full_test": "--annotations",
}


def run(name: str, *arguments: str | Path) -> bool:
    """Run one benchmark; whether it succeeded."""
    print(f"\n=== {name} {' '.join(map(str, arguments))}", flush=True)
    return subprocess.run([sys.executable, str(HERE / f"{name}.py"), *map(str, arguments)]).returncode == 0


def benchmarks(clips: Path, annotations: Path | None, library: Path) -> dict[str, tuple[str | Path, ...]]:
    """The programs that can be run with what is there, and their arguments."""
    wanted: dict[str, tuple[str | Path, ...]] = {
        "decode": (clips,),
        "runtime": (clips,),
        "indexing": (clips,),
        "apart": (clips,),
        "colours": (),
        "frame_costs": (),
        "memory": (clips,),
        "search_latency": (),
        "concurrency": (),
        "cold_search": (library,),
        "model_cost": (),
        "scoring": (),
        "precision": (),
        "training_step": (),
        "update_size": (),
        "tuning_step": (),
        "server": (),
        "page_latency": (),
        "two_stage": ("--segments", "10000", "100000"),
        "large_library": ("--segments", "1000", "100000"),
        "storage": (clips,),
        "frame_cache": (clips,),
        "moments": ("--clips", clips) if (clips / "captions.json").exists() else (),
    }
    if (clips / "captions.json").exists():
        wanted |= {"offline_encoder": (clips,), "segments": (clips,), "precision": ("--clips", clips)}
        wanted |= {"reuse": (clips, "--captioned", clips), "keyframes": (clips,)}
        wanted |= {"colours": ("--clips", clips)}
    if annotations is not None:
        sentences = ("--captions", annotations / "MSRVTT_JSFUSION_test.csv")
        all_captions = ("--captions", annotations / "msrvtt_full_test_captions.json")
        wanted |= {"scoring": sentences, "training_step": sentences, "full_test": all_captions}
    return wanted | {"sizing": ("--keep",)}  # last: it reads what the others wrote


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--annotations", type=Path)
    parser.add_argument("--only", nargs="+")
    asked = parser.parse_args()
    if asked.clips is None and not DEMO.is_dir():
        sys.exit("no videos to measure with: run `make demo` first, or say --clips FOLDER")
    clips = asked.clips or DEMO
    with tempfile.TemporaryDirectory() as place:
        library = Path(place) / "library"
        found = benchmarks(clips, asked.annotations, library)
        unknown = set(asked.only or ()) - set(found)
        if unknown:
            sys.exit(f"not to be run with what is there: {', '.join(sorted(unknown))}; there are {', '.join(found)}")
        program = Path(sys.executable).with_name("wordframe")
        subprocess.run([program, "index", clips, "--library", library], check=False)
        succeeded = {name: run(name, *given) for name, given in found.items() if not asked.only or name in asked.only}
    for name, needs in NEEDS.items():
        if name not in found:
            print(f"left out: {name}, which needs {needs}")
    page.main()
    failed = [name for name, fine in succeeded.items() if not fine]
    print(f"\nfailed: {', '.join(failed)}" if failed else "\nall benchmarks ran")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
