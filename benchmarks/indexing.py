"""Frames a core-second of ``wordframe index``, and how near it is to its bound, on several kinds of videos.

    python benchmarks/indexing.py FOLDER [--rounds 3] [--made FOLDER] [--against SRC]

Rows: the videos of FOLDER; a slide lecture and a fixed camera (``still_videos.py``, kept in ``--made``); two of them by
the runtime ``openvino-bfloat16`` as well, where the processor has it; the lecture with ``--every-frame`` and with
``--sampling keyframes``. Each round, for each row: all videos are decoded on one thread (with thumbnails, and
preprocessing of the frames that need encoding), those frames are encoded on one thread, and ``Library.index`` does both
at once into a new library, in a process of its own that has the encoder warm and has indexed a second of black before,
so that what is loaded once does not count.
``--against`` names the ``src`` of another version of this package: it indexes the same videos, in turns with this one.

The bound is (decoding + encoding) / cores, each measured alone; more than 100 % of it means that two cores at work are
each faster than one alone, which shared machines do. Core-seconds are those of the indexing process and of its
decoders, their start included, so that other work on the machine counts for little; memory is the peak of the indexing
process, its decoders left out. All figures are medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from results import load, save
from still_videos import build, write

from wordframe.encoders import BFLOAT16, Encoder, has_bfloat16, load_encoder
from wordframe.errors import VideoError
from wordframe.extraction import Repeats
from wordframe.library import find_videos, small_picture
from wordframe.video import index_times, open_frames, open_keyframes

BATCH = 8
INDEX = """
import json, resource, sys, tempfile, time, torch
from pathlib import Path
from wordframe.encoders import load_encoder
from wordframe.library import Library
encoder = load_encoder("offline", **json.loads(sys.argv[4]))
encoder.encode_pixels(torch.zeros(40, 3, encoder.short_side, encoder.short_side))
def core_seconds():
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)  # and waited for
    return time.process_time() + ended.ru_utime + ended.ru_stime
def end_decoders():
    try:
        from wordframe.video import end_idle_decoders
        end_idle_decoders()
    except ImportError:
        pass
with tempfile.TemporaryDirectory() as place:
    Library.open(place + "/first", encoder=encoder).index([sys.argv[3]])
    library = Library.open(place + "/library", encoder=encoder)
    end_decoders()
    wall, core = time.perf_counter(), core_seconds()
    summary = library.index([sys.argv[1]], **json.loads(sys.argv[2]))
    wall = time.perf_counter() - wall
    end_decoders()
    core = core_seconds() - core
# not ru_maxrss, which is at least the size of the process that started this one
peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
reused = getattr(summary, "frames_reused", 0)
print(json.dumps({"frames": summary.frames, "seconds_of_video": summary.seconds_of_video, "reused": reused,
                  "indexing_seconds": wall, "indexing_core_seconds": core, "peak_mib": peak}))
