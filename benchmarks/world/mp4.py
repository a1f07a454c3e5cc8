"""Writing pictures to an H.264 mp4 file: the films of the rendered world.

One encoder thread and no time stamps of the day: the same pictures give files that show the same. The
target appears only when it is complete. Neighbour: ``films.py`` (what is written).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from wordframe.disk import replacing


def write_video(
    target: str | os.PathLike[str], pictures: Iterable[NDArray[np.uint8]], *, frame_rate: int, quality: int = 18
) -> int:
    """Write pictures ``(h, w, 3)`` uint8 RGB of one even size to ``target``; gives their number.

    Args:
        frame_rate: pictures a second.
        quality: x264's constant rate factor, 0 (lossless) to 51 (worst); 18 looks like the original.
    """
    if frame_rate < 1 or not 0 <= quality <= 51:
        raise ValueError(f"frame_rate must be at least 1 and quality 0 to 51, got {frame_rate} and {quality}")
    with replacing(target) as part:
        return _encode(part, pictures, frame_rate, quality)


def _encode(part: Path, pictures: Iterable[NDArray[np.uint8]], frame_rate: int, quality: int) -> int:
    number = 0
    with av.open(f"file:{part.absolute()}", "w", format="mp4") as output:
        # weighted prediction off: with it x264 gives other bytes from run to run, even in one thread
        options = {"crf": str(quality), "threads": "1", "preset": "veryfast", "x264-params": "weightp=0"}
        stream = output.add_stream("libx264", rate=frame_rate, options=options)
        for picture in pictures:
            if number == 0:
                stream.height, stream.width, stream.pix_fmt = *_even_size(picture), "yuv420p"
            if picture.shape != (stream.height, stream.width, 3):
                wanted = (stream.height, stream.width, 3)
                raise ValueError(f"picture {number} has shape {picture.shape}, the first has {wanted}; give one size")
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, frame_rate)
            output.mux(stream.encode(frame))
            number += 1
        if number == 0:
            raise ValueError("pictures is empty; a video needs at least one")
        output.mux(stream.encode())
    return number


def _even_size(picture: NDArray[np.uint8]) -> tuple[int, int]:
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ValueError(f"a picture must be (h, w, 3) uint8, got {picture.shape} {picture.dtype}")
    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        raise ValueError(f"a picture must have even sides for H.264 at half colour resolution, got {height} × {width}")
    return height, width
