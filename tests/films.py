"""Films for tests of cutting: each picture carries its number as twelve bars, each whole second begins with a beep."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from tests.videos import ordinary_priority

BITS = 12
WIDTH, HEIGHT = 192, 96
BEEP_SECONDS = 0.1


@dataclass(frozen=True)
class Film:
    """How a film is written; ``sound`` None: silent."""

    pictures: str = "libx264"
    sound: str | None = "aac"
    container: str | None = None
    rate: Fraction = Fraction(25)
    keyframe_interval: int = 25
    options: tuple[tuple[str, str], ...] = ()
    pixel_format: str = "yuv420p"
    seconds: float = 4.5


@ordinary_priority()
def write_film(path: Path, film: Film) -> Path:
    """Pictures and sound from time 0 on, stored side by side."""
    num_frames = round(film.seconds * film.rate)
    with av.open(str(path), "w", format=film.container) as output:
        stream = output.add_stream(film.pictures, rate=film.rate, options=dict(film.options))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, film.pixel_format
        stream.codec_context.gop_size = film.keyframe_interval
        sound = None if film.sound is None else output.add_stream(film.sound, rate=48_000, layout="mono")
        if sound is not None:
            sound.bit_rate = 96_000
        output.start_encoding()
        second = 0
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(numbered(number), format="rgb24")
            frame.pts, frame.time_base = number, 1 / film.rate
            output.mux(stream.encode(frame))
            if sound is not None and number / film.rate >= second:
                output.mux(sound.encode(_second_of_sound(second)))
                second += 1
        output.mux(stream.encode())
        if sound is not None:
            output.mux(sound.encode())
    return path


def numbered(number: int) -> NDArray[np.uint8]:
    """White is 1, the top bit left."""
    bits = [number >> (BITS - 1 - place) & 1 for place in range(BITS)]
    row = np.repeat(np.array(bits, np.uint8) * 200 + 25, WIDTH // BITS)
    return np.ascontiguousarray(np.broadcast_to(row[None, :, None], (HEIGHT, WIDTH, 3)))


def number_of(rgb: NDArray[np.uint8]) -> int:
    """The number that a picture of any size carries."""
    height, width = rgb.shape[:2]
    middles = [round((place + 0.5) * width / BITS) for place in range(BITS)]
    grey = rgb[height // 3 : 2 * height // 3, :, 1].astype(float).mean(axis=0)
    return sum(1 << (BITS - 1 - place) for place, at in enumerate(middles) if grey[at - 2 : at + 3].mean() > 125)


def _second_of_sound(second: int) -> Any:
    times = np.arange(48_000) / 48_000
    wave = np.where(times < BEEP_SECONDS, 0.5 * np.sin(2 * np.pi * 1000 * times), 0).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = 48_000, 48_000 * second, Fraction(1, 48_000)
    return frame


@dataclass(frozen=True)
class Seen:
    """What a file plays: (seconds, number) of its pictures, (start, end) of its sound, where its beeps begin."""

    pictures: list[tuple[float, int]]
    sound_span: tuple[float, float] | None
    beeps: list[float]
    seconds: float


def watch(path: Path) -> Seen:
    """Play a file from its start to its end, with the library alone."""
    with av.open(str(path)) as container:
        zero = (container.start_time or 0) / av.time_base
        rate = container.streams.video[0].average_rate or Fraction(25)
        pictures: list[tuple[float, int]] = []
        wave: list[NDArray[np.float32]] = []
        times: list[tuple[float, float, int]] = []
        resampler = av.AudioResampler("fltp", "mono")
        for frame in container.decode(*container.streams.video[:1], *container.streams.audio[:1]):
            if isinstance(frame, av.VideoFrame):
                place = len(pictures) / rate if frame.pts is None else frame.pts * frame.time_base - Fraction(zero)
                pictures.append((float(place), number_of(frame.to_ndarray(format="rgb24"))))
                continue
            start = times[-1][1] if frame.pts is None else float(frame.pts * frame.time_base) - zero
            times.append((start, start + frame.samples / frame.sample_rate, frame.sample_rate))
            wave += [each.to_ndarray()[0] for each in resampler.resample(frame)]
        duration = (container.duration or 0) / av.time_base
    if not times:
        return Seen(pictures, None, [], duration)
    return Seen(pictures, (times[0][0], times[-1][1]), _beeps(np.concatenate(wave), times[0][0], times[0][2]), duration)


def _beeps(wave: NDArray[np.float32], start_seconds: float, rate: int) -> list[float]:
    step = rate // 200
    loud = np.abs(wave[: len(wave) // step * step]).reshape(-1, step).max(axis=1) > 0.2
    return [start_seconds + at * step / rate for at in np.flatnonzero(loud[1:] & ~loud[:-1]) + 1]
