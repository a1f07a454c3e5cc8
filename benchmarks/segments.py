"""Which way of cutting a video finds moments better, measured on videos put together from captioned clips.

    python benchmarks/segments.py FOLDER [FOLDER ...] [--videos 200] [--seed 0] [--sweep]

Each FOLDER holds clips and a captions.json {file: caption or [captions]}. Clips are encoded once at one frame a second;
each made-up video is 5 to 8 of them in a row, so the moments are known. A caption is a query into its video: the
segment with the best similarity is the answer. ``R@1`` is the share of answers that overlap the moment by at least
that IoU, ``centre`` the share whose middle lies in the moment. Three similarities: the mean frame, the best frame, and
untrained language-video attention.

The moments begin and end with hard cuts, as edited footage does; that favours shots. In one unbroken take, shots are
windows by length alone.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from results import save

from wordframe.encoders import Encoder, load_encoder
from wordframe.video import Segment, cut_segments, open_frames, per_second, shots, windows

Array = NDArray[np.float64]
Cutter = Callable[[Array, Array, float], list[Segment]]
IOU_LEVELS = (0.3, 0.5)


@dataclass(frozen=True)
class Clip:
    """A captioned clip: ``seconds (N,)``, ``features (N, D)``, its length, its caption as a vector ``(D,)``."""

    seconds: Array
    features: Array
    duration_seconds: float
    caption: Array


@dataclass(frozen=True)
class MadeUpVideo:
    """Clips in a row: sampled frames, and the moment ``[start, end)`` of each clip's caption."""

    seconds: Array
    features: Array
    duration_seconds: float
    moments: list[tuple[float, float]]
    captions: list[Array]


def read_clips(folder: Path, encoder: Encoder) -> list[Clip]:
    """Encode the clips of a folder at one frame a second, and their first captions."""
    captions = json.loads((folder / "captions.json").read_text(encoding="utf-8"))
    clips = []
    for name, caption in captions.items():
        with open_frames(folder / name, per_second(1.0, 0.5), short_side=encoder.short_side) as stream:
            frames = list(stream)
        features = encoder.encode_frames(np.stack([frame.rgb for frame in frames])).numpy().astype(np.float64)
        sentence = encoder.encode_text([caption if isinstance(caption, str) else caption[0]]).sentence[0].numpy()
        duration = stream.info.duration_seconds or stream.decoded_until_seconds
        clips.append(
            Clip(np.array([frame.seconds for frame in frames]), features, duration, sentence.astype(np.float64))
        )
    return clips


def put_together(clips: Sequence[Clip]) -> MadeUpVideo:
    """The clips one after the other."""
    starts = np.concatenate([[0.0], np.cumsum([clip.duration_seconds for clip in clips])])
    return MadeUpVideo(
        seconds=np.concatenate([clip.seconds + start for clip, start in zip(clips, starts, strict=False)]),
        features=np.concatenate([clip.features for clip in clips]),
        duration_seconds=float(starts[-1]),
        moments=[(float(start), float(end)) for start, end in itertools.pairwise(starts)],
        captions=[clip.caption for clip in clips],
    )


def _normalised(rows: Array) -> Array:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def by_mean(query: Array, frames: Array) -> float:
    """Cosine of the query and the mean of the normalised frames."""
    return float(_normalised(query) @ _normalised(_normalised(frames).mean(axis=0)))


def by_best_frame(query: Array, frames: Array) -> float:
    """The best frame's cosine."""
    return float((_normalised(frames) @ _normalised(query)).max())


def by_attention(query: Array, frames: Array) -> float:
    """Cosine of the query and the frames weighted by ``softmax(3 · LN(q) · LN(x) / sqrt(D))``."""

    def layer_norm(rows: Array) -> Array:
        return (rows - rows.mean(axis=-1, keepdims=True)) / rows.std(axis=-1, keepdims=True)

    values = layer_norm(frames)  # (F, D)
    logits = 3 * values @ layer_norm(query) / np.sqrt(len(query))
    weights = np.exp(logits - logits.max())
    return float(_normalised(query) @ _normalised(weights / weights.sum() @ values))


SIMILARITIES = {"mean": by_mean, "best frame": by_best_frame, "attention": by_attention}


def overlap_of(segment: Segment, moment: tuple[float, float]) -> float:
    """Intersection over union of two spans of time."""
    shared = min(segment.end_seconds, moment[1]) - max(segment.start_seconds, moment[0])
    union = max(segment.end_seconds, moment[1]) - min(segment.start_seconds, moment[0])
    return max(0.0, shared) / union


def measure(
    videos: Sequence[MadeUpVideo], cut: Cutter, similarity: Callable[[Array, Array], float]
) -> dict[str, float]:
    """Figures in percent over all captions, and the number of segments a minute."""
    overlaps, centres, num_segments = [], [], 0
    for video in videos:
        segments = cut(video.seconds, video.features, video.duration_seconds)
        num_segments += len(segments)
        for query, moment in zip(video.captions, video.moments, strict=True):
            scores = [similarity(query, video.features[s.first_frame : s.last_frame_exclusive]) for s in segments]
            answer = segments[int(np.argmax(scores))]
            overlaps.append(overlap_of(answer, moment))
            centres.append(moment[0] <= (answer.start_seconds + answer.end_seconds) / 2 < moment[1])
    minutes = sum(video.duration_seconds for video in videos) / 60
    figures = {f"R@1 IoU {level}": 100 * float(np.mean(np.array(overlaps) >= level)) for level in IOU_LEVELS}
    return figures | {
        "mean IoU": 100 * float(np.mean(overlaps)),
        "centre": 100 * float(np.mean(centres)),
        "segments/min": num_segments / minutes,
    }


def cutters(*, sweep: bool) -> dict[str, Cutter]:
    """The ways to compare; ``sweep`` adds settings around them."""

    def by_windows(length: float, overlap: float) -> Cutter:
        return lambda seconds, _, duration: windows(seconds, duration, length_seconds=length, overlap=overlap)

    found: dict[str, Cutter] = {
        f"windows {length:g} s, overlap {overlap:g}": by_windows(length, overlap)
        for length in (3.0, 5.0, 8.0, 12.0)
        for overlap in (0.0, 0.5)
    }
    penalties = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0) if sweep else (1.0,)
    for penalty in penalties:
        for min_seconds in (2.0, 3.0) if sweep else (2.0,):
            found[f"shots, penalty {penalty:g}, min {min_seconds:g} s"] = partial(
                shots, penalty=penalty, min_seconds=min_seconds
            )
    return found | {"default (cut_segments)": cut_segments}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--videos", type=int, default=200, help="made-up videos (default 200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sweep", action="store_true", help="more settings of the shots")
    arguments = parser.parse_args()
    encoder = load_encoder("offline")
    clips = [clip for folder in arguments.folders for clip in read_clips(folder, encoder)]
    chance = random.Random(arguments.seed)
    videos = [put_together(chance.sample(clips, chance.randint(5, 8))) for _ in range(arguments.videos)]
    print(f"{len(clips)} clips, {len(videos)} videos, {sum(len(video.moments) for video in videos)} moments")
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, similarity in SIMILARITIES.items():
        print(f"\nsimilarity: {name}")
        for label, cut in cutters(sweep=arguments.sweep).items():
            figures = found.setdefault(name, {})[label] = measure(videos, cut, similarity)
            print(f"  {label:32}" + "".join(f"  {key} {value:5.1f}" for key, value in figures.items()))
    save("segments", {"videos": len(videos), "similarities": found})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
