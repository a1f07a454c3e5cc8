"""A library as tools for agents, by the Model Context Protocol: a thin layer over ``wordframe.client``.

Agents get names, times and scores, never the bytes of a file, and give ids, never paths.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable
from typing import Annotated, Any, ParamSpec, TypeVar

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

from wordframe import __version__
from wordframe.client import Client
from wordframe.client import schemas as wire
from wordframe.errors import WordframeError

_INSTRUCTIONS = (
    "Searches a person's own videos by what they show. Describe a moment in a plain sentence; each answer names a "
    "video and the seconds at which its best moments lie. Speech and text in the picture are not searched. Items "
    "marked weak are no better than chance: tell so, do not present them as found."
)
Given = ParamSpec("Given")
Answer = TypeVar("Answer")
_READS = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)

Sentence = Annotated[str, Field(max_length=wire.MAX_TEXT, description="What the moment shows, in a plain sentence.")]
Limit = Annotated[int, Field(ge=1, le=50, description="At most so many videos.")]
SegmentId = Annotated[str, Field(description="segment_id of a moment in an earlier answer.")]
Cursor = Annotated[str | None, Field(description="next_cursor of the page before, to go on.")]
VideoId = Annotated[str, Field(description="video_id from an earlier answer.")]


def make_server(client: Client, *, links: bool) -> MCPServer[Any]:
    """The MCP server that speaks to the wordframe server behind ``client``.

    Args:
        links: tell the addresses of moments as clips; for servers that others than the agent can open.
    """
    link_start = client.url if links else None
    server: MCPServer[Any] = MCPServer(
        "wordframe", version=__version__, instructions=_INSTRUCTIONS, log_level="WARNING"
    )

    tool = _adder(server)

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
        return _told(client.search(sentence, limit=limit, filters=filters, cursor=cursor), link_start)

    @tool
    def find_similar(segment_id: SegmentId, limit: Limit = 5) -> dict[str, Any]:
        """Find moments of other videos that look like a moment of an earlier answer."""
        return _told(client.search(like=segment_id, limit=limit), link_start)

    @tool
    def explain_moment(segment_id: SegmentId, sentence: Sentence) -> dict[str, Any]:
        """Say why a moment fits a sentence: the parts of its score, and the times that sentence and words point to."""
        found = client.explain(segment_id, sentence)
        told: dict[str, Any] = {"score": found.score, "parts": found.parts, "part_weights": found.part_weights}
        if found.sentence_attention:
            place = max(range(len(found.seconds)), key=found.sentence_attention.__getitem__)
            told["sentence_points_to_seconds"] = found.seconds[place]
        told["words_point_to_seconds"] = {word.word: word.peak_seconds for word in found.words or ()}
        return told

    @tool
    def rank_sentences(
        video_id: VideoId, sentences: Annotated[list[str], Field(min_length=1, max_length=wire.MAX_TEXTS)]
    ) -> list[dict[str, Any]]:
        """Rank sentences by how well they describe a video, each with the time of its best moment."""
        ranked = client.rank_texts(video_id, sentences).items
        return [{"sentence": item.text, "score": item.score, "seconds": item.moment.peak_seconds} for item in ranked]

    @tool
    def list_videos(
        limit: Annotated[int, Field(ge=1, le=200)] = 50,
        cursor: Cursor = None,
    ) -> dict[str, Any]:
        """List the videos of the library by path, page by page."""
        page = client.videos(limit=limit, cursor=cursor)
        fields = {"video_id", "path", "duration_seconds", "modified"}
        videos = [video.model_dump(mode="json", include=fields) for video in page.items]
        return {"videos": videos, "next_cursor": page.next_cursor, "num_videos": page.num_videos}

    @tool
    def library_info() -> dict[str, Any]:
        """Say how many videos the library holds, in which folders, and whether indexing goes on."""
        return client.library().model_dump(mode="json") | {"indexing": client.index_status().state}

    return server


def _adder(server: MCPServer[Any]) -> Callable[[Callable[Given, Answer]], Callable[Given, Answer]]:
    """Adds a function as a tool; what the server behind refuses, the agent reads in that server's own words."""

    def add(function: Callable[Given, Answer]) -> Callable[Given, Answer]:
        @functools.wraps(function)
        def tool(*given: Given.args, **named: Given.kwargs) -> Answer:
            try:
                return function(*given, **named)
            except WordframeError as error:
                raise ToolError(str(error)) from None

        return server.tool(annotations=_READS)(tool)

    return add


def _told(found: wire.SearchResult, link_start: str | None) -> dict[str, Any]:
    """What an agent needs of a page of results."""
    moment_fields = {"segment_id", "start_seconds", "end_seconds", "peak_seconds", "score"}
    items = [
        {
            "video_id": item.video_id,
            "path": item.path,
            "score": item.score,
            "weak": item.weak,
            "moments": [
                moment.model_dump(include=moment_fields)
                | ({} if link_start is None else {"clip_url": link_start + moment.clip_url})
                for moment in item.moments
            ],
        }
        for item in found.items
    ]
    return {"items": items, "next_cursor": found.next_cursor, "num_videos": found.num_videos}
