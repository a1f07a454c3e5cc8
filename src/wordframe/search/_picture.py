"""A picture that somebody searches by: any file of a usual format into pixels, or a line that says what is wrong.

Neighbours: ``queries.py`` makes a query of it.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wordframe.errors import WordframeError

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_IMAGE_PIXELS = 64_000_000
IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""Formats that are read, and AVIF where Pillow has it; Pillow knows others that start programs."""
_MOVING_FORMATS = ("PNG", "WEBP", "GIF", "AVIF")
"""Further pictures of other formats are pages, or a smaller copy of the first."""


def read_picture(picture: str | Path | bytes, *, short_side: int) -> NDArray[np.uint8]:
    """A picture file, or its content, upright as its EXIF data says: pixels ``(h, w, 3)``, RGB.

    Args:
        short_side: pixels; a larger picture may be read at a fraction of its size, but at least four times this.

    Raises:
        WordframeError: the file is missing, no picture, animated, damaged, or larger than 64 million pixels.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    name = "the picture" if isinstance(picture, bytes) else str(picture)
    formats = _formats()
    try:
        # what Pillow warns of (odd tags in a damaged file) is either read all the same or told below in a line
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture, formats=formats) as image,
        ):
            if image.width * image.height > MAX_IMAGE_PIXELS:
                raise WordframeError(f"{name}: {image.width} × {image.height} pixels are too many; scale it down")
            if image.format in _MOVING_FORMATS and (pictures := getattr(image, "n_frames", 1)) > 1:
                raise WordframeError(
                    f"{name}: is animated, of {pictures} pictures; search by one of them, or by a clip"
                )
            image.draft("RGB", (4 * short_side, 4 * short_side))
            return _eight_bits(ImageOps.exif_transpose(image))
    except FileNotFoundError:
        raise WordframeError(f"{name}: no such file") from None
    except WordframeError:
        raise
    except UnidentifiedImageError:
        raise WordframeError(f"{name}: cannot be read as a picture; formats: {', '.join(formats)}") from None
    except Exception as error:  # Pillow's plug-ins raise anything on damaged files
        raise WordframeError(f"{name}: cannot be read as a picture ({error})") from None


def _formats() -> tuple[str, ...]:
    try:
        from PIL.AvifImagePlugin import SUPPORTED
    except ImportError:  # Pillow before 11.3
        return IMAGE_FORMATS
    return (*IMAGE_FORMATS, "AVIF") if SUPPORTED else IMAGE_FORMATS


def _eight_bits(image: Image) -> NDArray[np.uint8]:
    """Pixels ``(h, w, 3)``; of grey ones with more bits the range is kept, which Pillow would cut off at 255."""
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return np.asarray(image.convert("RGB"))
    grey = np.asarray(image).astype(np.float32)
    # a mode says how many bits a pixel may have; which of them are used, of 32, only the pixels do
    largest = 1.0 if image.mode == "F" else 65535.0
    white = largest if image.mode.startswith("I;16") else max(largest, float(np.nanmax(grey)))
    shade = np.rint(np.nan_to_num(grey) * (255 / white)).clip(0, 255).astype(np.uint8)
    return np.repeat(shade[..., None], 3, axis=2)
