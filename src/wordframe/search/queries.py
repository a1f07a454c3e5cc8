"""A query as features: a sentence, an image, or a video clip, all in the encoder's one space.

An image or a clip becomes a text of one word whose features are those of the picture.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from wordframe.encoders import Encoder
from wordframe.errors import WordframeError
from wordframe.features import TextFeatures
from wordframe.video import open_frames, per_second, uniform
from wordframe.video.decode import VideoInfo

MAX_QUERY_CHARACTERS = 512
MAX_IMAGE_PIXELS = 64_000_000
IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""Formats that are read; Pillow knows others that start programs."""
CLIP_FRAMES = 12


def check_query(text: str) -> str:
    """The query without surrounding blanks.

    Raises:
        WordframeError: it is empty or longer than 512 characters.

    >>> check_query("  a red car ")
    'a red car'
    """
    stripped = text.strip()
    if not stripped:
        raise WordframeError('the query is empty; describe what the video shows, such as "a dog on a beach"')
    if len(stripped) > MAX_QUERY_CHARACTERS:
        raise WordframeError(
            f"the query has {len(stripped)} characters, at most {MAX_QUERY_CHARACTERS} are allowed; shorten it"
        )
    return stripped


def text_query(encoder: Encoder, text: str) -> TextFeatures:
    """One sentence, ``T = 1``."""
    return encoder.encode_text([check_query(text)])


def image_query(encoder: Encoder, picture: str | Path | bytes) -> TextFeatures:
    """A picture file, or its content, upright as its EXIF data says.

    Raises:
        WordframeError: the file is missing, no picture, damaged, or larger than 64 million pixels.
    """
    name = "the picture" if isinstance(picture, bytes) else str(picture)
    try:
        with Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture, formats=IMAGE_FORMATS) as image:
            if image.width * image.height > MAX_IMAGE_PIXELS:
                raise WordframeError(f"{name}: {image.width} × {image.height} pixels are too many; scale it down")
            image.draft("RGB", (4 * encoder.short_side, 4 * encoder.short_side))
            pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except FileNotFoundError:
        raise WordframeError(f"{name}: no such file") from None
    except WordframeError:
        raise
    except Exception as error:  # Pillow's plug-ins raise anything on damaged files
        raise WordframeError(f"{name}: cannot be read as a picture ({error})") from None
    return _as_text(encoder.encode_frames(pixels[None]))


def clip_query(encoder: Encoder, path: str | Path) -> TextFeatures:
    """A video file, by 12 frames spread over it.

    Raises:
        VideoError: it is missing or no video.
    """

    def times(info: VideoInfo) -> list[float]:
        if info.duration_seconds is None:
            return list(per_second(1.0, 0.0, float(CLIP_FRAMES)))
        return list(uniform(0.0, info.duration_seconds, CLIP_FRAMES))

    with open_frames(str(path), times, short_side=encoder.short_side) as frames:
        features = torch.cat([encoder.encode_frames(frame.rgb[None]) for frame in frames])
    return as_query(features)


def as_query(frames: Tensor) -> TextFeatures:
    """Frames ``(F, D)`` as a query: the mean of their directions."""
    return _as_text(torch.nn.functional.normalize(frames, dim=-1).mean(dim=0, keepdim=True))


def _as_text(vector: Tensor) -> TextFeatures:
    return TextFeatures(vector, vector[:, None], torch.ones(1, 1, dtype=torch.bool))
