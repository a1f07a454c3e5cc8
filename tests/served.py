"""A small library and its server for tests, in this process: colours, names that mean harm, and enough segments that
weak matches are told from good ones."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import torch
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.testclient import TestClient

from tests.colours import ColourEncoder, write_scenes
from wordframe.library import Library
from wordframe.models import PRESETS, TextVideoModel
from wordframe.server import ServedLibrary, create_app

ADDRESS = "http://127.0.0.1:8765"
SCRIPT_NAME = "<img src=x onerror=alert(1)>.mp4"
LINES_NAME = 'two\r\nSet-Cookie: a=b";.mp4'


def make_library(folder: Path) -> Path:
    """Six videos in ``folder/videos``, indexed into ``folder/library``, which is returned."""
    videos = folder / "videos"
    write_scenes(videos / "red.mp4", ("red", 2))
    write_scenes(videos / "holiday" / "blue.mp4", ("blue", 3))
    write_scenes(videos / "mixed.mp4", ("white", 8), ("green", 8), ("black", 8))
    write_scenes(videos / "holiday" / "long.mp4", ("yellow", 120), ("cyan", 120), rate=2)
    write_scenes(videos / SCRIPT_NAME, ("magenta", 2))
    write_scenes(videos / LINES_NAME, ("black", 2))
    os.utime(videos / "red.mp4", (1_500_000_000, 1_500_000_000))  # July 2017
    return index(folder, "videos", 6)


def index(folder: Path, name: str, expected: int) -> Path:
    """Index ``folder/name`` into ``folder/library``."""
    library = Library.open(folder / "library", encoder=ColourEncoder())
    summary = library.index([folder / name])
    assert len(summary.indexed) == expected, summary
    return folder / "library"


def one_video(folder: Path, *scenes: tuple[str, float]) -> tuple[Path, Path]:
    """A library of one video; gives the library and the video."""
    video = write_scenes(folder / "videos" / "one.mp4", *(scenes or (("red", 2),)))
    return index(folder, "videos", 1), video


@contextmanager
def serving(library: Path | str, *, encoder: ColourEncoder | None = None, **options: Any) -> Iterator[TestClient]:
    """The server of a library, called without a network."""
    served = ServedLibrary(library, encoder=encoder or ColourEncoder())
    with TestClient(create_app(served, **options), base_url=ADDRESS, follow_redirects=False) as client:
        yield client


def four_part_checkpoint(folder: Path) -> Path:
    """A small TC-MGC model for the colours, its weights left to chance."""
    settings = replace(
        PRESETS["tcmgc-msrvtt"].settings, max_words=8, max_frames=6, positions=8, layers=1, heads=2, keep_rate=0.5
    )
    torch.manual_seed(0)
    TextVideoModel(settings=settings, dimension=6, trained=True).save(folder)
    return folder


@contextmanager
def listening(
    library: Path, *, encoder: ColourEncoder | None = None, model: str = "zero-shot", **options: Any
) -> Iterator[str]:
    """The server of a library on a free port; gives its address."""
    served = ServedLibrary(library, model=model, encoder=encoder or ColourEncoder())
    with running(create_app(served, **options)) as address:
        yield address


@contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """An application on a free port; gives its address. Who calls before it is ready waits, and is not refused."""
    # asyncio turns off Nagle's delay (40 ms an answer) only where a socket names its protocol
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    kept = {"loop": "asyncio", "http": "h11", "ws": "none"}  # as the command has it, whatever is installed
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", server_header=False, **kept))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def proxied(upstream: str, path: str, *, strips: bool) -> Iterator[str]:
    """A reverse proxy that shows the server at ``upstream`` below ``path`` and nothing elsewhere; gives the address.

    Args:
        strips: take ``path`` off before passing a request on, as some proxies do.
    """
    proxy = FastAPI(openapi_url=None)

    @proxy.api_route("/{rest:path}", methods=["GET", "HEAD", "POST", "DELETE"])
    async def pass_on(request: Request) -> Response:
        asked = request.scope["raw_path"].decode()
        if not f"{asked}/".startswith(f"{path}/"):
            return Response("nothing here but the proxy", 404)
        target = (asked.removeprefix(path) or "/") if strips else asked
        query = f"?{request.url.query}" if request.url.query else ""
        headers = {**request.headers, "accept-encoding": "identity"}
        async with httpx.AsyncClient(trust_env=False) as client:
            came = await client.request(
                request.method, f"{upstream}{target}{query}", headers=headers, content=await request.body()
            )
        answer = Response(came.content, came.status_code)
        answer.raw_headers = [(name.lower(), value) for name, value in came.headers.raw if name.lower() != b"date"]
        return answer

    with running(proxy) as address:
        yield f"{address}{path}"


def through(client: TestClient) -> httpx.BaseTransport:
    """A transport for ``wordframe.client.Client`` that ends at ``client``."""

    def answer(request: httpx.Request) -> httpx.Response:
        told = client.request(
            request.method, str(request.url), headers=dict(request.headers), content=request.read() or None
        )
        return httpx.Response(told.status_code, headers=dict(told.headers), content=told.content, request=request)

    return httpx.MockTransport(answer)


def get(client: TestClient, path: str, **parameters: Any) -> Any:
    """The JSON of an answer that is good."""
    answer = client.get(f"/api/v1{path}", params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def video_id(client: TestClient, name: str) -> str:
    """The id of the video with this file name."""
    found: list[str] = [each["video_id"] for each in get(client, "/videos")["items"] if each["name"] == name]
    assert len(found) == 1, name
    return found[0]


def problem_of(answer: Any, status: int) -> str:
    """The detail of an answer that is a problem document, with all that such an answer must have."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    told = answer.json()
    assert told["status"] == status
    assert told["type"] == "about:blank"
    assert told["title"]
    assert told["instance"].startswith("/")
    detail: str = told["detail"]
    assert detail
    return detail
