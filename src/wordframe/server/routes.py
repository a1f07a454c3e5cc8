"""The addresses of ``/api/v1``: searching and why, the library and its videos, their files, indexing.

Plain functions run in the framework's many threads, so that a file or a list never waits for a search. What needs the
model or the encoder of a clip is a coroutine that hands its work to one of the two pools, which are bounded.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from wordframe import __version__
from wordframe.client import schemas as wire
from wordframe.server import media
from wordframe.server.pool import RETRY_SECONDS
from wordframe.server.problems import ProblemError, documented
from wordframe.server.requests import (
    PICTURE_BODY,
    SEARCH_BODY,
    AsPicture,
    Context,
    Id,
    InAddress,
    SearchParameters,
    Shared,
    VideoParameters,
    search_of_body,
)

router = APIRouter()
Known = Annotated[str | None, Header(max_length=1024)]
Seconds = Annotated[float | None, Query(ge=0, le=1e7, allow_inf_nan=False)]
_FILE = {"content": {"video/*": {"schema": {"type": "string", "format": "binary"}}}}
_CLIP = {
    "description": "An .mp4",
    "content": {"video/mp4": {}},
    "headers": {
        media.START_HEADER: {"description": "Where it starts in the video", "schema": {"type": "number"}},
        media.END_HEADER: {"description": "Where it ends in the video", "schema": {"type": "number"}},
        media.NOTES_HEADER: {"description": "What else was done to it, in words", "schema": {"type": "string"}},
    },
}
_MEDIA = documented(404, 409, 410, 416) | {
    200: {"description": "The whole file", **_FILE},
    206: {"description": "The ranges asked for", **_FILE},
    304: {"description": "The one you have"},
}

# Searching -----------------------------------------------------------------------------------------------------------


@router.get("/search", tags=["search"], summary="Search by a sentence, or like a segment", responses=documented(404))
async def search(context: Shared, parameters: Annotated[SearchParameters, Query()]) -> wire.SearchResult:
    """The best videos with their best moments. Give ``text``, or ``like`` with the id of a segment."""
    return await _search(context, parameters.request(), None)


@router.post(
    "/search",
    tags=["search"],
    summary="Search by a sentence, like a segment, or by a picture",
    responses=documented(404, 413, 415),
    openapi_extra=SEARCH_BODY,
)
async def search_by_body(
    request: Request, context: Shared, parameters: Annotated[SearchParameters, Query()]
) -> wire.SearchResult:
    """JSON with the query and all choices; or a picture as the body, with the choices in the address."""
    return await _search(context, *await search_of_body(request, parameters))


@router.get("/segments/{segment_id}/explain", tags=["search"], summary="Why a segment fits", responses=documented(404))
async def explain(context: Shared, segment_id: Id, query: InAddress) -> wire.Explanation:
    """The four parts and their weights, and where a sentence ``q`` and its words look; or the same for ``like``."""
    found, _ = await context.searching.run(lambda: context.answers.explain(segment_id, query))
    return found


@router.post(
    "/segments/{segment_id}/explain",
    tags=["search"],
    summary="Why a segment fits a picture",
    responses=documented(404, 413, 415),
    openapi_extra=PICTURE_BODY,
)
async def explain_for_picture(context: Shared, segment_id: Id, query: AsPicture) -> wire.Explanation:
    """The same for a picture as the body."""
    return await explain(context, segment_id, query)


@router.get("/words", tags=["search"], summary="Which words found some segments", responses=documented(404))
async def found_by(
    context: Shared,
    q: Annotated[str, Query(min_length=1, max_length=wire.MAX_TEXT)],
    segment: Annotated[list[wire.SegmentId], Query(min_length=1, max_length=100)],
) -> wire.FoundByList:
    """How much each word of ``q`` counted for each ``segment``: by how much the score falls without it, as a share."""
    found, _ = await context.searching.run(lambda: context.answers.found_by(q, segment))
    return found


async def _search(context: Context, wanted: wire.SearchRequest, image: bytes | None) -> wire.SearchResult:
    found, waited = await context.searching.run(lambda: context.answers.search(wanted, image))
    return found.model_copy(update={"timings": found.timings.model_copy(update={"waiting_ms": round(waited, 2)})})


# The library and its videos ------------------------------------------------------------------------------------------


@router.get("/health", tags=["library"], summary="Whether the server answers", responses=documented())
async def health() -> wire.Health:
    """Looks at nothing else, so it stays quick under load."""
    return wire.Health(version=__version__)


@router.get("/ready", tags=["library"], summary="Whether a search would find all loaded", responses=documented(503))
async def ready(context: Shared) -> wire.Health:
    """For a proxy in front of several servers: 503 while the model, the encoder and the index are being loaded."""
    if not context.warming.is_ready:
        raise ProblemError(503, "still loading what a search needs", {"Retry-After": str(RETRY_SECONDS)})
    return wire.Health(version=__version__)


@router.get("/library", tags=["library"], summary="What the library holds", responses=documented())
def library(context: Shared) -> wire.LibraryInfo:
    """Numbers, folders, and what the model can explain."""
    return context.answers.library()


@router.get("/videos", tags=["library"], summary="The videos, by path", responses=documented(404))
def videos(context: Shared, parameters: Annotated[VideoParameters, Query()]) -> wire.VideoList:
    """A page of the videos that pass the filters."""
    return context.answers.videos(parameters.filters(), parameters.limit, parameters.cursor)


@router.get("/videos/{video_id}", tags=["library"], summary="A video and its segments", responses=documented(404))
def video(context: Shared, video_id: Id) -> wire.VideoDetail:
    """What is known of a video."""
    return context.answers.video(video_id)


@router.get(
    "/videos/{video_id}/heat", tags=["library"], summary="Where in a video the answer is", responses=documented(404)
)
async def heat(context: Shared, video_id: Id, query: InAddress) -> wire.Heat:
    """How much each moment answers a sentence ``q``, or looks ``like`` a segment."""
    found, _ = await context.searching.run(lambda: context.answers.heat(video_id, query))
    return found


@router.post(
    "/videos/{video_id}/heat",
    tags=["library"],
    summary="Where in a video a picture is",
    responses=documented(404, 413, 415),
    openapi_extra=PICTURE_BODY,
)
async def heat_of_picture(context: Shared, video_id: Id, query: AsPicture) -> wire.Heat:
    """How much each moment looks like a picture, the body."""
    return await heat(context, video_id, query)


@router.post(
    "/videos/{video_id}/rank-texts",
    tags=["library"],
    summary="Sentences ranked for a video",
    responses=documented(404, 413),
)
async def rank_texts(context: Shared, video_id: Id, wanted: wire.RankTextsRequest) -> wire.RankedTexts:
    """Which of some sentences a video answers best, each with its best moment."""
    found, _ = await context.searching.run(lambda: context.answers.rank_texts(video_id, wanted.texts))
    return found


# Files, pictures, clips ----------------------------------------------------------------------------------------------


@router.get(
    "/videos/{video_id}/media",
    tags=["library"],
    summary="A video's file",
    responses=_MEDIA,
    response_class=Response,
    operation_id="media",
)
@router.head(
    "/videos/{video_id}/media",
    tags=["library"],
    summary="A video's file, the headers only",
    responses=_MEDIA,
    response_class=Response,
    operation_id="media_headers",
)
def video_media(context: Shared, video_id: Id, if_none_match: Known = None) -> Response:
    """The file as it is, whole or in ranges (``Range``, ``If-Range``)."""
    return media.media(context.served, video_id, if_none_match)


@router.get(
    "/segments/{segment_id}/thumbnail",
    tags=["library"],
    summary="A segment's picture",
    response_class=Response,
    responses=documented(404)
    | {200: {"description": "A JPEG", "content": {"image/jpeg": {}}}, 304: {"description": "The one you have"}},
)
def thumbnail(
    context: Shared,
    segment_id: Id,
    v: Annotated[str | None, Query(max_length=64)] = None,
    if_none_match: Known = None,
) -> Response:
    """With the ``v`` that ``thumbnail_url`` has, it never changes; a cache may keep it for good."""
    return media.thumbnail(context.served, segment_id, v, if_none_match)


@router.get(
    "/segments/{segment_id}/clip",
    tags=["library"],
    summary="A moment as a file",
    response_class=Response,
    responses=documented(404, 409, 410) | {200: _CLIP},
)
async def clip(context: Shared, segment_id: Id, start: Seconds = None, end: Seconds = None) -> Response:
    """``[start, end)`` of the segment's video in seconds, at most a minute; by default the segment itself."""
    found, _ = await context.cutting.run(lambda: media.clip(context.served, segment_id, start, end))
    return found


# Indexing ------------------------------------------------------------------------------------------------------------


@router.get("/index", tags=["index"], summary="How indexing gets on", responses=documented())
def index_status(context: Shared) -> wire.IndexStatus:
    """Of the run that goes on, whoever started it, else of the last one."""
    return context.indexing.status()


@router.post(
    "/index", tags=["index"], summary="Bring the library up to date", status_code=202, responses=documented(409)
)
def start_index(context: Shared) -> wire.IndexStatus:
    """Looks through the folders that the library was made of; other folders are added from the command line."""
    context.indexing.start()
    return context.indexing.status()


@router.delete(
    "/index",
    tags=["index"],
    summary="End a run that this server started",
    status_code=202,
    responses=documented(409),
)
def stop_index(context: Shared) -> wire.IndexStatus:
    """In order: what is finished is kept, and the next run goes on from there."""
    context.indexing.stop()
    return context.indexing.status()
