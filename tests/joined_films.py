"""Films whose parts are joined byte for byte: pictures are numbered through, beeps come at any seconds of a part."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.films import BEEP_SECONDS, HEIGHT, WIDTH, numbered

RATE = 25


@dataclass(frozen=True)
class Part:
    """One part: its pictures, the seconds in it when it beeps, and the second at which its own times begin;
    ``sound_seconds``: from where to where in it there is sound, None for as long as there are pictures."""

    num_frames: int
    beeps: tuple[float, ...]
    start_seconds: float = 0.0
    sound_seconds: tuple[float, float] | None = None


@dataclass(frozen=True)
class Codecs:
    """How all parts are written; ``container`` None: by the file's ending."""

    pictures: str = "libx264"
    sound: str = "aac"
    sound_rate: int = 48_000
    options: tuple[tuple[str, str], ...] = ()
    container: str | None = None
    container_options: tuple[tuple[str, str], ...] = ()


def write_joined(path: Path, parts: list[Part], codecs: Codecs, *, first_number: int = 0) -> Path:
    """The parts one behind the other in one file; ``first_number`` is that of the first picture of all."""
    data = b""
    piece = path.with_name(f"part_of_{path.name}")
    for part in parts:
        _write_part(piece, part, codecs, first_number)
        data += piece.read_bytes()
        first_number += part.num_frames
    piece.unlink()
    path.write_bytes(data)
    return path


def _write_part(path: Path, part: Part, codecs: Codecs, first_number: int) -> None:
    options = dict(codecs.container_options)
    with av.open(str(path), "w", format=codecs.container, options=options) as output:
        stream = output.add_stream(codecs.pictures, rate=RATE, options=dict(codecs.options))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.gop_size = 12
        sound = output.add_stream(codecs.sound, rate=codecs.sound_rate, layout="mono")
        sound.bit_rate = 96_000
        output.start_encoding()
        until = part.num_frames / RATE
        from_second, to_second = (0.0, until) if part.sound_seconds is None else part.sound_seconds
        for number in range(round(max(until, to_second) * RATE)):
            if number < part.num_frames:
                picture = av.VideoFrame.from_ndarray(numbered(first_number + number), format="rgb24")
                picture.pts, picture.time_base = number + round(part.start_seconds * RATE), Fraction(1, RATE)
                output.mux(stream.encode(picture))
            if from_second <= number / RATE < to_second:
                output.mux(sound.encode(_step_of_sound(part, number, codecs.sound_rate)))
        output.mux(stream.encode())
        output.mux(sound.encode())


def _step_of_sound(part: Part, number: int, rate: int) -> av.AudioFrame:
    """The sound beside a picture of a part."""
    step = rate // RATE
    times = np.arange(number * step, (number + 1) * step) / rate
    is_loud = np.any([(at <= times) & (times < at + BEEP_SECONDS) for at in (*part.beeps, np.inf)], axis=0)
    wave = np.where(is_loud, 0.5 * np.sin(2 * np.pi * 1000 * times), 0).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
    frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
    frame.pts = number * step + round(part.start_seconds * rate)
    return frame
