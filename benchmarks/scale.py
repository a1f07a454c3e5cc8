"""What indexing on many machines costs beside indexing here, and a commit as the library grows.

    python benchmarks/scale.py FOLDER [--videos 100000] [--rounds 3]

Part one indexes the videos of a folder with the offline encoder: here; by two commands at once, each with half of the
cores and every other video; by one actor with all cores of the machine; by two with half of them each. A quarter of the
videos is indexed in the same way before and taken off, and with it whatever starts once: Ray, each actor, its encoder
and what that compiles. What is compared is what grows with the archive: core-seconds and seconds, as shares of those
here. Two commands at once show what the machine takes of two encoders that share its memory, without any of ours. The
core-seconds of Ray's own processes, which grow with seconds and not with videos, are told apart: on a machine that
others use they are what is measured most. All ways take their turn in each round, after a run that nobody measures, and
what is told is the median of the rounds.

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


Command = tuple[list[str], set[int] | None]
"""A command, and the cores that it may use."""
RAYS_OWN = ("raylet", "gcs_server", "ray-dashboard", "log_monitor", "monitor.py", "runtime_env", "dashboard_agent")


def measured(commands: list[Command]) -> dict[str, float]:
    """Seconds of commands that run at once, and core-seconds of all processes below them, as last seen of each: ours,
    and Ray's own."""
    start = time.perf_counter()
    processes = [psutil.Popen(command, stdout=subprocess.DEVNULL) for command, _ in commands]
    for process, (_, bound_to) in zip(processes, commands, strict=True):
        if bound_to is not None:
            process.cpu_affinity(sorted(bound_to))
    used: dict[tuple[int, float], float] = {}
    is_rays: dict[tuple[int, float], bool] = {}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            for process in processes:
                try:
                    for each in (process, *process.children(recursive=True)):
                        times = each.cpu_times()
                        known = each.pid, each.create_time()
                        used[known] = times.user + times.system
                        is_rays[known] = any(name in " ".join(each.cmdline()) for name in RAYS_OWN)
                except psutil.Error:  # one ended while it was looked at
                    continue

    watching = threading.Thread(target=watch)
    watching.start()
    statuses = [process.wait() for process in processes]
    over.set()
    watching.join()
    if any(statuses):
        raise SystemExit(f"failed with status {statuses}: {commands}")
    ours = sum(seconds for known, seconds in used.items() if not is_rays.get(known))
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "core_seconds": ours, "rays_core_seconds": sum(used.values()) - ours}


def commands_of(way: str, videos: list[Path], place: Path) -> list[Command]:
    """What indexes videos in one of the ways."""
    cores = sorted(os.sched_getaffinity(0))
    half = max(1, len(cores) // 2)

    def index(some: list[Path], name: str, *options: str) -> list[str]:
        library = ["--library", str(place / name)]
        return [sys.executable, "-m", "wordframe", "index", *map(str, some), *library, *options]

    if way == "here":
        return [(index(videos, "library"), None)]
    if way == "two at once":
        return [(index(videos[i::2], str(i)), set(cores[i * half : (i + 1) * half])) for i in range(2)]
    actors = 1 if way == "one actor" else 2
    asked = ["--ray", "local", "--ray-actors", str(actors), "--ray-cores", str(max(1, len(cores) // actors))]
    return [(index(videos, "library", *asked), None)]


WAYS = ("here", "two at once", "one actor", "two actors")


def indexing(folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Part one: by way of reading, what a run over all videos takes beyond one over a quarter of them."""
    videos = sorted(folder.rglob("*.mp4"))
    in_place("here", videos[::4])  # what compiles once, and files that nobody has read yet
    taken: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for number in range(rounds):
        for way, of_way in taken.items():
            start, whole = in_place(way, videos[::4]), in_place(way, videos)
            of_way.append(
                {f"start_{key}": start[key] for key in start} | {key: whole[key] - start[key] for key in whole}
            )
            print(f"round {number + 1}, {way:12} {of_way[-1]['core_seconds']:7.1f} core-s", flush=True)
    found = {
        way: {key: statistics.median(each[key] for each in of_way) for key in of_way[0]}
        for way, of_way in taken.items()
    }
    for way, figures in found.items():
        all_of_it = figures["core_seconds"] + figures["rays_core_seconds"]
        figures["share_of_here"] = found["here"]["core_seconds"] / figures["core_seconds"]
        figures["share_of_here_with_rays"] = found["here"]["core_seconds"] / all_of_it
        print(
            f"{way:12} {figures['core_seconds']:7.1f} core-s, {figures['seconds']:6.1f} s beyond a quarter's "
            f"{figures['start_core_seconds']:.1f} core-s; efficiency {figures['share_of_here']:.2f}, with Ray's own "
            f"{figures['share_of_here_with_rays']:.2f}",
            flush=True,
        )
    return found


def in_place(way: str, videos: list[Path]) -> dict[str, float]:
    """What it takes to index videos in one of the ways, into a library that is thrown away."""
    with tempfile.TemporaryDirectory() as place:
        return measured(commands_of(way, videos, Path(place)))


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
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    save("scale", {"indexing": indexing(asked.folder, asked.rounds), "commit_seconds": commits(asked.videos)})


if __name__ == "__main__":
    main()
