"""Pictures: what ``video`` hands out, how a stored picture is shown, and pictures as small files in memory.

How it is shown (its size with square pixels, which way is up) is said by the pixels' aspect and the display matrix of
the ISO base media format (14496-12, 6.2.2): nine 32-bit integers ``a b u c d v x y w``, which send a stored point
``(p, q)`` to ``(a·p + c·q + x, b·p + d·q + y)``, y pointing down.
Neighbours: ``decode.py`` makes each ``Frame`` and ``VideoInfo``; ``sampling.py`` reads the latter to choose times.
"""

from __future__ import annotations

import io
import math
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_PIXEL_ASPECT_RANGE = (1 / 4, 4.0)
"""Shapes of pixels that cameras and discs have; anything else is a damaged header."""
_THUMBNAIL_QUALITY = 80


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
        _check_rgb(self.rgb)


def _check_rgb(rgb: NDArray[np.uint8]) -> None:
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ValueError(f"rgb must be (h, w, 3) uint8, got {rgb.shape} {rgb.dtype}")


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
        return np.ascontiguousarray(rgb)  # torch takes no array with negative strides, which the flips make


def orientation(display_matrix: bytes | None) -> Orientation:
    """The nearest quarter turn of a display matrix (36 bytes in this machine's byte order); None = as stored."""
    if display_matrix is None or len(display_matrix) < 36:
        return Orientation()
    a, b, _, c, d, *_ = struct.unpack("=9i", display_matrix[:36])
    # Only the signs count: files scale and shear a little in here, or write all zeros (then as stored), and a picture
    # turned by 3° would need pixels from beyond its border.
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


def thumbnail(rgb: NDArray[np.uint8], width: int = 320) -> bytes:
    """``rgb (h, w, 3)`` as a JPEG ``width`` pixels wide, with the same aspect; never larger than the picture.

    >>> thumbnail(np.zeros((72, 128, 3), np.uint8))[:2].hex()
    'ffd8'
    """
    from PIL import Image

    _check_rgb(rgb)
    if width < 1:
        raise ValueError(f"width must be at least 1 pixel, got {width}")
    if rgb.shape[1] > width:
        import av
        from av.video.reformatter import VideoReformatter

        height = max(1, round(rgb.shape[0] * width / rgb.shape[1]))
        # the decoder's scaler takes half of Pillow's time, and this was most of what a frame costs beside its decoding
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        scaled = VideoReformatter().reformat(frame, width, height, "rgb24", interpolation="BICUBIC", threads=1)
        rgb = scaled.to_ndarray()  # type: ignore[assignment]
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=_THUMBNAIL_QUALITY)
    return buffer.getvalue()


def block_means(rgb: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """``rgb (h, w, 3)`` averaged over blocks of ``side × side`` pixels, to whole levels: ``(rows, columns, 3)``.

    Blocks at the right and lower edge may be smaller.

    >>> block_means(np.full((9, 16, 3), 7, np.uint8), 8)[..., 0].tolist()
    [[7.0, 7.0], [7.0, 7.0]]
    """
    from PIL import Image

    _check_rgb(rgb)
    return np.asarray(Image.fromarray(rgb).reduce(side), np.float32)


def compress(rgb: NDArray[np.uint8], quality: int | None) -> bytes:
    """``rgb (h, w, 3)`` as a JPEG of ``quality`` 1 to 100 with full colour resolution; as a PNG, exactly, if None.

    >>> compress(np.zeros((4, 6, 3), np.uint8), 90)[:2].hex(), compress(np.zeros((4, 6, 3), np.uint8), None)[1:4]
    ('ffd8', b'PNG')
    """
    from PIL import Image

    _check_rgb(rgb)
    if quality is not None and not 1 <= quality <= 100:
        raise ValueError(f"quality must be 1 to 100, or None for lossless, got {quality}")
    picture, buffer = Image.fromarray(rgb), io.BytesIO()
    if quality is None:
        picture.save(buffer, "PNG", compress_level=1)  # higher levels save a tenth and take four times as long
    else:
        # by default JPEG halves the resolution of colour, which smears small coloured things
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
