"""How near indexing is to its bound: the core-seconds of decoding and encoding, each measured alone, over the cores.

    python benchmarks/indexing.py FOLDER [--rounds 3]

Each round, in this order: all videos of FOLDER are decoded on one thread (with preprocessing and thumbnails), their
frames are encoded on one thread, and ``Library.index`` does both at once into a new library. Printed: medians over the
rounds of the processor time of the first two, of the bound (decoding + encoding) / cores, of the wall time of the
third, and of the bound's share of it. Above 100 % means that two cores at work are each faster than one alone, which
shared machines do.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
from results import save

from wordframe.encoders import Encoder, load_encoder
from wordframe.errors import VideoError
from wordframe.library import Library, find_videos, small_picture
from wordframe.video import index_times, open_frames

BATCH = 8


def decode(folder: Path, encoder: Encoder) -> list[torch.Tensor]:
    """All frames that indexing would encode, as pixels."""
    frames = []
    for file in find_videos([folder]).files:
        try:
            with open_frames(file.path, index_times, short_side=encoder.short_side) as stream:
                for frame in stream:
                    frames.append(encoder.preprocess(frame.rgb[None])[0])
                    small_picture(frame)
        except VideoError as error:
            print(f"left out: {error}")
    return frames


def measure(folder: Path, encoder: Encoder, cores: int) -> dict[str, float]:
    """One round."""
    torch.set_num_threads(1)
    start = time.process_time()
    frames = decode(folder, encoder)
    decoded = time.process_time()
    for first in range(0, len(frames), BATCH):
        encoder.encode_pixels(torch.stack(frames[first : first + BATCH]))
    encoded = time.process_time()
    torch.set_num_threads(cores)
    with tempfile.TemporaryDirectory() as place:
        library = Library.open(Path(place) / "library", encoder=encoder)
        started = time.perf_counter()
        library.index([folder])
        taken = time.perf_counter() - started
    bound = (encoded - start) / cores
    return {
        "frames": len(frames),
        "decoding_core_seconds": decoded - start,
        "encoding_core_seconds": encoded - decoded,
        "bound_seconds": bound,
        "indexing_seconds": taken,
        "share_of_bound": bound / taken,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    cores = os.cpu_count() or 1
    encoder = load_encoder("offline")
    encoder.encode_pixels(torch.zeros(1, 3, encoder.short_side, encoder.short_side))  # loads the weights
    rounds = [measure(wanted.folder, encoder, cores) for _ in range(wanted.rounds)]
    figures = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    print(f"{figures['frames']:.0f} frames, {cores} cores, medians of {wanted.rounds} rounds")
    print(
        f"decoding {figures['decoding_core_seconds']:.2f} core-seconds, encoding "
        f"{figures['encoding_core_seconds']:.2f} → bound {figures['bound_seconds']:.2f} s"
    )
    print(
        f"indexing {figures['indexing_seconds']:.2f} s, {figures['frames'] / figures['indexing_seconds']:.0f} frames a "
        f"second: {100 * figures['share_of_bound']:.0f} % of the bound "
        f"(rounds: {', '.join(format(one['share_of_bound'], '.0%') for one in rounds)})"
    )
    save("indexing", figures)


if __name__ == "__main__":
    main()
