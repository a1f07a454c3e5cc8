"""Frames as bytes of a few ten kilobytes and back: JPEG, or PNG where not a grey level may change.

Neighbours: ``thumbnail.py`` makes small pictures for people; ``data/frame_cache.py`` keeps what is made here.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray


def compress(rgb: NDArray[np.uint8], quality: int | None) -> bytes:
    """``rgb (h, w, 3)`` as a JPEG of ``quality`` 1 to 100 with full colour resolution; as a PNG, exactly, if None.

    >>> compress(np.zeros((4, 6, 3), np.uint8), 90)[:2].hex(), compress(np.zeros((4, 6, 3), np.uint8), None)[1:4]
    ('ffd8', b'PNG')
    """
    from PIL import Image

    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ValueError(f"rgb must be (h, w, 3) uint8, got {rgb.shape} {rgb.dtype}")
    if quality is not None and not 1 <= quality <= 100:
        raise ValueError(f"quality must be 1 to 100, or None for lossless, got {quality}")
    picture, buffer = Image.fromarray(rgb), io.BytesIO()
    if quality is None:
        picture.save(buffer, "PNG", compress_level=1)  # higher levels save a tenth and take four times as long
    else:
        picture.save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def decompress(picture: bytes) -> NDArray[np.uint8]:
    """The frame ``(h, w, 3)`` uint8 that ``compress`` was given, or nearly so.

    Raises:
        ValueError: these bytes are no whole picture.

    >>> frame = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
    >>> bool((decompress(compress(frame, None)) == frame).all())
    True
    """
    from PIL import Image

    try:
        return np.array(Image.open(io.BytesIO(picture)).convert("RGB"))
    except (OSError, SyntaxError) as error:  # Pillow raises SyntaxError for a broken PNG
        raise ValueError(f"these {len(picture)} bytes are no whole picture: {error}") from error
