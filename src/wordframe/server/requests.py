"""How a request is read: what all routes share, the query in the address or as a picture, the choices of a search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Path, Request
from fastapi import Query as Parameter
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from wordframe.client import schemas as wire
from wordframe.search import Query
from wordframe.server.answers import Answers
from wordframe.server.indexing import Indexing
from wordframe.server.pool import WorkerPool
from wordframe.server.problems import ProblemError
from wordframe.server.served import ServedLibrary
from wordframe.server.warming import Warming

IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/tiff", "image/avif")
_PICTURES: dict[str, Any] = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in IMAGE_TYPES}
PICTURE_BODY = {"requestBody": {"required": True, "content": _PICTURES}}
"""A body that is a picture, as the OpenAPI document has it. FastAPI would read and check the body itself if it knew."""
SEARCH_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/SearchRequest"}}} | _PICTURES,
    }
}
"""A search as JSON, or its picture."""


@dataclass(frozen=True)
class Context:
    """What the routes of one application share.

    searching: for model work; cutting: for clips, which take longer; warming: knows whether all is loaded.
    """

    served: ServedLibrary
    answers: Answers
    indexing: Indexing
    searching: WorkerPool
    cutting: WorkerPool
    warming: Warming


def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


Shared = Annotated[Context, Depends(_context)]
Id = Annotated[str, Path(min_length=1, max_length=wire.MAX_ID, pattern=wire.ID_PATTERN)]


class VideoParameters(wire.Filters):
    """The parameters of ``GET /videos``."""

    limit: Annotated[int, Parameter(ge=1, le=200)] = 50
    cursor: Annotated[str | None, Parameter(max_length=256)] = None

    def filters(self) -> wire.Filters:
        """The filters alone."""
        return wire.Filters(**self.model_dump(include=set(wire.Filters.model_fields)))


class SearchParameters(wire.Filters):
    """The parameters of ``GET /search``, and of a search by a picture."""

    text: wire.Text | None = None
    like: wire.SegmentId | None = None
    limit: Annotated[int, Parameter(ge=1, le=100)] = 20
    moments: Annotated[int, Parameter(ge=1, le=10)] = 3
    cursor: Annotated[str | None, Parameter(max_length=256)] = None
    exact: bool = False
    include: Annotated[list[wire.Include], Parameter(default_factory=list, max_length=4)]

    def request(self, *, image: bool = False) -> wire.SearchRequest:
        """The same as ``POST`` takes it; a picture stands for the text."""
        given = self.model_dump()
        filters = {name: given.pop(name) for name in wire.Filters.model_fields}
        if image:
            if self.text is not None or self.like is not None:
                raise ProblemError(422, "give exactly one of text, like and a picture")
            given["text"] = "the picture"
        try:
            return wire.SearchRequest(**given, filters=wire.Filters(**filters))
        except ValidationError as error:
            raise RequestValidationError(error.errors()) from None


async def search_of_body(request: Request, parameters: SearchParameters) -> tuple[wire.SearchRequest, bytes | None]:
    """The search that a body asks for, and its picture: JSON with all choices, or a picture with ``parameters``."""
    kind = _body_kind(request)
    body = await request.body()
    if kind in IMAGE_TYPES:
        return parameters.request(image=True), body
    if kind != "application/json":
        # also what keeps forms of other sites out: they can send anything but JSON and pictures
        raise ProblemError(415, f"send application/json, or a picture as one of {', '.join(IMAGE_TYPES)}")
    try:
        return wire.SearchRequest.model_validate_json(body, strict=True), None
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False)
        if errors[0]["type"] == "json_invalid":
            told = errors[0]["msg"].removeprefix("Invalid JSON: ")
            if "hex escape" in told:
                told = f"half a character, {told}; write it anew"
            raise ProblemError(400, f"the body is no JSON ({told})") from None
        raise RequestValidationError(errors) from None


def _in_address(
    q: Annotated[str | None, Parameter(min_length=1, max_length=wire.MAX_TEXT)] = None,
    like: Annotated[wire.SegmentId | None, Parameter()] = None,
) -> Query:
    if (q is None) == (like is None):
        raise ProblemError(422, "give exactly one of q and like")
    return Query(text=q, like=like)


async def _as_picture(request: Request) -> Query:
    if _body_kind(request) not in IMAGE_TYPES:
        raise ProblemError(415, f"send a picture as one of {', '.join(IMAGE_TYPES)}")
    return Query(image=await request.body())


def _body_kind(request: Request) -> str:
    """The media type of a request's body, without its parameters; empty if it is not told."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


InAddress = Annotated[Query, Depends(_in_address)]
"""A sentence ``q``, or ``like`` a segment."""
AsPicture = Annotated[Query, Depends(_as_picture)]
"""The body is a picture."""
