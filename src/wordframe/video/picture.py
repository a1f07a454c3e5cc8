"""How a decoded picture is shown: its size with square pixels, its size on the short side, and which way is up.

Pure functions; the display matrix is that of the ISO base media format (14496-12, 6.2.2): nine 32-bit integers
``a b u c d v x y w``, which send a stored point ``(p, q)`` to ``(a·p + c·q + x, b·p + d·q + y)``, y pointing down.
Neighbours: ``decode.py`` applies them to the frames it reads, ``thumbnail.py`` makes small JPEG pictures.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_PIXEL_ASPECT_RANGE = (1 / 4, 4.0)
"""Shapes of pixels that cameras and discs have; anything else is a damaged header."""


@dataclass(frozen=True)
class Orientation:
    """Which way a stored picture is shown: transposed first, then flipped left-right and top-bottom."""

    transposed: bool = False
    flipped_x: bool = False
    flipped_y: bool = False

    @property
    def rotation_degrees(self) -> int:
        """The clockwise turn: 0, 90, 180 or 270; a mirrored picture is mirrored left-right before it.

        >>> Orientation(transposed=True, flipped_x=True).rotation_degrees
        90
        """
        if self.transposed:
            return 270 if self.flipped_y else 90
        return 180 if self.flipped_y else 0

    def apply(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The stored picture ``(h, w, 3)`` as it is shown, ``(h, w, 3)`` or ``(w, h, 3)``.

        >>> stored = np.array([[[1], [2]], [[3], [4]]], np.uint8)
        >>> Orientation(transposed=True, flipped_x=True).apply(stored)[..., 0].tolist()
        [[3, 1], [4, 2]]
        """
        if self.transposed:
            rgb = rgb.transpose(1, 0, 2)
        if self.flipped_x:
            rgb = rgb[:, ::-1]
        if self.flipped_y:
            rgb = rgb[::-1]
        return np.ascontiguousarray(rgb)


def orientation(display_matrix: bytes | None) -> Orientation:
    """The nearest quarter turn of a display matrix (36 bytes in this machine's byte order); None = as stored."""
    if display_matrix is None or len(display_matrix) < 36:
        return Orientation()
    a, b, _, c, d, *_ = struct.unpack("=9i", display_matrix[:36])
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(flipped_x=a < 0, flipped_y=d < 0)
    return Orientation(transposed=True, flipped_x=c < 0, flipped_y=b < 0)


def shown_size(width: int, height: int, pixel_aspect: float | None) -> tuple[int, int]:
    """Width and height of a stored picture with square pixels; ``pixel_aspect`` is a pixel's width over its height.

    >>> shown_size(720, 576, 16 / 15)
    (768, 576)
    >>> shown_size(1440, 1080, None)
    (1440, 1080)
    """
    low, high = _PIXEL_ASPECT_RANGE
    if pixel_aspect is None or not low <= pixel_aspect <= high:
        return width, height
    return (max(1, round(width * pixel_aspect)), height)


def fit_short_side(width: int, height: int, short_side: int | None) -> tuple[int, int]:
    """The size with the same aspect whose short side is ``short_side`` pixels; never larger than it was.

    >>> fit_short_side(1920, 1080, 288)
    (512, 288)
    >>> fit_short_side(160, 120, 288)
    (160, 120)
    """
    short = min(width, height)
    if short_side is None or short <= short_side:
        return width, height
    return max(1, round(width * short_side / short)), max(1, round(height * short_side / short))
