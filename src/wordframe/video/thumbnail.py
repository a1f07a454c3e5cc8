"""A small JPEG of a frame, for result lists and pages. Neighbour: ``decode.py`` gives the frame."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

_QUALITY = 80


def thumbnail(rgb: NDArray[np.uint8], width: int = 320) -> bytes:
    """``rgb (h, w, 3)`` as a JPEG ``width`` pixels wide, with the same aspect; never larger than the picture.

    >>> thumbnail(np.zeros((72, 128, 3), np.uint8))[:2].hex()
    'ffd8'
    """
    from PIL import Image

    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ValueError(f"rgb must be (h, w, 3) uint8, got {rgb.shape} {rgb.dtype}")
    if width < 1:
        raise ValueError(f"width must be at least 1 pixel, got {width}")
    picture = Image.fromarray(rgb)
    if picture.width > width:
        height = max(1, round(picture.height * width / picture.width))
        picture = picture.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
