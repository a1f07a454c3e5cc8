"""Searches side by side: throughput of one thread and of two, and twenty in flight while an index runs.

    python benchmarks/concurrency.py [--against CHECKOUT] [--segments 10000] [--queries 300] [--clips FOLDER]

A library of made-up features as in ``search_latency.py``; queries are sentences, encoded each time. With ``--against``
another checkout of wordframe does the same in turn, with its own code (any since its benchmarks have
``search_latency.py``), and the ratios are printed: its figures first, then ours, twice, the better round of each.
While the index runs, videos are added to the library that is searched: those of ``--clips``, or eight made-up films.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parents[1]
IN_FLIGHT = 20
FILMS, FILM_SECONDS = 8, 20
FIGURES = ("one_thread_per_second", "two_threads_per_second", "two_threads_p99_ms", "while_indexing_p99_ms")


def films(folder: Path) -> Path:
    """Short videos of moving stripes."""
    import av

    folder.mkdir()
    for number in range(FILMS):
        with av.open(str(folder / f"{number}.mp4"), "w") as container:
            stream = container.add_stream("h264", rate=10, options={"preset": "ultrafast"})
            stream.width, stream.height = 320, 240
            for place in range(FILM_SECONDS * 10):
                ramp = np.arange(320, dtype=np.uint8)[None, :, None] * (1 + number) + place
                frame = av.VideoFrame.from_ndarray(np.broadcast_to(ramp, (240, 320, 3)).astype(np.uint8).copy())
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return folder


def searched(search: Callable[[str], Any], sentences: list[str], threads: int) -> tuple[float, list[float], list[str]]:
    """Searches a second, the milliseconds of each, and what was raised."""
    times: list[float] = []
    errors: list[str] = []

    def ask(sentence: str) -> None:
        started = time.perf_counter()
        try:
            search(sentence)
        except Exception as error:  # what a benchmark of errors is there to count
            errors.append(repr(error))
        times.append(1000 * (time.perf_counter() - started))

    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(ask, sentences))
    return len(sentences) / (time.perf_counter() - started), times, errors


def measure(segments: int, queries: int, clips: Path | None) -> dict[str, Any]:
    """All figures of the wordframe that this process imports."""
    from search_latency import made_up_library

    from wordframe.search import (
        SearchEngine,
        plain_sentences,  # where earlier versions have it, too
    )

    with tempfile.TemporaryDirectory() as place:
        library = made_up_library(Path(place) / "library", segments)
        engine = SearchEngine(library)
        sentences = plain_sentences(queries)
        searched(engine.search, sentences[:30], 2)  # loads the encoder, reads the index
        alone, _, _ = searched(engine.search, sentences, 1)
        together, two_times, errors = searched(engine.search, sentences, 2)
        found: dict[str, Any] = {
            "one_thread_per_second": alone,
            "two_threads_per_second": together,
            "two_threads_p99_ms": float(np.percentile(two_times, 99)),
        }
        videos = clips or films(Path(place) / "films")
        over = threading.Event()

        def index() -> None:
            try:
                library.index([videos])
            finally:
                over.set()

        running = threading.Thread(target=index)
        running.start()
        times: list[float] = []
        rate, rounds = 0.0, 0
        while not over.is_set():
            some, some_times, some_errors = searched(engine.search, sentences[: 3 * IN_FLIGHT], IN_FLIGHT)
            rate, rounds = rate + some, rounds + 1
            times += some_times
            errors += some_errors
        running.join()
        found |= {
            "while_indexing_per_second": rate / max(rounds, 1),
            "while_indexing_p99_ms": float(np.percentile(times, 99)),
            "while_indexing_searches": len(times),
            "errors": len(errors),
            "first_error": errors[0] if errors else None,
        }
    return found


def in_process(checkout: Path, arguments: list[str]) -> dict[str, Any]:
    """The figures of a checkout, measured by this program in a process that imports its code."""
    path = os.pathsep.join([str(checkout / "src"), str(checkout / "benchmarks")])
    command = [sys.executable, "-P", __file__, "--measure", *arguments]  # -P: not our own benchmarks first
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def best(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The better round of each figure; all errors."""
    found = {name: (max if name.endswith("per_second") else min)(one[name] for one in rounds) for name in FIGURES}
    found["while_indexing_per_second"] = max(one["while_indexing_per_second"] for one in rounds)
    found["errors"] = sum(one["errors"] for one in rounds)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="another checkout of wordframe")
    parser.add_argument("--segments", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.measure:
        print(json.dumps(measure(wanted.segments, wanted.queries, wanted.clips)))
        return
    from results import save

    arguments = ["--segments", str(wanted.segments), "--queries", str(wanted.queries)]
    arguments += ["--clips", str(wanted.clips.resolve())] if wanted.clips else []
    checkouts = [*([wanted.against.resolve()] if wanted.against else []), HERE]
    rounds: dict[Path, list[dict[str, Any]]] = {checkout: [] for checkout in checkouts}
    for _ in range(2):
        for checkout in checkouts:
            rounds[checkout].append(in_process(checkout, arguments))
    found = {"ours": best(rounds[HERE])}
    if wanted.against:
        found["against"] = best(rounds[checkouts[0]])
    for name, figures in found.items():
        print(f"{name:8}" + "  ".join(f"{key} {value:.1f}" for key, value in figures.items()))
    ours = found["ours"]
    print(f"two threads: {ours['two_threads_per_second'] / ours['one_thread_per_second']:.2f} times one")
    if wanted.against:
        ratios = {name: ours[name] / found["against"][name] for name in FIGURES}
        print("ours / against: " + "  ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()))
    save("concurrency", {"segments": wanted.segments, **found})


if __name__ == "__main__":
    main()
