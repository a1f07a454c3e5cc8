"""Searching: ``/search``, and why a segment was found."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from wordframe.client import schemas as wire
from wordframe.server import answers
from wordframe.server.problems import ProblemError, documented
from wordframe.server.routes.asked import IMAGE_TYPES, PICTURE_BODY, PICTURES, AsPicture, InAddress, body_kind
from wordframe.server.routes.context import Context, Id, Shared

router = APIRouter(tags=["search"])

_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/SearchRequest"}}} | PICTURES,
    }
}


class SearchParameters(wire.Filters):
    """The parameters of ``GET /search``, and of a search by a picture."""

    text: wire.Text | None = None
    like: wire.SegmentId | None = None
    limit: Annotated[int, Query(ge=1, le=100)] = 20
    moments: Annotated[int, Query(ge=1, le=10)] = 3
    cursor: Annotated[str | None, Query(max_length=256)] = None
    exact: bool = False
    include: Annotated[list[wire.Include], Query(default_factory=list, max_length=4)]

    def request(self, *, image: bool = False) -> wire.SearchRequest:
        """The same as ``POST`` takes it; a picture stands for the text."""
        names = set(wire.Filters.model_fields)
        told = self.model_dump()
        filters = {name: told.pop(name) for name in names}
        if image:
            if self.text is not None or self.like is not None:
                raise ProblemError(422, "give exactly one of text, like and a picture")
            told["text"] = "the picture"
        try:
            return wire.SearchRequest(**told, filters=wire.Filters(**filters))
        except ValidationError as error:
            raise RequestValidationError(error.errors()) from None


@router.get("/search", summary="Search by a sentence, or like a segment", responses=documented(404))
async def search(context: Shared, parameters: Annotated[SearchParameters, Query()]) -> wire.SearchResult:
    """The best videos with their best moments. Give ``text``, or ``like`` with the id of a segment."""
    return await _answer(context, parameters.request(), None)


@router.post(
    "/search",
    summary="Search by a sentence, like a segment, or by a picture",
    responses=documented(404, 413, 415),
    openapi_extra=_BODY,
)
async def search_by_body(
    request: Request, context: Shared, parameters: Annotated[SearchParameters, Query()]
) -> wire.SearchResult:
    """JSON with the query and all choices; or a picture as the body, with the choices in the address."""
    kind = body_kind(request)
    body = await request.body()
    if kind in IMAGE_TYPES:
        return await _answer(context, parameters.request(image=True), body)
    if kind != "application/json":
        raise ProblemError(415, f"send application/json, or a picture as one of {', '.join(IMAGE_TYPES)}")
    try:
        wanted = wire.SearchRequest.model_validate_json(body, strict=True)
    except ValidationError as error:
        told = error.errors(include_url=False, include_context=False)
        if told[0]["type"] == "json_invalid":
            raise ProblemError(400, "the body is no JSON") from None
        raise RequestValidationError(told) from None
    return await _answer(context, wanted, None)


@router.get("/segments/{segment_id}/explain", summary="Why a segment fits", responses=documented(404))
async def explain(context: Shared, segment_id: Id, asked: InAddress) -> wire.Explanation:
    """The four parts and their weights, and where a sentence ``q`` and its words look; or the same for ``like``."""
    found, _ = await context.searching.run(lambda: answers.explain(context.opened, segment_id, asked))
    return found


@router.post(
    "/segments/{segment_id}/explain",
    summary="Why a segment fits a picture",
    responses=documented(404, 413, 415),
    openapi_extra=PICTURE_BODY,
)
async def explain_for_picture(context: Shared, segment_id: Id, asked: AsPicture) -> wire.Explanation:
    """The same for a picture as the body."""
    return await explain(context, segment_id, asked)


async def _answer(context: Context, wanted: wire.SearchRequest, image: bytes | None) -> wire.SearchResult:
    found, waited = await context.searching.run(lambda: answers.search(context.opened, wanted, image))
    return found.model_copy(update={"timings": found.timings.model_copy(update={"waiting_ms": round(waited, 2)})})
