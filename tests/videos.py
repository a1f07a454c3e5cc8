"""Small videos for tests, written with PyAV: any codec, container, pixel format, timing and orientation; and damage.

Frame ``k`` of a test video shows its number: the left half's brightness steps by 4 with ``k``, a bar moves with it.
``plain_frames`` is the slow reference: decode everything, keep each frame with its time.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from wordframe.video._colours import Rgb

TICKS = 90_000
"""Time base of the test videos, ticks a second."""


def picture(number: int, width: int, height: int) -> NDArray[np.uint8]:
    """Picture ``number``: no two of the first few hundred are alike."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[..., 0] = np.linspace(0, 255, width).astype(np.uint8)
    rgb[..., 1] = np.linspace(0, 255, height).astype(np.uint8)[:, None]
    rgb[:, : (width + 1) // 2, 2] = number * 4 % 256
    at = number * 7 % width
    rgb[:, at : at + max(1, width // 8)] = (255, 255 - number % 256, number * 31 % 256)
    return rgb


@contextlib.contextmanager
def ordinary_priority() -> Iterator[None]:
    """Undo what the encoder of AV1 does where root opens it: it turns the thread, and so all threads and processes that
    this one starts from then on, into real-time ones. One of them in a loop leaves nobody else a core."""
    if not hasattr(os, "sched_setscheduler"):
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


@ordinary_priority()
def write_video(
    path: Path,
    *,
    seconds: Sequence[float] | None = None,
    num_frames: int = 30,
    rate: float = 10.0,
    width: int = 128,
    height: int = 72,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    container: str | None = None,
    container_options: dict[str, str] | None = None,
    codec_options: dict[str, str] | None = None,
    rotation_degrees: int = 0,
    keyframe_interval: int = 250,
    start_seconds: float = 0.0,
    audio_seconds: float = 0.0,
    pixel_aspect: Fraction | None = None,
) -> Path:
    """Write a video of frames shown at ``seconds``, else at a constant ``rate``; turned clockwise when shown."""
    times = [number / rate for number in range(num_frames)] if seconds is None else list(seconds)
    with av.open(os.fsdecode(path), "w", format=container, options=container_options or {}) as output:
        stream = output.add_stream(codec, rate=Fraction(rate).limit_denominator(1000), options=codec_options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        constant = seconds is None and start_seconds == 0.0
        stream.codec_context.time_base = 1 / Fraction(rate).limit_denominator(1000) if constant else Fraction(1, TICKS)
        stream.codec_context.gop_size = keyframe_interval
        if pixel_aspect is not None:
            stream.sample_aspect_ratio = pixel_aspect
        if rotation_degrees:
            stream.set_display_rotation(-rotation_degrees)
        sound = output.add_stream("aac", rate=8000, layout="mono") if audio_seconds else None
        if sound is not None:
            _write_silence(output, sound, audio_seconds)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(number, width, height), format="rgb24")
            frame.time_base = stream.codec_context.time_base
            frame.pts = number if constant else round((time + start_seconds) * TICKS)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


def _write_silence(output: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    for start in range(0, round(8000 * seconds), 1024):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 8000, start, Fraction(1, 8000)
        output.mux(stream.encode(frame))
    output.mux(stream.encode())


def write_long_video(path: Path, *, seconds: float, rate: float = 5.0) -> Path:
    """A cheap long video: 128 × 72, H.264, repeating pictures, a keyframe every 10 s."""
    pictures = [av.VideoFrame.from_ndarray(picture(number, 128, 72), format="rgb24") for number in range(50)]
    pictures = [frame.reformat(format="yuv420p") for frame in pictures]
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=round(rate), options={"preset": "ultrafast", "crf": "40"})
        stream.width, stream.height, stream.pix_fmt = 128, 72, "yuv420p"
        stream.codec_context.gop_size = round(10 * rate)
        for number in range(round(seconds * rate)):
            frame = pictures[number % len(pictures)]
            frame.pts, frame.time_base = number, Fraction(1, round(rate))
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


def plain_frames(path: Path) -> list[tuple[Fraction, NDArray[np.uint8]]]:
    """Every frame of a file with its time from the file's start, decoded one after the other, as stored.

    A frame without a time of its own follows the one before it at the file's frame rate.
    """
    with av.open(os.fsdecode(path)) as container:
        container.flags &= ~0x1  # AVFMT_FLAG_GENPTS
        stream = container.streams.video[0]
        start = round(Fraction(container.start_time or 0, av.time_base) / stream.time_base)
        frames: list[tuple[Fraction, NDArray[np.uint8]]] = []
        to_rgb = Rgb()  # which colours are right has its own tests
        for frame in container.decode(stream):
            if frame.pts is not None:
                seconds = (frame.pts - start) * stream.time_base
            else:
                step = frame.duration * frame.time_base or 1 / stream.average_rate
                seconds = frames[-1][0] + step if frames else Fraction(0)
            frames.append((seconds, to_rgb(frame, frame.width, frame.height)))
        return frames


def shown_at(frames: Sequence[tuple[Fraction, NDArray[np.uint8]]], times: Iterable[float]) -> list[NDArray[np.uint8]]:
    """The frame shown at each time: the last one with a time ``<= t``, the first one for a ``t`` before it."""
    return [next((rgb for seconds, rgb in reversed(frames) if float(seconds) <= time), frames[0][1]) for time in times]


def damaged_copies(source_folder: Path, target_folder: Path, count: int, seed: int) -> list[Path]:
    """Write ``count`` damaged copies of the videos of a folder: bytes flipped, cut, zeroed, headers swapped; seeded."""
    chance = random.Random(seed)
    suffixes = {".mp4", ".mkv", ".avi", ".webm", ".mov", ".ts"}
    sources = sorted(path for path in source_folder.rglob("*") if path.suffix in suffixes)
    target_folder.mkdir(parents=True, exist_ok=True)
    damages = (_flip_few, _flip_many, _flip_header, _cut, _zero_run, _swap_header, _drop_run)
    copies = []
    for number in range(count):
        source, other = chance.choice(sources), chance.choice(sources)
        damage = damages[number % len(damages)]
        data = damage(bytearray(source.read_bytes()), other.read_bytes(), chance)
        copies.append(target_folder / f"{number:03d}-{damage.__name__.strip('_')}-{source.name}")
        copies[-1].write_bytes(data)
    return copies


def _flip(data: bytearray, places: Iterable[int], chance: random.Random) -> bytes:
    for place in places:
        data[place] ^= chance.randrange(1, 256)
    return bytes(data)


def _flip_few(data: bytearray, other: bytes, chance: random.Random) -> bytes:
    return _flip(data, (chance.randrange(len(data)) for _ in range(20)), chance)


def _flip_many(data: bytearray, other: bytes, chance: random.Random) -> bytes:
    return _flip(data, (chance.randrange(len(data)) for _ in range(len(data) // 200)), chance)


def _flip_header(data: bytearray, other: bytes, chance: random.Random) -> bytes:
    """Flip bytes in the first 4 kB and the last 16 kB, where containers keep their tables."""
    places = [*range(min(4096, len(data))), *range(max(0, len(data) - 16_384), len(data))]
    return _flip(data, chance.choices(places, k=12), chance)


def _cut(data: bytearray, other: bytes, chance: random.Random) -> bytes:
    return bytes(data[: math.ceil(len(data) * chance.uniform(0.02, 0.95))])


def _zero_run(data: bytearray, other: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data))
    stop = min(len(data), start + len(data) // 5)
    data[start:stop] = bytes(stop - start)
    return bytes(data)


def _swap_header(data: bytearray, other: bytes, chance: random.Random) -> bytes:
    size = chance.choice((64, 1024, 8192))
    return other[:size] + bytes(data[size:])


def _drop_run(data: bytearray, other: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data))
    del data[start : start + chance.randrange(1, len(data) // 4)]
    return bytes(data)
