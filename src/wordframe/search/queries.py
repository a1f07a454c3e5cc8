"""A query: what somebody asks for, and as features in the encoder's one space.

An image or a clip becomes a text of one word whose features are those of the picture.
"""

from __future__ import annotations

import io
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wordframe.encoders import Encoder
from wordframe.errors import WordframeError
from wordframe.features import TextFeatures
from wordframe.library import Snapshot
from wordframe.models import fit_text, kept_words

if TYPE_CHECKING:
    from wordframe.video import VideoInfo

MAX_QUERY_CHARACTERS = 512
MAX_IMAGE_PIXELS = 64_000_000
IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""Formats that are read; Pillow knows others that start programs."""
CLIP_FRAMES = 12


@dataclass(frozen=True, kw_only=True)
class Query:
    """Exactly one of a sentence, a picture (a file or its bytes), a clip (a file), and what looks like a segment.

    Raises:
        ValueError: none of them is given, or more than one.
    """

    text: str | None = None
    image: str | Path | bytes | None = None
    clip: str | Path | None = None
    like: str | None = None

    def __post_init__(self) -> None:
        given = [name for name, value in vars(self).items() if value is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(vars(self))}, got {', '.join(given) or 'none'}")


@dataclass(frozen=True)
class EncodedQuery:
    """A query as a model takes it.

    features: ``T = 1``; words: the text of each of its ``W`` positions; text: the sentence, None where it is no
    sentence.
    """

    features: TextFeatures
    words: tuple[str, ...]
    text: str | None = None


def encode(snapshot: Snapshot, query: Query) -> EncodedQuery:
    """The query's features, cut to the words that the snapshot's model takes.

    Raises:
        WordframeError: the query is empty, too long or unreadable, or there is no such segment.
    """
    encoder, max_words = snapshot.encoder, snapshot.model.max_words
    if query.text is not None:
        text = check_query(query.text)
        tokens = encoder.tokens(text)
        words = tuple(tokens[place] for place in kept_words(len(tokens), max_words))
        return EncodedQuery(fit_text(encoder.encode_text([text]), max_words), words, text)
    if query.image is not None:
        features = image_query(encoder, query.image)
    elif query.clip is not None:
        features = clip_query(encoder, query.clip)
    else:
        assert query.like is not None
        video = snapshot.frames([snapshot.segment_row(query.like)])
        features = as_query(video.frames[0][video.frame_mask[0]])
    return EncodedQuery(features, ("the query",))


def check_query(text: str) -> str:
    """The query without surrounding blanks, full-width letters and the like as plain ones (Unicode's NFKC).

    Raises:
        WordframeError: it is empty or longer than 512 characters.

    >>> check_query("  a red car "), check_query("ａ　ｄｏｇ")
    ('a red car', 'a dog')
    """
    stripped = unicodedata.normalize("NFKC", text).strip()
    if not stripped:
        raise WordframeError('the query is empty; describe what the video shows, such as "a dog on a beach"')
    if len(stripped) > MAX_QUERY_CHARACTERS:
        raise WordframeError(
            f"the query has {len(stripped)} characters, at most {MAX_QUERY_CHARACTERS} are allowed; shorten it"
        )
    return stripped


def image_query(encoder: Encoder, picture: str | Path | bytes) -> TextFeatures:
    """A picture file, or its content, upright as its EXIF data says.

    Raises:
        WordframeError: the file is missing, no picture, damaged, or larger than 64 million pixels.
    """
    import numpy as np
    from PIL import Image, ImageOps

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

    from wordframe.video import open_frames_apart, per_second, uniform  # brings the decoder, which no sentence needs

    def times(info: VideoInfo) -> list[float]:
        if info.duration_seconds is None:
            return list(per_second(1.0, 0.0, float(CLIP_FRAMES)))
        return list(uniform(0.0, info.duration_seconds, CLIP_FRAMES))

    with open_frames_apart(str(path), times, short_side=encoder.short_side) as frames:
        features = torch.cat([encoder.encode_frames(frame.rgb[None]) for frame in frames])
    return as_query(features)


def as_query(frames: Tensor) -> TextFeatures:
    """Frames ``(F, D)`` as a query: the mean of their directions."""
    return _as_text(torch.nn.functional.normalize(frames, dim=-1).mean(dim=0, keepdim=True))


def _as_text(vector: Tensor) -> TextFeatures:
    return TextFeatures(vector, vector[:, None], torch.ones(1, 1, dtype=torch.bool))
