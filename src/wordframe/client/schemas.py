"""What goes over the wire of ``/api/v1``: one class for each object, the same for server, client and documents.

What a search finds are the classes of ``wordframe.search``, the same as in Python and at the command line; here they
get what only a server knows (addresses, the video's file). Times are seconds from the start of a video, scores the
cosine-like number that ``wordframe search`` prints. Ids are opaque; those of unchanged videos survive re-indexing.
Addresses are paths on the server that answered.
Neighbours: ``client.py`` speaks it, ``server`` serves it, ``docs/api.md`` explains it to people.
"""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from wordframe import search
from wordframe.errors import WordframeError, whole_text
from wordframe.search import Explanation as Explanation
from wordframe.search import Seconds
from wordframe.search import WordAttention as WordAttention
from wordframe.search import WordHeat as WordHeat
from wordframe.search import WordShare as WordShare

MAX_TEXT = 512
MAX_TEXTS = 100
MAX_ID = 128
ID_PATTERN = r"^[A-Za-z0-9_-]+$"


def _whole(text: object) -> object:
    try:
        return whole_text(text, "the text") if isinstance(text, str) else text
    except WordframeError as error:
        raise ValueError(str(error)) from None  # pydantic's word for a value that is not allowed


Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT), BeforeValidator(_whole)]
SegmentId = Annotated[str, Field(min_length=1, max_length=MAX_ID, pattern=ID_PATTERN)]
Include = Literal["explanation"]
Explains = Literal["sentence", "words", "parts"]


def _written_out(day: object) -> object:
    if not isinstance(day, str):
        return day
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", day):  # seconds and weeks could be read too
        raise ValueError("write a day as 2026-01-31")
    return datetime.date.fromisoformat(day)


Day = Annotated[datetime.date, BeforeValidator(_written_out)]


class _Wire(BaseModel):
    # a field that is not known is refused: a misspelt filter must not silently find everything
    model_config = ConfigDict(frozen=True, extra="forbid")


class Problem(_Wire):
    """An error as RFC 9457 has it, sent as ``application/problem+json``."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str | None = None


class Health(_Wire):
    """Whether the server answers; it looks at nothing else."""

    status: Literal["ok"] = "ok"
    version: str


class Folder(_Wire):
    """A folder with videos of the library; ``name`` is what the filter ``folder`` takes."""

    name: str
    num_videos: int


class LibraryInfo(_Wire):
    """The library behind the server.

    explains: what the model can say of a match: where the sentence looks, where each word looks, the four parts.
    """

    name: str
    path: str
    encoder: str
    model: str
    num_videos: int
    num_segments: int
    num_failures: int
    seconds_of_video: Seconds
    folders: list[Folder]
    explains: list[Explains]
    allow_index: bool


class Filters(_Wire):
    """Which videos a search may look at; ``after`` and ``before`` are dates of the files, ``[after, before)``."""

    folder: Annotated[str | None, Field(max_length=1024)] = None
    min_seconds: Annotated[float | None, Field(ge=0, allow_inf_nan=False)] = None
    max_seconds: Annotated[float | None, Field(ge=0, allow_inf_nan=False)] = None
    after: Day | None = None
    before: Day | None = None


class SearchRequest(_Wire):
    """A query: a sentence, or ``like`` a segment. A picture is sent as the body itself, see ``docs/api.md``."""

    text: Text | None = None
    like: SegmentId | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    moments: Annotated[int, Field(ge=1, le=10)] = 3
    cursor: Annotated[str | None, Field(max_length=256)] = None
    filters: Filters = Filters()
    exact: bool = False
    include: list[Include] = []

    @model_validator(mode="after")
    def _one_query(self) -> SearchRequest:
        if (self.text is None) == (self.like is None):
            raise ValueError("give exactly one of text and like")
        return self


class Moment(search.Moment):
    """A part ``[start_seconds, end_seconds)`` of a video; ``peak_seconds`` answers the query most."""

    thumbnail_url: str
    clip_url: str


class VideoSummary(_Wire):
    """A video of the library. mime: for a player, with the codec's name where the browser can be asked about it."""

    video_id: str
    name: str
    path: str
    folder: str
    duration_seconds: Seconds
    width: int
    height: int
    codec: str
    container: str
    mime: str
    size_bytes: int
    modified: datetime.datetime
    problem: str | None
    media_url: str
    thumbnail_url: str


class SearchItem(search.Hit):
    """A video found, with the fields of ``wordframe search --json`` and more.

    weak: no better than what the library gives any query; weak ones come last. explanation: null unless asked for.
    """

    path: str
    moments: tuple[Moment, ...]
    copies: tuple[str, ...] = ()
    video: VideoSummary
    weak: bool

    @model_serializer(mode="wrap")
    def _without_what_was_not_asked(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """With all fields: over the wire each object has the same ones, whatever was asked for."""
        fields: dict[str, Any] = plain(self)
        return fields


class Timings(_Wire):
    """Milliseconds spent: waiting for a free place, making the query's features, finding and scoring."""

    waiting_ms: float
    encoding_ms: float
    searching_ms: float


class SearchResult(_Wire):
    """The best videos. words: the query's words as the model reads them; next_cursor: null at the end.

    note: a line for whoever asked, where the encoder cannot know what the sentence asks for; null elsewhere.
    """

    items: list[SearchItem]
    next_cursor: str | None
    num_videos: int
    words: list[str]
    note: str | None
    timings: Timings


class FoundBy(_Wire):
    """A segment, and which words of a sentence found it; none if no single word did."""

    segment_id: str
    words: tuple[WordShare, ...]


class FoundByList(_Wire):
    """Segments in the order asked for; none where there is nothing to tell, as of a sentence of one word."""

    items: list[FoundBy]


class SegmentInfo(_Wire):
    """A segment of a video."""

    segment_id: str
    start_seconds: Seconds
    end_seconds: Seconds
    thumbnail_url: str


class VideoDetail(_Wire):
    """A video with all its segments, in their order."""

    video: VideoSummary
    segments: list[SegmentInfo]


class VideoList(_Wire):
    """Videos by path."""

    items: list[VideoSummary]
    next_cursor: str | None
    num_videos: int


class Heat(search.Heat):
    """How much each moment of a video answers a query.

    seconds: ascending times of the frames; values: each frame's share of its segment's attention times the segment's
    score above the library's usual, so that segments can be compared, from 0 to 1 over the video; words: the same for
    each word, where the model has it; moments: the video's segments with their scores, best first.
    """

    moments: tuple[Moment, ...]


class RankTextsRequest(_Wire):
    """Sentences to be ranked for one video."""

    texts: Annotated[list[Text], Field(min_length=1, max_length=MAX_TEXTS)]


class RankedText(search.RankedText):
    """A sentence with its best moment in the video; ``place`` is its place in the request, from 0."""

    moment: Moment


class RankedTexts(_Wire):
    """Sentences, best first."""

    items: list[RankedText]


class IndexFailure(_Wire):
    """A file that could not be read, and why."""

    path: str
    reason: str


class IndexStatus(_Wire):
    """An indexing run, started by this server or from a command line, or the last one's end.

    state: ``never`` before the first; ``stopped`` was interrupted or died. remaining_seconds: null while unknown.
    problem: why a run that this server started died; failures: files that could not be read, the first 200 of
    num_failures.
    """

    state: Literal["never", "running", "finished", "stopped"]
    by_server: bool
    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int
    frames: int
    started: datetime.datetime | None
    ended: datetime.datetime | None
    remaining_seconds: float | None
    problem: str | None
    num_failures: int
    failures: list[IndexFailure]
    allow_index: bool
