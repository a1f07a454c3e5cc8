"""Videos on object storage by id: passed on from their store in ranges, so that browsers need no credentials.

The rules are those of files (``media.py``): below what was given to be indexed, and still the object that was. A range
costs the store one request; nothing is kept here. Of several ranges at once the whole is given, as anybody may do.
"""

from __future__ import annotations

import re
from email.utils import formatdate
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from wordframe.addresses import is_address
from wordframe.library import FoundFile, Snapshot, VideoEntry, look_at, read_range
from wordframe.server.problems import ProblemError

_RANGE = re.compile(r"\s*(\d*)\s*-\s*(\d*)\s*")


def object_media(
    snapshot: Snapshot, video: VideoEntry, known: str | None, *, media_type: str, filename: str
) -> Response:
    """The object of a video as it is; 304 where the caller has it."""
    _check_place(snapshot, video)
    quoted = quote(filename)
    name = f'filename="{filename}"' if quoted == filename else f"filename*=utf-8''{quoted}"
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": "no-cache",
        "Content-Disposition": f"inline; {name}",
        "ETag": f'"{video.modified_ns:x}-{video.size:x}"',
        "Last-Modified": formatdate(video.modified_ns // 10**9, usegmt=True),
    }
    if is_known(headers["ETag"], known):
        check_object(snapshot, video)
        return Response(
            status_code=304, headers={name: headers[name] for name in ("ETag", "Last-Modified", "Cache-Control")}
        )
    return _PassedOn(video, media_type, headers)


def is_known(tag: str, known: str | None) -> bool:
    """Whether an ``If-None-Match`` names ``tag``.

    >>> is_known('"a"', 'W/"b", W/"a"'), is_known('"a"', "*"), is_known('"a"', '"b"'), is_known('"a"', None)
    (True, True, False, False)
    """
    return known is not None and {tag, "*"} & {each.strip().removeprefix("W/") for each in known.split(",")} != set()


def check_object(snapshot: Snapshot, video: VideoEntry) -> None:
    """Whether a video's object may be served as what was indexed.

    Raises:
        ProblemError: 410 if it is gone, 409 if it is another than was indexed, 403 if it lies outside of the roots.
        LibraryError: the store cannot be reached or refuses.
    """
    _check_place(snapshot, video)
    try:
        _check_same(look_at(video.path), video)
    except FileNotFoundError:
        raise _gone() from None


def _check_place(snapshot: Snapshot, video: VideoEntry) -> None:
    if not (is_address(video.path) and snapshot.holds(video.path)):
        raise ProblemError(403, "this file leads out of the folders that were indexed")


def _check_same(found: FoundFile, video: VideoEntry) -> None:
    if (found.size, found.modified_ns) != (video.size, video.modified_ns):
        raise ProblemError(409, "the file has changed since it was indexed; index again")


def _gone() -> ProblemError:
    return ProblemError(410, "the file is gone; index again to forget it or to find it elsewhere")


class _PassedOn(Response):
    """An object, whole or in the range that the request names. It is asked for when the answer begins."""

    def __init__(self, video: VideoEntry, media_type: str, headers: dict[str, str]) -> None:
        self._video = video
        super().__init__(media_type=media_type, headers=headers | {"Content-Length": str(video.size)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        span = self._span(Headers(scope=scope))
        if span is not None:
            self.status_code = 206
            self.headers["Content-Range"] = f"bytes {span[0]}-{span[1] - 1}/{self._video.size}"
            self.headers["Content-Length"] = str(span[1] - span[0])
        answer = await run_in_threadpool(self._answer, span or (0, self._video.size), scope["method"])
        await answer(scope, receive, send)

    def _span(self, asked: Headers) -> tuple[int, int] | None:
        if_range = asked.get("if-range")
        if if_range is not None and if_range not in (self.headers["etag"], self.headers["last-modified"]):
            return None
        return wanted_span(asked.get("range"), self._video.size)

    def _answer(self, span: tuple[int, int], method: str) -> Response:
        try:
            if method == "HEAD":
                _check_same(look_at(self._video.path), self._video)
                return Response(status_code=self.status_code, headers=self.headers)
            found, parts = read_range(self._video.path, *span)
        except FileNotFoundError:
            raise _gone() from None
        _check_same(found, self._video)
        return StreamingResponse(parts, self.status_code, self.headers)


def wanted_span(asked: str | None, size: int) -> tuple[int, int] | None:
    """The bytes ``[start, stop)`` that a ``Range`` names, of ``size``; None for all of them.

    Raises:
        ProblemError: 400 for what makes no sense, 416 for a range outside.

    >>> wanted_span("bytes=2-4", 10), wanted_span("bytes=-3", 10), wanted_span("bytes=8-99", 10)
    ((2, 5), (7, 10), (8, 10))
    >>> wanted_span("bytes=0-1,4-5", 10), wanted_span(None, 10)
    (None, None)
    """
    if asked is None:
        return None
    unit, _, ranges = asked.partition("=")
    if unit.strip().lower() == "bytes" and "," in ranges:
        return None
    found = _RANGE.fullmatch(ranges)
    if unit.strip().lower() != "bytes" or found is None or not (found[1] or found[2]):
        raise ProblemError(400, "Range takes bytes=START-END, bytes=START- or bytes=-LAST")
    start = int(found[1]) if found[1] else max(0, size - int(found[2]))
    stop = min(size, int(found[2]) + 1) if found[1] and found[2] else size
    if start >= size:
        raise ProblemError(416, "the range lies outside of the file", {"Content-Range": f"bytes */{size}"})
    if start >= stop:
        raise ProblemError(400, "Range: its start lies behind its end")
    return start, stop
