"""The library itself: health, what it holds, its videos, and their files."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from wordframe import __version__
from wordframe.client import schemas as wire
from wordframe.server import answers, media
from wordframe.server.problems import documented
from wordframe.server.routes.asked import PICTURE_BODY, AsPicture, InAddress
from wordframe.server.routes.context import Id, Shared

router = APIRouter(tags=["library"])
Known = Annotated[str | None, Header(max_length=1024)]
_FILE = {"content": {"video/*": {"schema": {"type": "string", "format": "binary"}}}}
_MEDIA = documented(404, 409, 410, 416) | {
    200: {"description": "The whole file", **_FILE},
    206: {"description": "The ranges asked for", **_FILE},
    304: {"description": "The one you have"},
}


class VideoParameters(wire.Filters):
    """The parameters of ``GET /videos``."""

    limit: Annotated[int, Query(ge=1, le=200)] = 50
    cursor: Annotated[str | None, Query(max_length=256)] = None


@router.get("/health", summary="Whether the server answers", responses=documented())
async def health() -> wire.Health:
    """Looks at nothing else, so it stays quick under load."""
    return wire.Health(version=__version__)


@router.get("/library", summary="What the library holds", responses=documented())
def library(context: Shared) -> wire.LibraryInfo:
    """Numbers, folders, and what the model can explain."""
    return answers.library_info(context.opened, allow_index=context.indexing.allowed)


@router.get("/videos", summary="The videos, by path", responses=documented(404))
def videos(context: Shared, parameters: Annotated[VideoParameters, Query()]) -> wire.VideoList:
    """A page of the videos that pass the filters."""
    names = set(wire.Filters.model_fields)
    filters = wire.Filters(**parameters.model_dump(include=names))
    return answers.video_list(context.opened, filters, parameters.limit, parameters.cursor)


@router.get("/videos/{video_id}", summary="A video and its segments", responses=documented(404))
def video(context: Shared, video_id: Id) -> wire.VideoDetail:
    """What is known of a video."""
    return answers.video_detail(context.opened, video_id)


@router.get(
    "/videos/{video_id}/media",
    summary="A video's file",
    responses=_MEDIA,
    response_class=Response,
    operation_id="media",
)
@router.head(
    "/videos/{video_id}/media",
    summary="A video's file, the headers only",
    responses=_MEDIA,
    response_class=Response,
    operation_id="media_headers",
)
def video_media(context: Shared, video_id: Id, if_none_match: Known = None) -> Response:
    """The file as it is, whole or in ranges (``Range``, ``If-Range``)."""
    return media.media(context.opened, video_id, if_none_match)


@router.get("/videos/{video_id}/heat", summary="Where in a video the answer is", responses=documented(404))
async def heat(context: Shared, video_id: Id, asked: InAddress) -> wire.Heat:
    """How much each moment answers a sentence ``q``, or looks ``like`` a segment."""
    found, _ = await context.searching.run(lambda: answers.heat(context.opened, video_id, asked))
    return found


@router.post(
    "/videos/{video_id}/heat",
    summary="Where in a video a picture is",
    responses=documented(404, 413, 415),
    openapi_extra=PICTURE_BODY,
)
async def heat_of_picture(context: Shared, video_id: Id, asked: AsPicture) -> wire.Heat:
    """How much each moment looks like a picture, the body."""
    return await heat(context, video_id, asked)


@router.post("/videos/{video_id}/rank-texts", summary="Sentences ranked for a video", responses=documented(404, 413))
async def rank_texts(context: Shared, video_id: Id, wanted: wire.RankTextsRequest) -> wire.RankedTexts:
    """Which of some sentences a video answers best, each with its best moment."""
    found, _ = await context.searching.run(lambda: answers.rank_texts(context.opened, video_id, wanted.texts))
    return found


@router.get(
    "/segments/{segment_id}/thumbnail",
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
    return media.thumbnail(context.opened, segment_id, v, if_none_match)


@router.get(
    "/segments/{segment_id}/clip",
    summary="A moment as a file",
    response_class=Response,
    responses=documented(404, 409, 410) | {200: {"description": "An .mp4", "content": {"video/mp4": {}}}},
)
async def clip(
    context: Shared,
    segment_id: Id,
    start: Annotated[float | None, Query(ge=0, le=1e7, allow_inf_nan=False)] = None,
    end: Annotated[float | None, Query(ge=0, le=1e7, allow_inf_nan=False)] = None,
) -> Response:
    """``[start, end)`` of the segment's video in seconds, at most a minute; by default the segment itself."""
    found, _ = await context.cutting.run(lambda: media.clip(context.opened, segment_id, start, end))
    return found
