"""What a search gives, to Python, to the command line and over the wire: one class for each, no torch behind.

Numbers are whole in Python and rounded in JSON: times to milliseconds, scores to six digits.
Neighbours: ``search.py`` and its helpers make them; ``wordframe.client`` adds what only a server knows (addresses).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    SkipValidation,
    model_serializer,
)

Seconds = Annotated[float, PlainSerializer(lambda value: round(value, 3), when_used="json")]
Score = Annotated[float, PlainSerializer(lambda value: round(value, 6), when_used="json")]
FilePath = Annotated[str, SkipValidation]
"""A path as the system has it: bytes that are not UTF-8 stay in it as lone surrogates, which pydantic would refuse."""


class Result(BaseModel):
    """Base of all: frozen, and what has an unknown field is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and strings."""
        return self.model_dump(mode="json")


class WordAttention(Result):
    """A word of the query and how much it looks at each frame, summing to one; ``peak_seconds``: the frame it looks at
    most."""

    word: str
    attention: tuple[Score, ...]
    peak_seconds: Seconds


class WordShare(Result):
    """A word of the query and its share, of 1, in what a match owes to single words (``_words.py``)."""

    word: str
    share: Score


class Explanation(Result):
    """Why a segment fits a query; what the model does not have is None.

    seconds: when each frame is; parts: similarities by name (``video_sentence``, ``video_word``, ``sentence_frame``,
    ``frame_word``), on the scale of the score; part_weights: how much each counts, summing to one, so that
    ``score = Σ weight · part``; sentence_attention: how much the sentence looks at each frame, summing to one; words:
    the same for each token.
    """

    segment_id: str
    score: Score
    seconds: tuple[Seconds, ...]
    parts: dict[str, Score] = {}
    part_weights: dict[str, Score] | None = None
    sentence_attention: tuple[Score, ...] | None = None
    words: tuple[WordAttention, ...] | None = None

    def strongest(self, attention: Sequence[float]) -> tuple[float, float]:
        """The second of the frame that is looked at most, and its share; the first of several."""
        place = max(range(len(attention)), key=attention.__getitem__)
        return self.seconds[place], attention[place]


class Moment(Result):
    """A part ``[start_seconds, end_seconds)`` of a video; ``peak_seconds``: the frame that answers the query most."""

    segment_id: str
    start_seconds: Seconds
    end_seconds: Seconds
    peak_seconds: Seconds
    score: Score


class Hit(Result):
    """One video; ``start_seconds``, ``end_seconds`` and ``score`` are those of its best moment, ``moments[0]``.

    copies: other files of the same content, as far as they pass the filters; explanation: why that moment fits, if it
    was asked for.
    """

    rank: int
    score: Score
    path: FilePath
    start_seconds: Seconds
    end_seconds: Seconds
    video_id: str
    duration_seconds: Seconds
    moments: tuple[Moment, ...]
    copies: tuple[FilePath, ...] = ()
    explanation: Explanation | None = None

    @model_serializer(mode="wrap")
    def _without_what_was_not_asked(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        told: dict[str, Any] = plain(self)
        if self.explanation is None:
            told.pop("explanation", None)
        return told


class WordHeat(Result):
    """How much a word of the query speaks of each moment of a video."""

    word: str
    values: tuple[float, ...]


class Heat(Result):
    """How much each moment of a video answers a query.

    seconds: ascending times of the frames; values: each frame's share of its segment's attention times the segment's
    score above the library's usual, so that segments can be compared, from 0, where nothing answers the query, to 1 at
    the best frame (all 0 if none does); words: the same for each word, where the model looks by words; moments: the
    video's segments with their scores, best first.
    """

    video_id: str
    seconds: tuple[Seconds, ...]
    values: tuple[float, ...]
    words: tuple[WordHeat, ...] | None
    moments: tuple[Moment, ...]


class RankedText(Result):
    """A sentence with its best moment in a video; ``place``: where it stood in the list that was given, from 0."""

    rank: int
    place: int
    text: str
    score: Score
    moment: Moment
