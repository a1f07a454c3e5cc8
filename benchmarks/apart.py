"""What it costs to decode in processes of their own: frames a second of ``extract`` with them and without, in turns.

    python benchmarks/apart.py FOLDER [--rounds 5] [--every-frame]

Without them the threads of ``wordframe.extraction`` decode by ``open_frames`` themselves; all else is the same, and so
are the features, which is checked. Each round extracts FOLDER both ways, the order changing from round to round, with
processes that are there already, as in all but the first second of a run. Ratios are medians over the rounds: by the
clock, and by core-seconds of this process and its decoders, for which other work on the machine counts less. The last
line is what a process costs to be started.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import psutil
import torch
from results import save

from wordframe.cores import usable_cores
from wordframe.encoders import Encoder, load_encoder
from wordframe.extraction import Chunk, Job, extract
from wordframe.library import find_videos, small_picture
from wordframe.video import end_idle_decoders, index_times, open_frames, open_frames_apart


class InThreads:
    """What stands in for ``Decoders``: the calling thread decodes."""

    def open_frames(self, path: str, times: Any, **options: Any) -> Any:
        return open_frames(path, times, **options)

    def close(self) -> None:
        pass


@contextlib.contextmanager
def in_threads() -> Iterator[None]:
    """Within it ``extract`` starts no processes."""
    with mock.patch("wordframe.extraction.pipeline.Decoders", InThreads):
        yield


def core_seconds() -> float:
    """Of this process and of its decoders."""
    times = [process.cpu_times() for process in (psutil.Process(), *psutil.Process().children())]
    return sum(each.user + each.system for each in times)


def measure(jobs: list[Job], encoder: Encoder, *, reuse: bool) -> tuple[dict[str, float], dict[tuple[str, int], Any]]:
    """One extraction: its cost, and features by video and chunk."""
    for _ in extract(jobs[: usable_cores()], encoder, times=lambda info: [0.0]):  # starts the processes
        pass
    wall, core = time.perf_counter(), core_seconds()
    features, count = {}, 0
    for result in extract(jobs, encoder, times=index_times, keep=small_picture, reuse=reuse):
        if isinstance(result, Chunk):
            features[result.key, result.index] = result.features
            count += len(result.features)
    wall, core = time.perf_counter() - wall, core_seconds() - core
    end_idle_decoders()
    return {"frames": count, "seconds": wall, "core_seconds": core}, features


def started_seconds(path: str) -> tuple[float, float]:
    """Of a first frame by a new process, and by one that is there."""
    taken = []
    for _ in range(2):
        start = time.perf_counter()
        with open_frames_apart(path, [0.0]) as frames:
            list(frames)
        taken.append(time.perf_counter() - start)
    end_idle_decoders()
    return taken[0], taken[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--every-frame", action="store_true", help="encode all frames")
    wanted = parser.parse_args()
    encoder = load_encoder("offline")
    encoder.encode_pixels(torch.zeros(40, 3, encoder.short_side, encoder.short_side))  # loads it, and compiles it
    jobs = [Job(file.path, file.path) for file in find_videos([str(wanted.folder.absolute())]).files]
    rounds: list[dict[str, float]] = []
    for number in range(wanted.rounds):
        found = {}
        for apart in (True, False) if number % 2 else (False, True):
            with contextlib.nullcontext() if apart else in_threads():
                found[apart] = measure(jobs, encoder, reuse=not wanted.every_frame)
        (ours, features), (theirs, expected) = found[True], found[False]
        assert features.keys() == expected.keys()
        for key, rows in features.items():
            np.testing.assert_allclose(rows, expected[key], atol=1e-5)  # batches differ, and their last digits
        first, second = started_seconds(jobs[0].path)
        rounds.append(
            {
                "frames": ours["frames"],
                "frames_a_second": ours["frames"] / ours["seconds"],
                "frames_a_core_second": ours["frames"] / ours["core_seconds"],
                "ratio_by_the_clock": theirs["seconds"] / ours["seconds"],
                "ratio_by_core_seconds": theirs["core_seconds"] / ours["core_seconds"],
                "start_seconds": first - second,
            }
        )
        print({key: round(value, 3) for key, value in rounds[-1].items()}, flush=True)
    row = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
    print(
        f"{os.cpu_count()} cores, medians of {wanted.rounds} rounds: {row['frames']:.0f} frames, "
        f"{row['frames_a_second']:.1f} a second, {row['frames_a_core_second']:.1f} a core-second; of what threads do: "
        f"{row['ratio_by_the_clock']:.1%} by the clock, {row['ratio_by_core_seconds']:.1%} by core-seconds\n"
        f"a process is started in {row['start_seconds']:.2f} s"
    )
    save("apart", row)


if __name__ == "__main__":
    main()
