"""What ``--sampling keyframes`` gains in speed and loses in moments, on films joined from captioned clips.

    python benchmarks/keyframes.py FOLDER [--clips 8] [--films 4] [--height 360]

FOLDER holds clips and captions.json. Each film is ``--clips`` of them one after the other, written as H.264 with x264's
own rule for keyframes (at cuts, and every ten seconds), so the moments are known. Both samplings are extracted in one
thread; a caption is a query into its film, the answer its best segment (``segments.py``, attention). ``core-seconds``
are of decoding and of all, for an hour of film.
"""

from __future__ import annotations

import argparse
import itertools
import random
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from results import save
from segments import MadeUpVideo, by_attention, measure
from still_videos import RATE, Picture, write

from wordframe.data import match_videos, read_captions
from wordframe.encoders import Encoder, load_encoder
from wordframe.video import cut_segments, index_times, open_frames, open_keyframes, per_second

SAMPLINGS = ("seconds", "keyframes")


def pictures(clips: list[Path], height: int, lengths: list[float]) -> Iterator[Picture]:
    """All clips, 25 pictures a second, whole on black; their lengths are noted as they come."""
    for clip in clips:
        count = 0
        with open_frames(clip, per_second(RATE), short_side=height) as frames:
            for frame in frames:
                count += 1
                yield np.array(ImageOps.pad(Image.fromarray(frame.rgb), (height * 16 // 9, height)))
        lengths.append(count / RATE)


def extracted(film: Path, encoder: Encoder, sampling: str) -> tuple[Any, Any, float, float]:
    """Seconds and features of a film's frames, and core-seconds of decoding and of encoding."""
    start = time.process_time()
    if sampling == "keyframes":
        stream = open_keyframes(film, short_side=encoder.short_side)
    else:
        stream = open_frames(film, index_times, short_side=encoder.short_side)
    with stream:
        frames = list(stream)
    decoded = time.process_time()
    features = np.concatenate([encoder.encode_frames(frame.rgb[None]).numpy() for frame in frames])
    return (
        np.array([frame.seconds for frame in frames]),
        features.astype(np.float64),
        decoded - start,
        time.process_time() - decoded,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=8, help="in a film")
    parser.add_argument("--films", type=int, default=4)
    parser.add_argument("--height", type=int, default=360)
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    encoder = load_encoder("offline")
    encoder.encode_pixels(torch.zeros(40, 3, encoder.short_side, encoder.short_side))  # compiles the classifier
    matched = match_videos(wanted.folder, read_captions(wanted.folder / "captions.json"))
    pairs = random.Random(0).sample(matched.pairs, len(matched.pairs))
    found: dict[str, list[tuple[MadeUpVideo, float, float]]] = {sampling: [] for sampling in SAMPLINGS}
    with tempfile.TemporaryDirectory() as place:
        for number in range(min(wanted.films, len(pairs) // wanted.clips)):
            clips = pairs[number * wanted.clips :][: wanted.clips]
            film, lengths = Path(place) / f"{number}.mp4", list[float]()
            write(film, pictures([Path(pair.path) for pair in clips], wanted.height, lengths), preset="veryfast")
            edges = list(itertools.accumulate(lengths, initial=0.0))
            captions = [encoder.encode_text([pair.captions[0]]).sentence[0].double().numpy() for pair in clips]
            for sampling in SAMPLINGS:
                seconds, features, decoding, encoding = extracted(film, encoder, sampling)
                moments = list(itertools.pairwise(edges))
                found[sampling].append(
                    (MadeUpVideo(seconds, features, edges[-1], moments, captions), decoding, encoding)
                )
    figures = {}
    for sampling, rows in found.items():
        videos = [video for video, _, _ in rows]
        hours = sum(video.duration_seconds for video in videos) / 3600
        cut = partial(cut_segments, leading=sampling == "keyframes")
        figures[sampling] = measure(videos, cut, by_attention) | {
            "seconds apart": 3600 * hours / sum(len(video.seconds) for video in videos),
            "decoding, core-seconds an hour": sum(decoding for _, decoding, _ in rows) / hours,
            "all, core-seconds an hour": sum(decoding + encoding for _, decoding, encoding in rows) / hours,
        }
        print(f"{sampling:10}" + "".join(f"  {name} {value:.1f}" for name, value in figures[sampling].items()))
    save("keyframes", {"height": wanted.height, "films": len(found["seconds"]), "samplings": figures})


if __name__ == "__main__":
    main()
