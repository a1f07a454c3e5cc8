"""How near indexing is to its bound: the core-seconds of decoding and encoding, each measured alone, over the cores.

    python benchmarks/indexing.py FOLDER

One run: all videos of FOLDER are decoded alone on one thread (with preprocessing and thumbnails), their frames are
encoded alone on one thread, and then ``Library.index`` does both at once into a new library. Printed: the bound
(decoding + encoding) / cores, the time taken, their ratio, frames a second, and the peak memory of the process.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import torch
from results import save

from wordframe.encoders import load_encoder
from wordframe.errors import VideoError
from wordframe.library import Library
from wordframe.library.files import find_videos
from wordframe.library.indexer import small_picture
from wordframe.video.decode import open_frames
from wordframe.video.sampling import index_times

BATCH = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    cores = os.cpu_count() or 1
    encoder = load_encoder("offline")
    torch.set_num_threads(1)
    frames: list[torch.Tensor] = []
    started = time.perf_counter()
    for file in find_videos([folder]).files:
        try:
            with open_frames(file.path, index_times, short_side=encoder.short_side) as stream:
                for frame in stream:
                    frames.append(encoder.preprocess(frame.rgb[None])[0])
                    small_picture(frame)
        except VideoError as error:
            print(f"left out: {error}")
    decoding = time.perf_counter() - started
    encoder.encode_pixels(torch.stack(frames[:BATCH]))  # loads the weights
    started = time.perf_counter()
    for first in range(0, len(frames), BATCH):
        encoder.encode_pixels(torch.stack(frames[first : first + BATCH]))
    encoding = time.perf_counter() - started
    count = len(frames)
    del frames
    torch.set_num_threads(cores)
    with tempfile.TemporaryDirectory() as place:
        started = time.perf_counter()
        summary = Library.open(Path(place) / "library", encoder=encoder).index([folder])
        taken = time.perf_counter() - started
    bound = (decoding + encoding) / cores
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(summary.indexed)} videos, {count} frames, {cores} cores")
    print(f"decoding alone {decoding:.2f} s, encoding alone {encoding:.2f} s → bound {bound:.2f} s")
    print(f"indexing {taken:.2f} s: {100 * bound / taken:.0f} % of the bound, {count / taken:.0f} frames a second")
    print(f"peak memory {peak:.0f} MB, with all decoded frames of the first two steps")
    save(
        "indexing",
        {
            "videos": len(summary.indexed),
            "frames": count,
            "decoding_core_seconds": decoding,
            "encoding_core_seconds": encoding,
            "bound_seconds": bound,
            "indexing_seconds": taken,
            "share_of_bound": bound / taken,
        },
    )


if __name__ == "__main__":
    main()
