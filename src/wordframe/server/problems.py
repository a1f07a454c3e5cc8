"""Errors as problem documents (RFC 9457), also those of the framework."""

from __future__ import annotations

import http
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from wordframe.addresses import is_address
from wordframe.client import schemas as wire
from wordframe.errors import LibraryError, NotFoundError, VideoError, WordframeError
from wordframe.server.answers import CursorError

MEDIA_TYPE = "application/problem+json"
_ADDRESS = re.compile(r"\b(?:s3|gs|az)://[^\s:;,'\"()]*")
_PATH = re.compile(r"(?<![\w.:/\\])(?:[A-Za-z]:)?(?:[/\\][^/\\\s:;,'\"()]+)+[/\\]?")


class ProblemError(HTTPException):
    """An answer that is an error: a status and one line that says what to do."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, detail, headers)


def problem(
    status: int, detail: str, headers: dict[str, str] | None = None, instance: str | None = None
) -> JSONResponse:
    """The answer."""
    body = wire.Problem(title=http.HTTPStatus(status).phrase, status=status, detail=detail, instance=instance)
    content = body.model_dump(exclude_none=True)
    # "replace": a message may hold the name of a file that is no UTF-8
    content["detail"] = detail.encode("utf-8", "replace").decode()
    return JSONResponse(content, status, headers, MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's ``responses``: the problems it may answer with, beyond those that any route may."""
    return {
        status: {
            "description": http.HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted({400, 401, 403, 421, 422, 500, 503, *statuses})
    }


def add_handlers(app: FastAPI, root_path: str = "", *, library: str) -> None:
    """Let every error of ``app`` become a problem document.

    Args:
        root_path: what callers see before the paths of ``app``.
        library: the address of the place that callers are not told.
    """

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_methods(app, request.url.path))
        return problem(error.status_code, str(error.detail), headers, root_path + request.url.path)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return problem(422, _first_error(error.errors()), None, root_path + request.url.path)

    @app.exception_handler(WordframeError)
    async def _wordframe(request: Request, error: WordframeError) -> JSONResponse:
        text = str(error)
        if not isinstance(error, (NotFoundError, CursorError)):  # these quote what was asked for, and nothing else
            text = without_places(text, library)
        return problem(status_of(error), text, None, root_path + request.url.path)

    @app.exception_handler(OSError)
    async def _of_the_system(request: Request, error: OSError) -> JSONResponse:
        """A disk that is full, nowhere for temporary files, too many open ones: nothing that a caller can mend."""
        reason = without_places((error.strerror or type(error).__name__).lower(), library)
        return problem(503, f"the server's machine cannot do this now: {reason}", None, root_path + request.url.path)


def without_places(text: str, library: str) -> str:
    """A message of this machine as a caller may read it: of a path its last name stays, of the library's not even that.

    >>> without_places("/home/ann/my lib: cannot read /home/ann/my lib/tables", "/home/ann/my lib")
    'the library: cannot read the library'
    >>> without_places("/srv/my videos/a.mp4: no video (see /var/log/a.log)", "/lib")
    'a.mp4: no video (see a.log)'
    >>> without_places("s3://films/my videos/a.mp4: no video (of s3://films/new/)", "/lib")
    'a.mp4: no video (of new)'
    """
    folder = re.escape(library)
    text = re.sub(rf"{folder}(?:[/\\][^\s:;,'\"()]*)?(?![^\s/\\:;,'\"()])", "the library", text)
    start, colon, rest = text.partition(": ")
    if Path(start).is_absolute() or is_address(
        start
    ):  # a message begins with the path it is about, which may have spaces
        text = Path(start).name + colon + rest
    text = _ADDRESS.sub(lambda found: found[0].rstrip("/").rpartition("/")[2], text)
    return _PATH.sub(lambda found: re.split(r"[/\\]", found[0].rstrip("/\\"))[-1], text)


def _methods(app: FastAPI, path: str) -> list[str]:
    """All that an address of the API takes; the framework names those of one of its routes only."""
    paths = app.openapi()["paths"]
    found = {method.upper() for place in paths if compile_path(place)[0].match(path) for method in paths[place]}
    return sorted(found)


def status_of(error: WordframeError) -> int:
    """The status for what the packages below raise."""
    for kind, status in ((CursorError, 400), (NotFoundError, 404), (VideoError, 422), (LibraryError, 503)):
        if isinstance(error, kind):
            return status
    return 422


def _first_error(errors: Sequence[Any]) -> str:
    """The first thing that is wrong with a request, in a line."""
    first = errors[0]
    steps = first["loc"][1:] if first["loc"][:1] in (("body",), ("query",), ("path",), ("header",)) else first["loc"]
    place = ".".join(str(step) for step in steps)
    message = str(first["msg"]).removeprefix("Value error, ")
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{place}: {message}{more}" if place else f"{message}{more}"
