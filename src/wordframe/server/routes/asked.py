"""How a request says what it asks for: in the address, or with a picture as its body."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Query, Request

from wordframe.client import schemas as wire
from wordframe.server.answers import Asked
from wordframe.server.problems import ProblemError

IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/tiff")
PICTURES: dict[str, Any] = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in IMAGE_TYPES}
"""The kinds of bodies, as the OpenAPI document tells them."""
PICTURE_BODY = {"requestBody": {"required": True, "content": PICTURES}}


def body_kind(request: Request) -> str:
    """The media type of a request's body, without its parameters; empty if it is not told."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


def _in_address(
    q: Annotated[str | None, Query(min_length=1, max_length=wire.MAX_TEXT)] = None,
    like: Annotated[wire.SegmentId | None, Query()] = None,
) -> Asked:
    if (q is None) == (like is None):
        raise ProblemError(422, "give exactly one of q and like")
    return Asked(text=q, like=like)


async def _as_picture(request: Request) -> Asked:
    if body_kind(request) not in IMAGE_TYPES:
        raise ProblemError(415, f"send a picture as one of {', '.join(IMAGE_TYPES)}")
    return Asked(image=await request.body())


InAddress = Annotated[Asked, Depends(_in_address)]
"""A sentence ``q``, or ``like`` a segment."""
AsPicture = Annotated[Asked, Depends(_as_picture)]
"""The body is a picture."""
