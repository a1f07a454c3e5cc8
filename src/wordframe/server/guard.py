"""Who may ask what: checked before anything else, and the headers that every answer carries.

- Below a proxy's path (``/videos``) the path is taken off here, so that nothing behind knows of it.
- ``Host`` must be one of ours, so that a foreign name pointed at this machine (DNS rebinding) gets nothing.
- A request to the API that a browser sends from another site is refused: by ``Sec-Fetch-Site``, else by ``Origin``.
- With a token, the API answers only to who has it: in the cookie that the link with the token sets, or as a bearer.
- Bodies are bounded before they are read.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wordframe.server.problems import MEDIA_TYPE, ProblemError, problem

COOKIE = "wordframe"
_GIVEN_COOKIE = "wordframe.cookie"
MAX_JSON_BYTES = 64 * 1024
MAX_IMAGE_BYTES = 10 * 1024 * 1024
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Middleware around the whole application.

    Args:
        hosts: names and addresses that the server goes by, beside those of the loopback.
        any_address: also take requests that name an IP address, which no foreign page can fake; for servers that
            listen on more than the loopback.
        token: what callers of the API must know; None lets everybody in who reaches the server.
        root_path: the path that a proxy shows the server under, such as ``/videos``; requests may come with or without.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Collection[str] = (),
        any_address: bool = False,
        token: str | None = None,
        root_path: str = "",
    ) -> None:
        self._app, self._any_address, self._token, self._root_path = app, any_address, token, root_path
        self._hosts = LOOPBACK_NAMES | {host.lower().rstrip(".") for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # nothing here speaks over a socket
            await send({"type": "websocket.close"})
            return
        scope = self._below_root(scope)
        answer = _Answer(send, scope, self._root_path)  # also around refusals: they carry the same headers
        headers = Headers(scope=scope)
        try:
            self._check(scope, headers)
            if not scope["path"]:
                # without the slash at its end the page's relative addresses would lead beside the proxy's path
                await RedirectResponse(_with_slash(self._root_path, scope), 308)(scope, receive, answer)
                return
            await self._app(scope, _bounded(receive, _limit(headers)), answer)
        except Exception as error:
            if answer.started:
                raise
            await _error_response(error, self._root_path + scope["path"])(scope, receive, answer)

    def _below_root(self, scope: Scope) -> Scope:
        """The request without the proxy's path, which some proxies pass on and others take off."""
        path, root = scope["path"], self._root_path
        if not root or not f"{path}/".startswith(f"{root}/"):
            return scope
        return {**scope, "path": path[len(root) :]}

    def _check(self, scope: Scope, headers: Headers) -> None:
        host = headers.get("host", "")
        if not self._is_ours(host):
            raise ProblemError(421, f"this server does not go by the name {host[:100]!r}; start it with --allow-host")
        if not scope["path"].startswith("/api"):
            self._give_cookie(scope)
            return
        if _is_cross_site(headers, host):
            raise ProblemError(403, "another site may not ask this server; open its page itself")
        if self._token is not None and not self._knows_token(headers):
            raise ProblemError(
                401,
                "open the link that the server printed, or send its token as a bearer",
                {"WWW-Authenticate": "Bearer"},
            )
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > _limit(headers):
            raise _too_large(_limit(headers))

    def _is_ours(self, host: str) -> bool:
        name = _name_of(host)
        if name in self._hosts:
            return True
        if not self._any_address:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _knows_token(self, headers: Headers) -> bool:
        assert self._token is not None
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        given = bearer.strip() if scheme.lower() == "bearer" else ""
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            cookie = None
        return any(
            hmac.compare_digest(value.encode("utf-8", "replace"), self._token.encode())
            for value in (given, cookie.value if cookie else "")
        )

    def _give_cookie(self, scope: Scope) -> None:
        """Remember that the page was opened by the link with the token."""
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if self._token is not None and hmac.compare_digest(given.encode("utf-8", "replace"), self._token.encode()):
            # no other program behind the same proxy gets it; over TLS it is never sent without
            where = f"Path={self._root_path or '/'}" + ("; Secure" if scope["scheme"] == "https" else "")
            scope[_GIVEN_COOKIE] = f"{COOKIE}={self._token}; HttpOnly; SameSite=Strict; {where}"


class _Answer:
    """Sends an answer with our headers; one of the framework's own errors in plain text becomes a problem document."""

    def __init__(self, send: Send, scope: Scope, root_path: str) -> None:
        self._send, self._scope, self._path, self._root_path = send, scope, scope["path"], root_path
        self._drop_body = False
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(raw=list(message["headers"]))
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            if _GIVEN_COOKIE in self._scope:
                headers.append("Set-Cookie", self._scope[_GIVEN_COOKIE])
            if self._path.startswith("/api"):
                headers.setdefault("Cache-Control", "no-store")
            if message["status"] >= 400 and headers.get("content-type", "").split(";")[0] != MEDIA_TYPE:
                await self._send_problem(message["status"], headers)
                return
            await self._send({**message, "headers": headers.raw})
        elif not self._drop_body:
            await self._send(message)

    async def _send_problem(self, status: int, headers: MutableHeaders) -> None:
        self._drop_body = True
        response: Response = problem(
            status, "the request cannot be answered as it is", None, self._root_path + self._path
        )
        for name in ("content-length", "content-type", "content-disposition", "etag", "last-modified"):
            del headers[name]
        headers["content-type"], headers["content-length"] = MEDIA_TYPE, str(len(response.body))
        await self._send({"type": "http.response.start", "status": status, "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": response.body})


def _with_slash(root_path: str, scope: Scope) -> str:
    query: str = scope["query_string"].decode("latin-1")
    return f"{root_path}/" + (f"?{query}" if query else "")


def _error_response(error: Exception, path: str) -> Response:
    """The answer for what was raised; what nobody expected goes to the log, not to the caller."""
    if isinstance(error, ProblemError):
        return problem(error.status_code, error.detail, dict(error.headers or {}), path)
    logging.getLogger(__name__).error("%s failed", path, exc_info=error)
    return problem(500, "something went wrong inside the server; its log says more", None, path)


def _name_of(host: str) -> str:
    """The name in a ``Host`` header, lower case, without port and brackets; empty if it makes no sense."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower().rstrip(".")
    except ValueError:
        return ""


def _is_cross_site(headers: Headers, host: str) -> bool:
    # browsers send it to addresses with TLS and to the loopback; elsewhere only Origin, and that not with a plain GET
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and origin.lower().partition("://")[2] != host.lower()


def _limit(headers: Headers) -> int:
    is_image = headers.get("content-type", "").startswith("image/")
    return MAX_IMAGE_BYTES if is_image else MAX_JSON_BYTES


def _too_large(limit: int) -> ProblemError:
    detail = f"the body is larger than {limit // 1024} KiB, the most that is read; send less"
    return ProblemError(413, detail, {"Connection": "close"})  # or the rest would be taken in all the same


def _bounded(receive: Receive, limit: int) -> Receive:
    """``receive`` that gives up on a body that goes on beyond ``limit`` bytes, whatever its headers said."""
    seen = 0

    async def bounded() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise _too_large(limit)
        return message

    return bounded