"""
"""Works with the versions before this one, too: ``--against`` runs it with theirs."""


def indexed(
    folder: Path, options: dict[str, Any], source: Path | None = None, runtime: str | None = None
) -> dict[str, float]:
    """What ``INDEX`` says of one run, by the package in ``source`` or this one."""
    environment = os.environ | ({} if source is None else {"PYTHONPATH": str(source)})
    with tempfile.TemporaryDirectory() as place:
        first = write(Path(place) / "first.mp4", [np.zeros((64, 64, 3), np.uint8)] * 25)
        loading = {} if runtime is None else {"runtime": runtime}  # versions before this one may know none
        command = [sys.executable, "-c", INDEX, str(folder.absolute()), json.dumps(options), str(first)]
        command.append(json.dumps(loading))
        told = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, float] = json.loads(told.splitlines()[-1])
    return found


def decode(folder: Path, encoder: Encoder, options: dict[str, Any]) -> list[torch.Tensor]:
    """All frames that indexing would encode, as pixels."""
    found = []
    for file in find_videos([str(folder.absolute())]).files:
        repeats = Repeats(encoder.view)
        try:
            if options.get("sampling") == "keyframes":
                stream = open_keyframes(file.path, short_side=encoder.short_side)
            else:
                stream = open_frames(file.path, index_times, short_side=encoder.short_side)
            with stream:
                for frame in stream:
                    if options.get("every_frame") or not repeats.is_repeat(frame):
                        found.append(encoder.preprocess(frame.rgb[None])[0])
                        small_picture(frame)
        except VideoError as error:
            print(f"left out: {error}")
    return found


def measure(folder: Path, options: dict[str, Any], encoder: Encoder, against: Path | None) -> dict[str, float]:
    """One round of one row."""
    torch.set_num_threads(1)
    start = time.process_time()
    frames = decode(folder, encoder, options)
    decoded = time.process_time()
    for first in range(0, len(frames), BATCH):
        encoder.encode_pixels(torch.stack(frames[first : first + BATCH]))
    encoded = time.process_time()
    found = indexed(folder, options, runtime=encoder.runtime)
    bound = (encoded - start) / (os.cpu_count() or 1)
    found |= {
        "decoding_core_seconds": decoded - start,
        "encoding_core_seconds": encoded - decoded,
        "bound_seconds": bound,
        "share_of_bound": bound / found["indexing_seconds"],
        "frames_per_core_second": found["frames"] / found["indexing_core_seconds"],
        "share_reused": found["reused"] / found["frames"],
    }
    if against is not None:
        # the version before knows none of the options: it does what it does with these videos
        before = indexed(folder, {}, against)
        found |= {
            "before_frames_per_core_second": before["frames"] / before["indexing_core_seconds"],
            "before_peak_mib": before["peak_mib"],
            "times_faster": before["indexing_core_seconds"] / found["indexing_core_seconds"],
            "times_faster_by_the_clock": before["indexing_seconds"] / found["indexing_seconds"],
        }
    return found


def show(name: str, row: dict[str, float]) -> None:
    """One row, the comparison behind it."""
    print(
        f"{name:24} {row['frames']:6.0f} frames, {row['share_reused']:4.0%} reused: decoding "
        f"{row['decoding_core_seconds']:6.2f} + encoding {row['encoding_core_seconds']:6.2f} core-s, bound "
        f"{row['bound_seconds']:6.2f} s, indexing {row['indexing_seconds']:6.2f} s = {row['share_of_bound']:4.0%}; "
        f"{row['frames_per_core_second']:6.1f} frames a core-second, {row['peak_mib']:5.0f} MiB",
        end="",
    )
    if "times_faster" in row:
        print(
            f"; before {row['before_frames_per_core_second']:.1f} and {row['before_peak_mib']:.0f} MiB: "
            f"{row['times_faster']:.2f} times as fast, by the clock {row['times_faster_by_the_clock']:.2f}",
            end="",
        )
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--made", type=Path, help="where the made videos are, or are kept (default: nowhere)")
    parser.add_argument("--seconds", type=int, default=300, help="their length")
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="some rows only; the others stay as kept")
    parser.add_argument("--against", type=Path, help="src folder of another version")
    wanted = parser.parse_args()
    encoders = {name: load_encoder("offline", runtime=name) for name in ("auto", BFLOAT16)[: 1 + has_bfloat16()]}
    for encoder in encoders.values():
        encoder.encode_pixels(torch.zeros(40, 3, encoder.short_side, encoder.short_side))  # loads it, and compiles it
    rounds: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as place:
        lecture, camera = build(wanted.made or Path(place), wanted.seconds)
        for _ in range(wanted.rounds):
            for name, (runtime, folder, options) in {
                "clips": ("auto", wanted.folder, {}),
                "clips, bfloat16": (BFLOAT16, wanted.folder, {}),
                "lecture": ("auto", lecture, {}),
                "fixed camera": ("auto", camera, {}),
                "fixed camera, bfloat16": (BFLOAT16, camera, {}),
                "lecture, every frame": ("auto", lecture, {"every_frame": True}),
                "lecture, keyframes": ("auto", lecture, {"sampling": "keyframes"}),
            }.items():
                if runtime in encoders and (not wanted.rows or name in wanted.rows):
                    row = measure(folder, options, encoders[runtime], wanted.against)
                    rounds.setdefault(name, []).append(row)
    rows = {
        name: {key: statistics.median(one[key] for one in ones) for key in ones[0]} for name, ones in rounds.items()
    }
    print(f"{os.cpu_count()} cores, medians of {wanted.rounds} rounds; made films of {wanted.seconds} s")
    for name, row in rows.items():
        show(name, row)
    kept = (load("indexing") if wanted.rows else None) or {"rows": {}}
    save("indexing", {"rows": kept["rows"] | rows, "made_seconds": wanted.seconds})


if __name__ == "__main__":
    main()
