"""What cached frames cost: size on disk, error of the features, and time to read against decoding, in one run.

    python benchmarks/frame_cache.py FOLDER [--encoder offline] [--videos N]

Each video gives at most 12 frames, one a second, at the short side the encoder wants. ``feature error`` is one minus
the cosine between the feature of the cached frame and that of the decoded one; for scale, the last line gives that
between neighbouring frames of a video. ``reading`` is from a file that the system has in memory, as in training's later
epochs. ``quality by rule`` is the last quality on the way up at which the error still falls by a larger share than the
size grows; the default of ``wordframe cache frames`` was chosen by it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from results import save
from torch import Tensor
from torch.nn import functional as F

from wordframe.data import QUALITY, FrameCache, FrameSettings, build_frame_cache, read_sampled
from wordframe.encoders import Encoder, load_encoder
from wordframe.video import VIDEO_SUFFIXES

QUALITIES = (75, 85, 90, 95, 98, None)
NUM_FRAMES = 12


def distance(a: Tensor, b: Tensor) -> Tensor:
    """One minus the cosine, row by row."""
    return 1 - F.cosine_similarity(a.double(), b.double(), dim=-1)


def measure(
    quality: int | None, videos: dict[str, Path], features: dict[str, Tensor], encoder: Encoder, folder: Path
) -> dict[str, Any]:
    """The figures of one quality."""
    settings = FrameSettings(num_frames=NUM_FRAMES, short_side=encoder.short_side, quality=quality)
    build_frame_cache(folder, videos, settings)
    cache = FrameCache.open(folder)
    read = {video: cache.read(video, NUM_FRAMES) for video in videos}
    started = time.perf_counter()
    for video in videos:
        cache.read(video, NUM_FRAMES)
    seconds = time.perf_counter() - started
    errors = torch.cat([distance(encoder.encode_frames(read[video].rgb), features[video]) for video in videos])
    size = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
    return {
        "quality": "exact" if quality is None else quality,
        "kilobytes_per_frame": round(size / len(errors) / 1024, 1),
        "feature_error_mean": float(f"{max(0.0, errors.mean().item()):.2e}"),
        "feature_error_max": float(f"{max(0.0, errors.max().item()):.2e}"),
        "reading_milliseconds_per_frame": round(1000 * seconds / len(errors), 2),
    }


def quality_by_rule(rows: list[dict[str, Any]]) -> int:
    """The last JPEG quality that takes a larger share of the error than it adds to the size."""
    chosen: int = rows[0]["quality"]
    for before, row in pairwise(row for row in rows if row["quality"] != "exact"):
        growth = row["kilobytes_per_frame"] / before["kilobytes_per_frame"] - 1
        fall = 1 - row["feature_error_mean"] / before["feature_error_mean"]
        if fall <= growth:
            break
        chosen = row["quality"]
    return chosen


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", default="offline")
    parser.add_argument("--videos", type=int, help="how many, spread over the folder (default: all)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = sorted(path for path in arguments.folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    if not found:
        parser.error(f"no videos under {arguments.folder}")
    count = min(arguments.videos or len(found), len(found))
    videos = {str(number): found[number * len(found) // count] for number in range(count)}
    encoder = load_encoder(arguments.encoder)
    started = time.perf_counter()
    decoded = {
        video: read_sampled(path, num_frames=NUM_FRAMES, short_side=encoder.short_side).rgb
        for video, path in videos.items()
    }
    seconds = time.perf_counter() - started
    features = {video: encoder.encode_frames(rgb) for video, rgb in decoded.items()}
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for quality in QUALITIES:
            rows.append(measure(quality, videos, features, encoder, Path(place) / str(quality)))
            print("  ".join(f"{name.replace('_', ' ')} {value}" for name, value in rows[-1].items()), flush=True)
    num_frames = sum(map(len, decoded.values()))
    neighbours = torch.cat([distance(some[1:], some[:-1]) for some in features.values()])
    figures = {
        "videos": len(videos),
        "frames": num_frames,
        "encoder": encoder.name,
        "short_side": encoder.short_side,
        "default_quality": QUALITY,
        "quality_by_rule": quality_by_rule(rows),
        "raw_kilobytes_per_frame": round(sum(rgb.nbytes for rgb in decoded.values()) / num_frames / 1024, 1),
        "decoding_milliseconds_per_frame": round(1000 * seconds / num_frames, 2),
        "error_between_neighbouring_frames": round(neighbours.mean().item(), 3),
        "qualities": rows,
    }
    print("  ".join(f"{name.replace('_', ' ')} {value}" for name, value in figures.items() if name != "qualities"))
    save("frame_cache", figures)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
