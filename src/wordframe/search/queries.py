"""A query: what somebody asks for, and as features in the encoder's one space.

An image or a clip becomes a text of one word whose features are those of the picture.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wordframe.encoders import Encoder
from wordframe.errors import WordframeError, whole_text
from wordframe.features import TextFeatures
from wordframe.library import Snapshot
from wordframe.models import fit_text, kept_words
from wordframe.search._picture import read_picture

if TYPE_CHECKING:
    from wordframe.video import VideoInfo

MAX_QUERY_CHARACTERS = 512
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
        return EncodedQuery(_finite(fit_text(encoder.encode_text([text]), max_words)), words, text)
    if query.image is not None:
        features = image_query(encoder, query.image)
    elif query.clip is not None:
        features = clip_query(encoder, query.clip)
    else:
        assert query.like is not None
        video = snapshot.frames([snapshot.segment_row(query.like)])
        features = as_query(video.frames[0][video.frame_mask[0]])
    return EncodedQuery(_finite(features), ("the query",))


def _finite(features: TextFeatures) -> TextFeatures:
    if not bool(features.sentence.isfinite().all() and features.words.isfinite().all()):
        raise WordframeError(
            "the encoder makes something of this query that is not a number: its weights are damaged, or overflow; "
            "wordframe doctor tries it"
        )
    return features


def check_query(text: str) -> str:
    """The query without surrounding blanks, full-width letters and the like as plain ones (Unicode's NFKC).

    Raises:
        WordframeError: it is empty, longer than 512 characters, or holds half a character.

    >>> check_query("  a red car "), check_query("ａ　ｄｏｇ")
    ('a red car', 'a dog')
    """
    stripped = unicodedata.normalize("NFKC", whole_text(text, "the query")).strip()
    if not stripped:
        raise WordframeError('the query is empty; describe what the video shows, such as "a dog on a beach"')
    if len(stripped) > MAX_QUERY_CHARACTERS:
        raise WordframeError(
            f"the query has {len(stripped)} characters, at most {MAX_QUERY_CHARACTERS} are allowed; shorten it"
        )
    return stripped


def image_query(encoder: Encoder, picture: str | Path | bytes) -> TextFeatures:
    """A picture file, or its content; see ``read_picture``.

    Raises:
        WordframeError: as ``read_picture``.
    """
    return _as_text(encoder.encode_frames(read_picture(picture, short_side=encoder.short_side)[None]))


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
