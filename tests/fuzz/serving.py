"""What a server is asked, of videos that are damaged and by requests that are: each answer as a command's is told.

A request is a file as it goes over the wire, with ``HOST`` for the server's name and without the length of its body. It
is sent to a real server on the loopback, so that nothing mends it on the way.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
from functools import cache
from pathlib import Path
from typing import Any

from tests.served import listening, serving
from wordframe.library import Library

_LONGEST_WAIT_SECONDS = 60.0
_SERVERS = contextlib.ExitStack()
"""They end with the process."""
_API = "/api/v1"


def ask_of_video(folder: Path) -> list[dict[str, Any]]:
    """All that a page may want of the library's videos: pictures, clips, parts of files, and why they were found."""
    rows = Library.open(folder).snapshot().select("true", ["segment_id", "video_id"])
    asked = [f"/search?text=red&limit={len(rows)}", "/videos"]
    for row in [rows[0], rows[-1]]:
        segment, video = f"/segments/{row['segment_id']}", f"/videos/{row['video_id']}"
        asked += [
            f"{segment}/thumbnail",
            f"{segment}/clip",
            f"{segment}/clip?start=0&end=1",
            f"{segment}/explain?q=red",
        ]
        asked += [video, f"{video}/media", f"{video}/heat?q=red"]
    told = []
    with serving(folder) as client:
        for path in asked:
            answer = client.get(_API + path, headers={"range": "bytes=5-90"} if path.endswith("media") else {})
            told.append(told_of_answer(path, answer.status_code, answer.content))
    return told


def ask(request: Path, seeds: Path) -> list[dict[str, Any]]:
    """One request to the server of the whole library."""
    address = _address(seeds / "library" / "library")
    head, _, body = request.read_bytes().partition(b"\n\n")
    host, _, port = address.removeprefix("http://").partition(":")
    lines = [*head.replace(b"HOST", f"{host}:{port}".encode()).split(b"\n"), b"Connection: close"]
    lines += [b"Content-Length: %d" % len(body)] if body else []
    with socket.create_connection((host, int(port)), timeout=_LONGEST_WAIT_SECONDS) as connection:
        answer = b""
        with contextlib.suppress(ConnectionError):  # an answer may come, and all be said, before the whole body went
            connection.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        with contextlib.suppress(ConnectionError):
            while data := connection.recv(1 << 16):
                answer += data
    begin, _, content = answer.partition(b"\r\n\r\n")
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", begin)
    if length := re.search(rb"(?i)content-length: (\d+)", begin):  # damage may have made two requests
        content = content[: int(length[1])]
    return [told_of_answer("a request", int(found[1]) if found else None, content)]


@cache
def _address(library: Path) -> str:
    return _SERVERS.enter_context(listening(library))


def told_of_answer(path: str, status: int | None, content: bytes) -> dict[str, Any]:
    """As of a command: a refusal has its line, and what the server should never answer is a traceback."""
    told: dict[str, Any] = {"argv": ["GET", path], "status": 0, "out": "", "err": ""}
    if status is not None and status < 400:
        return told
    text = content.decode(errors="replace")
    with contextlib.suppress(ValueError, KeyError, TypeError):
        text = json.loads(text)["detail"]
    if status is not None and status >= 500:
        told["traceback"] = f"{path}: status {status}: {text[:1000]}"
    return told | {"status": 1, "err": text}
