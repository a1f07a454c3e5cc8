"""What indexing on many machines costs beside indexing here, and a commit as the library grows.

    python benchmarks/scale.py FOLDER [--videos 100000]

Part one indexes the videos of a folder with the offline encoder: here, by one actor with all cores of the machine, by
two with half of them each. Start-up (Ray, the actors, their encoders) is measured by a run over one video and taken
off, so what is compared is what grows with the archive: core-seconds and seconds, as shares of those here.

Part two fills a library with made-up videos of one segment each and times, at 1,000, 10,000 … of them, the commit of
ten new videos as rows and as fragments, and the commit that replaces one of them by fragments.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from results import save

from wordframe.library import Library, SegmentEntry, VideoEntry

BLOCK = 5_000
ROUNDS = 5
DIMENSION = 384


def measured(command: list[str]) -> dict[str, float]:
    """Seconds of a command, and core-seconds of it and all processes below it, as last seen of each."""
    start = time.perf_counter()
    process = psutil.Popen(command, stdout=subprocess.DEVNULL)
    cores: dict[tuple[int, float], float] = {}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            try:
                for each in (process, *process.children(recursive=True)):
                    times = each.cpu_times()
                    cores[each.pid, each.create_time()] = times.user + times.system
            except psutil.Error:  # one ended while it was looked at
                continue

    watching = threading.Thread(target=watch)
    watching.start()
    status = process.wait()
    over.set()
    watching.join()
    if status:
        raise SystemExit(f"failed with status {status}: {' '.join(command)}")
    return {"seconds": time.perf_counter() - start, "core_seconds": sum(cores.values())}


def indexing(folder: Path) -> dict[str, dict[str, float]]:
    """Part one: by way of reading, what a run over all videos takes beyond one over a single video."""
    cores = os.cpu_count() or 1
    ways = {
        "here": [],
        "one actor": ["--ray", "local", "--ray-actors", "1", "--ray-cores", str(cores)],
        "two actors": ["--ray", "local", "--ray-actors", "2", "--ray-cores", str(max(1, cores // 2))],
    }
    one = min((path for path in folder.rglob("*.mp4")), key=lambda path: path.stat().st_size)
    found: dict[str, dict[str, float]] = {}
    for name, options in ways.items():
        rows = []
        for videos in (one, folder):
            with tempfile.TemporaryDirectory() as place:
                command = [sys.executable, "-m", "wordframe", "index", str(videos), "--library", f"{place}/library"]
                rows.append(measured([*command, *options]))
        start, whole = rows
        found[name] = {f"start_{key}": start[key] for key in start}
        found[name] |= {key: whole[key] - start[key] for key in whole}
        found[name]["share_of_here"] = found["here"]["core_seconds"] / found[name]["core_seconds"]
        print(
            f"{name:12} {found[name]['core_seconds']:7.1f} core-s, {found[name]['seconds']:6.1f} s beyond the start of "
            f"{start['seconds']:.1f} s; efficiency {found[name]['share_of_here']:.2f}",
            flush=True,
        )
    return found


def made_up(first: int, count: int, marked: str = "v") -> list[tuple[VideoEntry, list[SegmentEntry]]]:
    """Videos of one segment, drawn anew for each."""
    chance = np.random.default_rng(first)
    videos = []
    for number in range(first, first + count):
        name = f"{marked}{number:09d}"
        frames = chance.standard_normal((4, DIMENSION)).astype(np.float16)
        seconds = np.arange(4, dtype=np.float32)
        segment = SegmentEntry(0.0, 4.0, frames, seconds, frames[:1].astype(np.float32), b"picture" * 300)
        entry = VideoEntry(name, f"/made/up/{name}.mp4", 1, 1, name, 4.0, 64, 48, "h264", "mp4", None, 1)
        videos.append((entry, [segment]))
    return videos


def commits(most: int) -> dict[str, dict[str, float]]:
    """Part two: median seconds of each kind of commit, by the number of videos."""
    from wordframe.encoders import load_encoder
    from wordframe.library._fragments import write_rows
    from wordframe.library._rows import segment_rows
    from wordframe.library._store import Store

    folder = Path(tempfile.mkdtemp())
    found: dict[str, dict[str, float]] = {}
    try:
        library = Library.open(folder, encoder=load_encoder("offline"))
        library.add_videos(made_up(0, 1))
        store, held, more = Store(library.place), 1, most

        def rows(videos: list[tuple[VideoEntry, list[SegmentEntry]]]) -> list[dict[str, Any]]:
            return [row for entry, segments in videos for row in segment_rows(entry, segments)]

        def timed(work: Any) -> float:
            start = time.perf_counter()
            work()
            return time.perf_counter() - start

        for size in (size for size in (1_000, 10_000, 100_000, 1_000_000) if size <= most):
            while held < size:
                count = min(BLOCK, size - held)
                store.add(rows(made_up(held, count)))
                held += count
            store.tidy()
            taken: dict[str, list[float]] = {"rows": [], "fragments": [], "replacing": []}
            for _ in range(ROUNDS):
                new, other = rows(made_up(more, 10, "r")), rows(made_up(more, 10, "f"))
                taken["rows"].append(timed(lambda new=new: store.add(new)))
                pieces = write_rows(store.segments_place(), other)
                taken["fragments"].append(timed(lambda pieces=pieces: store.add_fragments(pieces, replaced=[])))
                pieces = write_rows(store.segments_place(), other[:1])
                gone = [other[0]["video_id"]]
                taken["replacing"].append(
                    timed(lambda pieces=pieces, gone=gone: store.add_fragments(pieces, replaced=gone))
                )
                more += 10
            found[str(size)] = {name: statistics.median(times) for name, times in taken.items()}
            told = ", ".join(f"{name} {1000 * seconds:.0f} ms" for name, seconds in found[str(size)].items())
            print(f"{size:9,} videos: a commit of {told}", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--videos", type=int, default=100_000)
    asked = parser.parse_args()
    save("scale", {"indexing": indexing(asked.folder), "commit_seconds": commits(asked.videos)})


if __name__ == "__main__":
    main()
