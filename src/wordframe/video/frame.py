"""What ``video`` hands out: a picture at a time, and what a file says about its video.

Neighbours: ``decode.py`` makes both and exports them; ``sampling.py`` reads ``VideoInfo`` to choose times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class VideoInfo:
    """What a file says about its video.

    width, height: as shown, upright and with square pixels; rotation_degrees: the clockwise turn from the stored
    picture; duration_seconds: from the start of the file to the end of the video, None where the file does not
    say; frame_rate: frames a second, on average.
    """

    container: str
    codec: str
    width: int
    height: int
    rotation_degrees: int
    duration_seconds: float | None
    frame_rate: float | None

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"width and height must be at least 1 pixel, got {self.width} × {self.height}")
        if self.rotation_degrees not in (0, 90, 180, 270):
            raise ValueError(f"rotation_degrees must be 0, 90, 180 or 270, got {self.rotation_degrees}")
        for name in ("duration_seconds", "frame_rate"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a positive number or None, got {value}")


@dataclass(frozen=True)
class Frame:
    """The picture shown at a wanted time: ``rgb (h, w, 3)`` uint8, upright.

    ``seconds`` is the wanted time. Where one picture is shown at several wanted times, their frames share one array.
    """

    seconds: float
    rgb: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or self.rgb.dtype != np.uint8:
            raise ValueError(f"rgb must be (h, w, 3) uint8, got {self.rgb.shape} {self.rgb.dtype}")
