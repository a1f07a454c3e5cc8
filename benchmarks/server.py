"""How a server holds up under eight clients that search, and how quick everything else stays meanwhile.

    python benchmarks/server.py [--segments 10000] [--requests 20000] [--clients 8]

``wordframe serve`` runs as a process of its own on the library of ``search_latency.py``, with one file of 256 MiB
beside it whose segments have pictures. The clients search as fast as they are answered; meanwhile another process asks,
every 20 ms in turn, for health, a picture and the first 64 KiB of a random range of the file. Printed: percentiles of
each, errors, and the memory of the server's process before, half-way and after. Wanted: searches p99 below 1 s, health
and pictures p99 below 50 ms, the first byte of a range p99 below 100 ms, no error, and memory that stays as it is.
"""

from __future__ import annotations

import argparse
import io
import itertools
import multiprocessing
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

import httpx
import numpy as np
import psutil
from PIL import Image
from results import save
from search_latency import made_up_library

from wordframe.client import Client
from wordframe.library import Library, SegmentEntry, VideoEntry
from wordframe.search import plain_sentences

FILE_BYTES = 256 * 2**20
RANGE_BYTES = 64 * 1024
PAUSE_SECONDS = 0.02
SENTENCES = 700
WANTED_MS = {"search": 1000, "health": 50, "thumbnail": 50, "media": 100}
VIDEO_ID = "a-real-file"


def add_file(library: Library, path: Path, duration_seconds: int) -> None:
    """A file that can be served, as a video of made-up segments of eight seconds with a picture each."""
    chance = np.random.default_rng(0)
    status = path.stat()
    entry = VideoEntry(
        VIDEO_ID, str(path), status.st_size, status.st_mtime_ns, "of-the-file", float(duration_seconds), 640, 360,
        "h264", "mp4", None, duration_seconds // 8,
    )  # fmt: skip
    dimension = library.manifest.dimension
    segments = []
    for start in range(0, duration_seconds, 8):
        frames = chance.standard_normal((8, dimension)).astype(np.float32)
        seconds = np.arange(8, dtype=np.float32) + start
        segments.append(SegmentEntry(start, start + 8, frames.astype(np.float16), seconds, frames[:1], picture(chance)))
    library.add_videos([(entry, segments)])


def picture(chance: np.random.Generator) -> bytes:
    """A JPEG of the size that indexing makes."""
    small = Image.fromarray(chance.integers(0, 255, (18, 32, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    small.resize((256, 144), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


@contextmanager
def served(library: Path) -> Iterator[tuple[str, psutil.Process]]:
    """``wordframe serve`` on a free port."""
    command = [sys.executable, "-m", "wordframe", "serve", "--library", str(library), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+:\d+", process.stdout.readline())
            assert found is not None, "the server did not start"
            yield found[0], psutil.Process(process.pid)
        finally:
            process.terminate()


def search_all(url: str, clients: int, requests: int, done: Event) -> tuple[list[float], int]:
    """Milliseconds of each of ``requests`` searches by ``clients`` at once, and how many failed."""
    taken: list[float] = []
    failed = []
    left = itertools.islice(itertools.cycle(plain_sentences(SENTENCES)), requests)
    lock = threading.Lock()

    def work() -> None:
        with Client(url) as client:
            while True:
                with lock:
                    sentence = next(left, None)
                if sentence is None:
                    return
                began = time.perf_counter()
                try:
                    client.search(sentence)
                except Exception as error:
                    failed.append(error)
                taken.append(1000 * (time.perf_counter() - began))

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    return taken, len(failed)


def probe(url: str, done: Event) -> tuple[dict[str, list[float]], int]:
    """Milliseconds of health, pictures and first bytes of ranges until ``done``, and how many failed."""
    taken: dict[str, list[float]] = {"health": [], "thumbnail": [], "media": []}
    failed = 0
    chance = random.Random(0)
    with httpx.Client(base_url=url, trust_env=False) as client:
        asks: dict[str, Callable[[], tuple[str, dict[str, str]]]] = {
            "health": lambda: ("/api/v1/health", {}),
            "thumbnail": lambda: (f"/api/v1/segments/{VIDEO_ID}-{chance.randrange(10):05d}/thumbnail", {}),
            "media": lambda: (f"/api/v1/videos/{VIDEO_ID}/media", {"Range": a_range(chance)}),
        }
        while not done.is_set():
            for name, ask in asks.items():
                path, headers = ask()
                began = time.perf_counter()
                with client.stream("GET", path, headers=headers) as answer:
                    blocks = answer.iter_raw()
                    first = next(blocks, b"")
                    taken[name].append(1000 * (time.perf_counter() - began))
                    failed += not first or answer.status_code not in (200, 206)
                    for _ in blocks:  # the rest, so that the connection can be used again
                        pass
            time.sleep(PAUSE_SECONDS)
    return taken, failed


def a_range(chance: random.Random) -> str:
    start = chance.randrange(FILE_BYTES - RANGE_BYTES)
    return f"bytes={start}-{start + RANGE_BYTES - 1}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--clients", type=int, default=8)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "file.mp4"
        file.write_bytes(np.random.default_rng(0).bytes(FILE_BYTES))
        add_file(made_up_library(folder / "library", wanted.segments), file, 80)
        with served(folder / "library") as (url, process):
            figures = measure(url, process, wanted.clients, wanted.requests)
    save("server", {"segments": wanted.segments, "clients": wanted.clients, "requests": wanted.requests, **figures})


def measure(url: str, process: psutil.Process, clients: int, requests: int) -> dict[str, object]:
    """All figures, printed."""
    spawn = multiprocessing.get_context("spawn")
    memory = []
    taken: dict[str, list[float]] = {}
    errors = 0
    with spawn.Manager() as manager, spawn.Pool(2) as pool:
        halves = [100, (requests + 1) // 2, requests // 2]  # the first hundred warm up
        for half, count in enumerate(halves):
            done = manager.Event()
            probing = pool.apply_async(probe, (url, done))
            searched, failed = pool.apply(search_all, (url, clients, count, done))
            probed, failed_probes = probing.get()
            memory.append(process.memory_info().rss / 2**20)
            errors += failed + failed_probes
            if half:
                for name, values in ({"search": searched} | probed).items():
                    taken.setdefault(name, []).extend(values)
    figures: dict[str, object] = {"errors": errors, "memory_mib": [round(each, 1) for each in memory]}
    for name, values in taken.items():
        median, p99 = np.median(values), np.percentile(values, 99)
        told = "reached" if p99 < WANTED_MS[name] else "MISSED"
        print(
            f"{name:<9} {len(values):6d} requests: median {median:7.1f} ms, p99 {p99:7.1f} ms "
            f"(wanted below {WANTED_MS[name]}: {told})"
        )
        figures[name] = {"requests": len(values), "median_ms": median, "p99_ms": p99}
    print(f"errors: {errors}")
    print("memory of the server: " + ", ".join(f"{each:.0f} MiB" for each in memory) + " (warm, half-way, at the end)")
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")
    figures["load"] = os.getloadavg()[0]
    return figures


if __name__ == "__main__":
    main()
