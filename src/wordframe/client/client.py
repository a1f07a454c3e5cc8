"""A client of the server's API, for programs: typed, patient under load, with the server's own words on errors.

from wordframe.client import Client

with Client("http://127.0.0.1:8765") as client:
    for item in client.search("a dog on a beach").items:
        print(item.video.name, item.moments[0].start_seconds)
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from wordframe.client import schemas as wire
from wordframe.errors import WordframeError

API = "/api/v1"
_TRIES = 5
_MOST_PATIENCE = 10.0
_IMAGE_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".bmp": "image/bmp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".avif": "image/avif",
}
_STRANGE = "this is not what a wordframe server of this version answers"
Answer = TypeVar("Answer", bound=BaseModel)


class ServerError(WordframeError):
    """The server refused, or does not answer. ``status`` is 0 where there was no answer."""

    def __init__(self, detail: str, status: int = 0) -> None:
        super().__init__(detail)
        self.status = status


class Client:
    """Calls one server.

    Args:
        url: as ``wordframe serve`` prints it; a token in it is used.
        token: the server's, if it was started with one.
        timeout_seconds: for one answer.
        transport: for tests, in the place of the network.

    Raises:
        ServerError: from every method, with the server's own line. A busy server is asked again, as often as is polite.
        WordframeError: a file of this machine cannot be read or written.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8765",
        *,
        token: str | None = None,
        timeout_seconds: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        try:
            address = httpx.URL(url)
        except httpx.InvalidURL:
            address = httpx.URL()
        if address.scheme not in ("http", "https") or not address.host:
            raise ServerError(f"{url!r} is no address of a server; write one as http://127.0.0.1:8765")
        token = token or address.params.get("token")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.url = str(address.copy_with(query=None, fragment=None)).rstrip("/")
        self._http = httpx.Client(
            base_url=self.url,
            headers=headers,
            timeout=timeout_seconds,
            transport=transport,
            trust_env=False,  # a proxy of the environment must not see tokens and queries
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def health(self) -> wire.Health:
        """Whether the server answers."""
        return self._get(wire.Health, "/health")

    def library(self) -> wire.LibraryInfo:
        """What the library holds."""
        return self._get(wire.LibraryInfo, "/library")

    def search(
        self,
        text: str | None = None,
        *,
        like: str | None = None,
        image: str | Path | None = None,
        limit: int = 20,
        moments: int = 3,
        filters: wire.Filters | None = None,
        exact: bool = False,
        explain: bool = False,
        cursor: str | None = None,
    ) -> wire.SearchResult:
        """A page of the videos that fit a sentence, look like a segment, or like a picture file; give one of the three.

        Args:
            cursor: of the page before, to go on.
        """
        _check_one(text, like, image)
        choices: dict[str, Any] = {"limit": limit, "moments": moments, "exact": exact, "cursor": cursor}
        choices["include"] = ["explanation"] if explain else []
        given = (filters or wire.Filters()).model_dump(mode="json", exclude_none=True)
        if image is None:
            body = {"text": text, "like": like, "filters": given, **choices}
            return self._call(wire.SearchResult, "POST", "/search", json=body)
        return self._call(wire.SearchResult, "POST", "/search", params=_given(given | choices), **_picture(image))

    def search_all(self, text: str | None = None, **choices: Any) -> Iterator[wire.SearchItem]:
        """All videos, best first, page by page as they are taken; ``choices`` as for ``search``."""
        page = self.search(text, **choices)
        while True:
            yield from page.items
            if page.next_cursor is None:
                return
            page = self.search(text, **choices | {"cursor": page.next_cursor})

    def explain(
        self, segment_id: str, text: str | None = None, *, like: str | None = None, image: str | Path | None = None
    ) -> wire.Explanation:
        """Why a segment fits a sentence, a segment or a picture file; give one of the three."""
        return self._ask(wire.Explanation, f"/segments/{_part(segment_id)}/explain", text, like, image)

    def found_by(self, text: str, segment_ids: Sequence[str]) -> wire.FoundByList:
        """Which words of a sentence found some segments, at most 100."""
        return self._get(wire.FoundByList, "/words", q=text, segment=list(segment_ids))

    def heat(
        self, video_id: str, text: str | None = None, *, like: str | None = None, image: str | Path | None = None
    ) -> wire.Heat:
        """How much each moment of a video answers a sentence, or looks like a segment or a picture file; give one."""
        return self._ask(wire.Heat, f"/videos/{_part(video_id)}/heat", text, like, image)

    def videos(
        self, *, filters: wire.Filters | None = None, limit: int = 50, cursor: str | None = None
    ) -> wire.VideoList:
        """A page of the library's videos, by path."""
        given = (filters or wire.Filters()).model_dump(mode="json", exclude_none=True)
        return self._get(wire.VideoList, "/videos", limit=limit, cursor=cursor, **given)

    def video(self, video_id: str) -> wire.VideoDetail:
        """A video with its segments."""
        return self._get(wire.VideoDetail, f"/videos/{_part(video_id)}")

    def rank_texts(self, video_id: str, texts: Sequence[str]) -> wire.RankedTexts:
        """Sentences by how well a video answers them."""
        return self._call(
            wire.RankedTexts, "POST", f"/videos/{_part(video_id)}/rank-texts", json={"texts": list(texts)}
        )

    def thumbnail(self, segment_id: str) -> bytes:
        """A segment's picture, a JPEG."""
        return self._send("GET", f"/segments/{_part(segment_id)}/thumbnail").content

    def clip(
        self, segment_id: str, to: str | Path, *, start_seconds: float | None = None, end_seconds: float | None = None
    ) -> Path:
        """Write a moment of the segment's video to the file ``to``, an .mp4; by default the segment itself."""
        times = {"start": start_seconds, "end": end_seconds}
        answer = self._send("GET", f"/segments/{_part(segment_id)}/clip", params=_given(times))
        target = Path(to)
        with _file_errors(target, "written"):
            target.write_bytes(answer.content)
        return target

    def index_status(self) -> wire.IndexStatus:
        """How indexing gets on."""
        return self._get(wire.IndexStatus, "/index")

    def start_index(self) -> wire.IndexStatus:
        """Bring the library up to date, where the server allows it."""
        return self._call(wire.IndexStatus, "POST", "/index")

    def stop_index(self) -> wire.IndexStatus:
        """End a run that the server started."""
        return self._call(wire.IndexStatus, "DELETE", "/index")

    def _ask(
        self, kind: type[Answer], path: str, text: str | None, like: str | None, image: str | Path | None
    ) -> Answer:
        _check_one(text, like, image)
        if image is not None:
            return self._call(kind, "POST", path, **_picture(image))
        return self._get(kind, path, q=text, like=like)

    def _get(self, kind: type[Answer], path: str, **parameters: Any) -> Answer:
        return self._call(kind, "GET", path, params=_given(parameters))

    def _call(self, kind: type[Answer], method: str, path: str, **options: Any) -> Answer:
        answer = self._send(method, path, **options)
        try:
            return kind.model_validate_json(answer.content)
        except ValidationError:
            raise ServerError(f"{answer.url}: {_STRANGE}", answer.status_code) from None

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        for left in reversed(range(_TRIES)):
            try:
                answer = self._http.request(method, API + path, **options)
            except UnicodeEncodeError as error:
                raise WordframeError(
                    f"{error.object[error.start : error.end]!a} is half a character (a lone surrogate, or a byte that "
                    "is no UTF-8), which cannot be sent; write the text anew"
                ) from None
            except httpx.HTTPError as error:
                # not asked again: the server may have begun what was asked for, and a wrong address stays wrong
                raise ServerError(f"{self.url}: no answer ({error}); is wordframe serve running?") from None
            wait = _wait_seconds(answer)
            if wait is None or not left:
                break
            time.sleep(wait)
        if answer.is_success:
            return answer
        raise ServerError(_detail(answer), answer.status_code)


def _wait_seconds(answer: httpx.Response) -> float | None:
    """After how long a busy server wants to be asked again; None if it is not busy."""
    wanted = answer.headers.get("retry-after", "")
    return min(float(wanted), _MOST_PATIENCE) if answer.status_code == 503 and wanted.isdecimal() else None


def _part(name: str) -> str:
    """One step of an address, whatever is in it; dots alone would lead elsewhere, since clients resolve ``..``."""
    return quote(name, safe="").replace(".", "%2E")


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _detail(answer: httpx.Response) -> str:
    try:
        return wire.Problem.model_validate_json(answer.content).detail
    except ValueError:
        return f"{answer.url}: status {answer.status_code}; {_STRANGE}"


def _check_one(text: str | None, like: str | None, image: str | Path | None) -> None:
    if [text, like, image].count(None) != 2:
        raise ValueError("give exactly one of text, like and image")


def _picture(image: str | Path) -> dict[str, Any]:
    """A picture file as the body of a request."""
    path = Path(image)
    kind = _IMAGE_TYPES.get(path.suffix.lower())
    if kind is None:
        raise WordframeError(f"{path}: a picture is sent as one of {', '.join(_IMAGE_TYPES)}")
    with _file_errors(path, "read"):
        return {"content": path.read_bytes(), "headers": {"Content-Type": kind}}


@contextlib.contextmanager
def _file_errors(path: Path, done: str) -> Iterator[None]:
    """What the system raises within the block becomes a line for people; ``done``: what cannot be."""
    try:
        yield
    except OSError as error:
        raise WordframeError(f"{path}: cannot be {done} ({(error.strerror or 'error').lower()})") from None
