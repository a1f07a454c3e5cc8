"""A library as tools for agents, by the Model Context Protocol: of a running server, or of this process.

Agents get names, times and scores, never the bytes of a file, and give ids, never paths. Neighbours:
``wordframe.client`` asks a running server, ``wordframe.server.Answers`` gives the same answers without one.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, Protocol, TypeVar
from urllib.parse import urljoin

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field, ValidationError

from wordframe import __version__
from wordframe.client import Client
from wordframe.client import schemas as wire
from wordframe.errors import WordframeError

if TYPE_CHECKING:
    from wordframe.server import ServedLibrary

__all__ = ["LocalLibrary", "RunningServer", "Source", "make_server"]
_INSTRUCTIONS = (
    "Searches a person's own videos by what they show. Describe a moment in a plain sentence; each answer names a "
    "video and the seconds at which its best moments lie. Speech and text in the picture are not searched. Items "
    "marked weak are no better than chance: tell so, do not present them as found. A note "
    "says what of a sentence cannot be searched for."
)
Given = ParamSpec("Given")
Answer = TypeVar("Answer")
Request = TypeVar("Request", bound=BaseModel)
Add = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Makes a tool of a function."""
_READS = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)

Sentence = Annotated[str, Field(max_length=wire.MAX_TEXT, description="What the moment shows, in a plain sentence.")]
Limit = Annotated[int, Field(ge=1, le=50, description="At most so many videos.")]
SegmentId = Annotated[str, Field(description="segment_id of a moment in an earlier answer.")]
Cursor = Annotated[str | None, Field(description="next_cursor of the page before, to go on.")]
VideoId = Annotated[str, Field(description="video_id from an earlier answer.")]


class Source(Protocol):
    """What the tools need of a library; every method may raise a WordframeError with a line for the agent."""

    def library(self) -> wire.LibraryInfo: ...

    def indexing_state(self) -> str: ...

    def search(
        self, text: str | None, *, like: str | None, limit: int, filters: wire.Filters, cursor: str | None
    ) -> wire.SearchResult: ...

    def explain(self, segment_id: str, text: str) -> wire.Explanation: ...

    def rank_texts(self, video_id: str, texts: Sequence[str]) -> wire.RankedTexts: ...

    def videos(self, *, limit: int, cursor: str | None) -> wire.VideoList: ...

    def link(self, address: str) -> str | None:
        """An ``…_url`` of an answer as a link that others than the agent can open; None where there is none."""


class RunningServer:
    """The library of a server, as its address shows it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.library, self.explain, self.rank_texts = client.library, client.explain, client.rank_texts
        self.search, self.videos = client.search, client.videos

    def indexing_state(self) -> str:
        """``never``, ``running``, ``finished`` or ``stopped``."""
        return self._client.index_status().state

    def link(self, address: str) -> str:
        """On the server; its answers name whole paths, also below a proxy's."""
        return urljoin(self._client.url, address)


class LocalLibrary:
    """A library that is read in this process, for this agent alone."""

    def __init__(self, served: ServedLibrary) -> None:
        from wordframe.server import Answers  # brings the library and its models, which an agent of a server needs not

        self._place, self._answers = served.place, Answers(served)

    def library(self) -> wire.LibraryInfo:
        """The library in numbers."""
        return self._answers.library()

    def indexing_state(self) -> str:
        """As ``RunningServer.indexing_state``."""
        from wordframe.library import read_status

        status = read_status(self._place)
        return "never" if status is None else status.state

    def search(
        self, text: str | None, *, like: str | None, limit: int, filters: wire.Filters, cursor: str | None
    ) -> wire.SearchResult:
        """A page of results."""
        request = _checked(wire.SearchRequest, text=text, like=like, limit=limit, filters=filters, cursor=cursor)
        return self._answers.search(request)

    def explain(self, segment_id: str, text: str) -> wire.Explanation:
        """Why a segment fits a sentence."""
        _checked(wire.SearchRequest, like=segment_id)  # ids of strange characters end here, as in an address
        from wordframe.search import Query

        return self._answers.explain(segment_id, Query(text=text))

    def rank_texts(self, video_id: str, texts: Sequence[str]) -> wire.RankedTexts:
        """Sentences by how well a video answers them."""
        return self._answers.rank_texts(video_id, _checked(wire.RankTextsRequest, texts=texts).texts)

    def videos(self, *, limit: int, cursor: str | None) -> wire.VideoList:
        """A page of the videos by path."""
        return self._answers.videos(wire.Filters(), limit, cursor)

    def link(self, address: str) -> None:
        """There is no server that would answer."""


def make_server(source: Source) -> MCPServer[Any]:
    """The MCP server with the tools of one library."""
    server: MCPServer[Any] = MCPServer(
        "wordframe", version=__version__, instructions=_INSTRUCTIONS, log_level="WARNING"
    )

    tool = _adder(server)
    _add_search(tool, source)
    _add_library(tool, source)
    return server


