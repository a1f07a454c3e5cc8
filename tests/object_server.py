"""An S3 server on the loopback, in the tests' own process: moto's, with the requests counted and faults at will.

Conditional writes are one at a time, as a store promises; moto looks and writes in two steps.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "films"
KEY, SECRET = "AKIATESTTESTTEST", "secretsecretsecret"

Environ = dict[str, Any]
Fault = Callable[[Environ, Callable[[], Iterable[bytes]]], Iterable[bytes] | None]
"""Called with a request and what would answer it; gives the answer instead, or None for the usual one."""


class _Silent(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, *_: object) -> None:
        """Nothing."""

    def log(self, *_: object) -> None:
        """Nothing."""

    def make_environ(self) -> Environ:
        environ = super().make_environ()
        environ["cut"] = lambda: self.connection.shutdown(socket.SHUT_RDWR)
        return environ


class ObjectServer:
    """The server. ``requests``: method and path of each; ``bytes_sent``: of usual answers' bodies;
    ``fault``: what goes wrong, if anything."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        self.bytes_sent = 0
        self.fault: Fault | None = None
        self._app = DomainDispatcherApplication(create_backend_app)
        self._writing = threading.Lock()
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Silent)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        httpx.put(f"{self.endpoint}/{BUCKET}", timeout=120).raise_for_status()

    def _answer(self, environ: Environ, start: Callable[..., Any]) -> Iterable[bytes]:
        self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))

        def usual(told: Callable[..., Any] = lambda *_: None) -> Iterable[bytes]:
            if environ["REQUEST_METHOD"] == "PUT":
                with self._writing:
                    return self._app(environ, told)
            return self._app(environ, told)

        if self.fault is not None and (answer := self.fault(environ | {"start": start}, usual)) is not None:
            return answer
        sent = list(usual(start))
        self.bytes_sent += sum(map(len, sent))
        return sent

    @property
    def environment(self) -> dict[str, str]:
        """The usual variables by which a process reaches it."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT": self.endpoint,
            "AWS_REGION": "us-east-1",
        }

    def put(self, address: str, content: bytes) -> None:
        """Write an object, such as ``s3://films/a.mp4``."""
        import obstore

        store = obstore.store.S3Store(
            BUCKET,
            endpoint=self.endpoint,
            access_key_id=KEY,
            secret_access_key=SECRET,
            region="us-east-1",
            client_options={"allow_http": True},
        )
        obstore.put(store, address.removeprefix(f"s3://{BUCKET}/"), content, use_multipart=False)

    @contextmanager
    def counted(self) -> Iterator[list[tuple[str, str]]]:
        """The requests that come in within the block."""
        found: list[tuple[str, str]] = []
        start = len(self.requests)
        yield found
        found += self.requests[start:]

    @contextmanager
    def failing(self, fault: Fault) -> Iterator[None]:
        """``fault`` decides about every request within the block."""
        self.fault = fault
        try:
            yield
        finally:
            self.fault = None

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def status_answer(environ: Environ, status: str, words: str = "<Code>SlowDown</Code>") -> list[bytes]:
    """An error of the store, as S3 writes it."""
    body = f"<?xml version='1.0'?><Error>{words}</Error>".encode()
    environ["start"](status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]


def cut(environ: Environ) -> list[bytes]:
    """No answer: the connection breaks."""
    environ["cut"]()
    return status_answer(environ, "500 Internal Server Error")
