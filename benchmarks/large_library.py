"""The index on disk of a large library: what it finds, what it costs, and what grows with the library.

    python benchmarks/large_library.py [--segments 1000 1000000] [--queries 100] [--share 0.75] [--keep FOLDER]

The made-up world of ``two_stage.py``, with the three scenes of a segment as its frames, at 7.5 GB a million segments;
``--share 0.75`` is the hard one, 1.5 the easy one. Every library is given the index on disk, whatever its size.

Printed: how long that took and how large it is; the share of the exact top 10 (every scene compared in float32) within
300 candidates, and the median of a look, for codes alone and with twice and four times as many rows compared exactly;
the memory of the process; how long each look-up takes, and its ratio between the largest library and the smallest.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from results import save
from two_stage import BLOCK, SCENES, TOP, Best, D, NoEncoder, World, places

from wordframe.library import Effort, Library, SegmentEntry, Snapshot, VideoEntry, ids_clause

CANDIDATES = 300
TIMES = 9
VIDEOS_A_COMMIT = 20_000


def build(folder: Path, world: World, num_queries: int) -> tuple[Library, Any, Any]:
    """The library, queries ``(T, D)`` and numbers of the exact best videos ``(T, 10)``; what is there already stays."""
    library = Library.open(folder / "library", encoder=NoEncoder())
    answers = folder / "truth.npz"
    if not answers.exists():
        sentence = world.queries(num_queries).sentence
        best = Best(num_queries, TOP)
        waiting: list[tuple[VideoEntry, list[SegmentEntry]]] = []
        for start in world.starts():
            scenes = world.scenes(start)
            flat = sentence @ torch.from_numpy(scenes).flatten(0, 1).T
            best.add(flat.unflatten(1, (len(scenes), SCENES)).amax(dim=2), start)
            waiting += [video(number, vectors) for number, vectors in enumerate(scenes, start)]
            if len(waiting) >= VIDEOS_A_COMMIT or start + BLOCK >= world.count:
                library.add_videos(waiting)
                waiting = []
        np.savez(answers, truth=best.columns.numpy(), sentence=sentence.numpy())
    kept = np.load(answers)
    return library, kept["sentence"], kept["truth"]


def video(number: int, scenes: Any) -> tuple[VideoEntry, list[SegmentEntry]]:
    path, content = f"/{number % 1000}/{number}.mp4", f"{number:032x}"
    entry = VideoEntry(f"{number:09d}", path, 1, 1, content, 12.0, 640, 360, "h264", "mp4", None, 1)
    seconds = np.arange(SCENES, dtype=np.float32)
    return entry, [SegmentEntry(0.0, 12.0, scenes.astype(np.float16), seconds, scenes, b"")]


def found_by(snapshot: Snapshot, queries: Any, truth: Any) -> list[dict[str, float]]:
    """Share found and median of a look, for each number of rows compared exactly."""
    index = snapshot.disk_index
    assert index is not None
    rows = []
    for refine in (1, 2, 4):
        shares, times = [], []
        for query, exact in zip(queries, truth, strict=True):
            started = time.perf_counter()
            listed = index.by(Effort(refine=refine)).nearest(query, CANDIDATES)
            times.append(1000 * (time.perf_counter() - started))
            numbers = [int(fact.video_id) for fact in snapshot.facts(listed)]
            shares.append(np.isin(exact, numbers).mean())
        row = {"refine": refine, "share": float(np.mean(shares)), "first_ms": times[0]}
        rows.append(row | {"median_ms": float(np.median(times))})
        print("  " + "  ".join(f"{name} {value:,.4g}" for name, value in rows[-1].items()), flush=True)
    return rows


def look_ups(folder: Path, snapshot: Snapshot) -> dict[str, float]:
    """Median milliseconds of what requests ask for beside the scan."""
    middle = snapshot.num_segments // 2
    name = f"{middle:09d}"
    content = ids_clause("content_hash", [f"{middle:032x}"])
    asked: dict[str, Callable[[], object]] = {
        "a segment by id": lambda: snapshot.segment_row(f"{name}-00000"),
        "a video by id": lambda: snapshot.video(name),
        "rows of a video": lambda: snapshot.video_rows(name),
        "copies of a file": lambda: snapshot.videos(content),
        "neighbours": lambda: snapshot.around([middle], 2),
        "a new version": lambda: Library.open(folder, encoder=NoEncoder()).snapshot().num_segments,
    }
    return {each: median_ms(ask) for each, ask in asked.items()}


def median_ms(ask: Callable[[], object]) -> float:
    times = []
    for _ in range(TIMES):
        started = time.perf_counter()
        ask()
        times.append(1000 * (time.perf_counter() - started))
    return float(np.median(times))


def measured(folder: Path, world: World, num_queries: int) -> dict[str, Any]:
    library, queries, truth = build(folder, world, num_queries)
    before = psutil.Process().memory_info().rss
    started = time.perf_counter()
    library.tidy(large_from=1)
    print(
        f"\n{world.count:,} segments, share {world.share:g}: made in {time.perf_counter() - started:.0f} s", flush=True
    )
    snapshot = library.snapshot()
    found = found_by(snapshot, queries, truth)
    more = (psutil.Process().memory_info().rss - before) / 1e6
    print(f"  {more:,.0f} MB more memory than before it was made", flush=True)
    return {"segments": world.count, "found": found, "memory_mb": more, "ms": look_ups(library.folder, snapshot)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, nargs="+", default=[1000, 1_000_000])
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--share", type=float, default=0.75)
    parser.add_argument("--keep", type=Path)
    wanted = parser.parse_args()
    worlds = [World(count, wanted.share) for count in wanted.segments]
    folders = places(wanted.keep, [f"large_{world.count}_{world.share:g}" for world in worlds])
    figures = [measured(place, world, wanted.queries) for place, world in zip(folders, worlds, strict=True)]
    print("\nms in each, and the last by the first")
    for name, first in figures[0]["ms"].items():
        times = [each["ms"][name] for each in figures]
        print(f"{name:>18} " + "  ".join(f"{value:8.1f}" for value in times) + f"  {times[-1] / first:6.2f}")
    save(f"large_library_{wanted.share:g}", {"dimension": D, "share": wanted.share, "libraries": figures})


if __name__ == "__main__":
    main()