def _add_search(tool: Add, source: Source) -> None:
    """Tools that look for moments."""

    @tool
    def search_videos(
        sentence: Sentence,
        limit: Limit = 5,
        folder: Annotated[str | None, Field(description="Only videos below this folder, see library_info.")] = None,
        min_seconds: Annotated[float | None, Field(ge=0, description="Only videos at least as long.")] = None,
        max_seconds: Annotated[float | None, Field(ge=0, description="Only videos at most as long.")] = None,
        after: Annotated[datetime.date | None, Field(description="Only files of this day or later.")] = None,
        before: Annotated[datetime.date | None, Field(description="Only files of an earlier day.")] = None,
        cursor: Cursor = None,
    ) -> dict[str, Any]:
        """Find the videos, and the moments in them, that a sentence describes, best first, page by page."""
        filters = wire.Filters(
            folder=folder, min_seconds=min_seconds, max_seconds=max_seconds, after=after, before=before
        )
        return _page_for_agent(source.search(sentence, like=None, limit=limit, filters=filters, cursor=cursor), source)

    @tool
    def find_similar(segment_id: SegmentId, limit: Limit = 5) -> dict[str, Any]:
        """Find moments of other videos that look like a moment of an earlier answer."""
        return _page_for_agent(
            source.search(None, like=segment_id, limit=limit, filters=wire.Filters(), cursor=None), source
        )


def _add_library(tool: Add, source: Source) -> None:
    """Tools that say more of what is known already."""

    @tool
    def explain_moment(segment_id: SegmentId, sentence: Sentence) -> dict[str, Any]:
        """Say why a moment fits a sentence: the parts of its score, and the times that sentence and words point to."""
        found = source.explain(segment_id, sentence)
        # rounded as everywhere on the wire, whichever source it comes from
        reasons: dict[str, Any] = found.model_dump(mode="json", include={"score", "parts", "part_weights"})
        if found.sentence_attention:
            place = max(range(len(found.seconds)), key=found.sentence_attention.__getitem__)
            reasons["sentence_points_to_seconds"] = round(found.seconds[place], 3)
        reasons["words_point_to_seconds"] = {word.word: round(word.peak_seconds, 3) for word in found.words or ()}
        return reasons

    @tool
    def rank_sentences(
        video_id: VideoId, sentences: Annotated[list[str], Field(min_length=1, max_length=wire.MAX_TEXTS)]
    ) -> list[dict[str, Any]]:
        """Rank sentences by how well they describe a video, each with the time of its best moment."""
        ranked = source.rank_texts(video_id, sentences).items
        return [
            {"sentence": item.text, "score": round(item.score, 6), "seconds": round(item.moment.peak_seconds, 3)}
            for item in ranked
        ]

    @tool
    def list_videos(
        limit: Annotated[int, Field(ge=1, le=200)] = 50,
        cursor: Cursor = None,
    ) -> dict[str, Any]:
        """List the videos of the library by path, page by page."""
        page = source.videos(limit=limit, cursor=cursor)
        fields = {"video_id", "path", "duration_seconds", "modified"}
        videos = [video.model_dump(mode="json", include=fields) for video in page.items]
        return {"videos": videos, "next_cursor": page.next_cursor, "num_videos": page.num_videos}

    @tool
    def library_info() -> dict[str, Any]:
        """Say how many videos the library holds, in which folders, and whether indexing goes on."""
        return source.library().model_dump(mode="json") | {"indexing": source.indexing_state()}


def _adder(server: MCPServer[Any]) -> Add:
    """Adds a function as a tool; what the library refuses, the agent reads in the library's own words."""

    def add(function: Callable[Given, Answer]) -> Callable[Given, Answer]:
        @functools.wraps(function)  # the protocol's schema is made of the names, types and words of the function
        def tool(*given: Given.args, **named: Given.kwargs) -> Answer:
            try:
                return function(*given, **named)
            except WordframeError as error:
                raise ToolError(str(error)) from None

        return server.tool(annotations=_READS)(tool)

    return add


def _checked(kind: type[Request], **values: Any) -> Request:
    """A request as a server would take it.

    Raises:
        WordframeError: a value is not allowed.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        raise WordframeError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from None


def _page_for_agent(found: wire.SearchResult, source: Source) -> dict[str, Any]:
    """What an agent needs of a page of results."""
    return {
        "items": [
            {
                "video_id": item.video_id,
                "path": item.path,
                **({"copies": list(item.copies)} if item.copies else {}),
                "score": round(item.score, 6),
                "weak": item.weak,
                "moments": [_moment_for_agent(moment, source) for moment in item.moments],
            }
            for item in found.items
        ],
        "next_cursor": found.next_cursor,
        "num_videos": found.num_videos,
    } | ({} if found.note is None else {"note": found.note})


def _moment_for_agent(moment: wire.Moment, source: Source) -> dict[str, Any]:
    fields = {"segment_id", "start_seconds", "end_seconds", "peak_seconds", "score"}
    link = source.link(moment.clip_url)
    return moment.model_dump(mode="json", include=fields) | ({} if link is None else {"clip_url": link})
