"""How long a frame takes a core in each runtime, the runtimes taking turns, and how equal their features are.

    python benchmarks/runtime.py [CLIPS] [--towers offline clip-b32 clip-b16] [--rounds 15]

Where CLIPS has ``captions.json``, ``average`` of ``offline_encoder.py`` by each runtime's frame features as well, and
what it gains over torch's, with the 95 % interval of a paired bootstrap over videos, and how far features moved.

One thread, by the processor's own clock, so that other work on the machine counts for little; what is left of it falls
on both alike, since they take turns, and the ratio is the median of the rounds' ratios. ``offline`` is the shipped
encoder, on frames of CLIPS (on noise without it); clip-b32 and clip-b16 are CLIP's image towers (Radford et al., ICML
2021) with random weights, since the time does not depend on them. Beside it: what else an encoder does with a frame
(resizing, cutting, scaling), and core-seconds to the first frame and peak memory of a new process.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from offline_encoder import gained, per_video, sampled
from results import save

from wordframe.data import match_videos, read_captions
from wordframe.encoders import (
    BFLOAT16,
    ClipBackbone,
    ClipEncoder,
    Encoder,
    OfflineEncoder,
    Preprocessing,
    has_bfloat16,
)
from wordframe.evaluate import both_ranks
from wordframe.features import VideoFeatures
from wordframe.heads import ZeroShotAttention
from wordframe.library import find_videos
from wordframe.video import open_frames, uniform

RUNTIMES = ("torch", "openvino", BFLOAT16)[: 2 + has_bfloat16()]
FRAMES = 8
"""At a time, as an index run hands them over."""
START = (
    "import resource, time, torch; torch.set_num_threads(1)\n"
    "from wordframe.encoders import OfflineEncoder\n"
    "import efficientnet_lite_pytorch\n"  # brings what either runtime needs
    "start = time.process_time()\n"
    "OfflineEncoder(device='cpu', runtime={runtime!r}).encode_pixels(torch.zeros({frames}, 3, 260, 260))\n"
    "print(time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
)


def clip(patch: int, runtime: str) -> Encoder:
    """CLIP B/32 or B/16 with random weights; its text side is of no size."""
    torch.manual_seed(patch)
    sizes = {"dimension": 512, "image_size": 224, "patch_size": patch, "vision_width": 768, "vision_layers": 12}
    text = {"vocabulary": 100, "max_words": 8, "text_width": 64, "text_layers": 1, "text_heads": 1}
    backbone: Any = ClipBackbone(**sizes, vision_heads=12, **text)
    words: Any = SimpleNamespace(max_words=8, cleaning="")
    name = f"clip-b{patch}"
    return ClipEncoder(
        name=name, towers=backbone, tokenizer=words, preprocessing=Preprocessing(), device="cpu", runtime=runtime
    )


TOWERS: dict[str, Callable[[str], Encoder]] = {
    "offline": lambda runtime: OfflineEncoder(device="cpu", runtime=runtime),
    "clip-b32": lambda runtime: clip(32, runtime),
    "clip-b16": lambda runtime: clip(16, runtime),
}


def pictures(clips: Path | None, short_side: int) -> list[np.ndarray]:
    """Decoded frames ``(1, h, w, 3)``: one of each of 32 videos, or noise."""
    if clips is None:
        noise = np.random.default_rng(0)
        return [noise.integers(0, 256, (1, short_side, short_side * 16 // 9, 3), dtype=np.uint8) for _ in range(32)]
    found = []
    for file in find_videos([clips]).files[:32]:
        times = lambda info: uniform(0.0, info.duration_seconds or 1.0, 1)  # noqa: E731
        with open_frames(file.path, times, short_side=short_side) as frames:
            found += [frame.rgb[None] for frame in frames]
    return found


def milliseconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return 1000 * (time.process_time() - start)


def compare(tower: str, clips: Path | None, rounds: int) -> dict[str, Any]:
    """One tower in both runtimes, in turns."""
    encoders = {runtime: TOWERS[tower](runtime) for runtime in RUNTIMES}
    plain = encoders["torch"]
    pixels = torch.cat([plain.preprocess(picture) for picture in pictures(clips, plain.short_side)])
    features = {name: encoder.encode_pixels(pixels).double() for name, encoder in encoders.items()}  # warm by now
    apart = {name: (1 - torch.cosine_similarity(features["torch"], features[name])).clamp(min=0) for name in RUNTIMES}
    spent: dict[str, list[float]] = {runtime: [] for runtime in RUNTIMES}
    for number in range(rounds):
        batch = pixels[torch.arange(FRAMES) + number * FRAMES - len(pixels) * ((number * FRAMES) // len(pixels) + 1)]
        for runtime, encoder in encoders.items():
            spent[runtime].append(milliseconds(lambda: encoder.encode_pixels(batch)) / FRAMES)  # noqa: B023
    ratios = {name: np.divide(spent["torch"], spent[name]) for name in RUNTIMES[1:]}
    return {
        "milliseconds_a_frame": {runtime: statistics.median(values) for runtime, values in spent.items()},
        "times_faster": {name: float(np.median(of)) for name, of in ratios.items()},
        "quartiles": {name: np.percentile(of, [25, 75]).tolist() for name, of in ratios.items()},
        "farthest_in_cosine": {name: apart[name].max().item() for name in ratios},
        "median_in_cosine": {name: apart[name].median().item() for name in ratios},
        "frames_compared": len(pixels),
    }


def averages(folder: Path, frames: int = 12) -> dict[str, dict[str, Any]]:
    """By runtime, ``average`` of the offline encoder on captioned clips, and its gain over torch."""
    matched = match_videos(folder, read_captions(folder / "captions.json"))
    captions, owners = matched.queries()
    encoders = {runtime: OfflineEncoder(device="cpu", runtime=runtime) for runtime in RUNTIMES}
    plain = encoders["torch"]
    texts, owner_of = plain.encode_text(captions), torch.tensor(owners)
    pixels = [plain.preprocess(sampled(pair.path, frames)) for pair in matched.pairs]
    found: dict[str, dict[str, Any]] = {}
    values: dict[str, np.ndarray] = {}
    exact = torch.empty(0)
    for runtime, encoder in encoders.items():
        rows = torch.stack([encoder.encode_pixels(video) for video in pixels])
        scores = ZeroShotAttention()(
            texts, VideoFeatures(rows, rows, torch.ones(rows.shape[:2], dtype=torch.bool))
        ).logits
        values[runtime] = per_video(*both_ranks(scores, owner_of, num_videos=len(rows)), owner_of)
        exact = rows.double() if runtime == "torch" else exact
        apart = (1 - torch.cosine_similarity(rows.double(), exact, dim=-1)).clamp(min=0)
        found[runtime] = {"average": values[runtime].mean(), **gained(values[runtime], values["torch"])}
        found[runtime] |= {"median_in_cosine": apart.median().item(), "farthest_in_cosine": apart.max().item()}
    return found


def preprocessing(rounds: int) -> dict[str, float]:
    """Milliseconds a frame of the offline encoder's preprocessing."""
    encoder = OfflineEncoder(device="cpu")
    side = encoder.short_side
    found = {}
    for name, height in (("cut and scaled", side), ("resized from 360p, too", 360)):
        frame = np.random.default_rng(0).integers(0, 256, (1, height, height * 16 // 9, 3), dtype=np.uint8)
        found[name] = statistics.median(milliseconds(lambda: encoder.preprocess(frame)) for _ in range(3 * rounds))  # noqa: B023
    return found


def start(runtime: str, frames: int, rounds: int = 3) -> dict[str, float]:
    """A new process's first frames: the least of ``rounds``."""
    program = START.format(runtime=runtime, frames=frames)
    runs = [
        [float(word) for word in subprocess.check_output([sys.executable, "-c", program], text=True).split()]
        for _ in range(rounds)
    ]
    return {"core_seconds": min(run[0] for run in runs), "peak_megabytes": min(run[1] for run in runs)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="?")
    parser.add_argument("--towers", nargs="+", choices=TOWERS, default=list(TOWERS))
    parser.add_argument("--rounds", type=int, default=15)
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, Any] = {"towers": {}, "rounds": wanted.rounds, "cores": os.cpu_count()}
    # first, while this process is small: a new one's peak begins at its parent's size
    figures["start"] = {runtime: start(runtime, 1) for runtime in RUNTIMES}
    for runtime, found in figures["start"].items():
        told = f"{found['core_seconds']:.2f} core-seconds to the first frame, {found['peak_megabytes']:.0f} MB at most"
        print(f"offline, {runtime}, new process: {told}")
    for tower in wanted.towers:
        found = figures["towers"][tower] = compare(tower, wanted.clips, wanted.rounds)
        spent = found["milliseconds_a_frame"]
        print(f"{tower}: torch {spent['torch']:.1f} ms a frame and core")
        for runtime in RUNTIMES[1:]:
            low, high = found["quartiles"][runtime]
            print(
                f"  {runtime} {spent[runtime]:.1f}: {found['times_faster'][runtime]:.2f} times as fast (quartiles "
                f"{low:.2f} to {high:.2f}); apart in cosine over {found['frames_compared']} frames: median "
                f"{found['median_in_cosine'][runtime]:.1e}, at most {found['farthest_in_cosine'][runtime]:.1e}"
            )
    if wanted.clips is not None and (wanted.clips / "captions.json").exists():
        with torch.inference_mode():
            figures["average"] = averages(wanted.clips)
        for runtime, row in figures["average"].items():
            low, high = row["gain_interval"]
            print(
                f"offline, {runtime}: average {row['average']:.2f}, gain {row['gain']:+.2f} [{low:+.1f}, {high:+.1f}]"
            )
    figures["preprocessing_milliseconds"] = preprocessing(wanted.rounds)
    for name, value in figures["preprocessing_milliseconds"].items():
        print(f"{name}: {value:.2f} ms a frame")
    save("runtime", figures)


if __name__ == "__main__":
    main()
