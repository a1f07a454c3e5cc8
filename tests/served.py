"""A small library and its server for tests, in this process: colours, names that mean harm, and enough segments that
weak matches are told from good ones."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import torch
import uvicorn
from fastapi.testclient import TestClient

from tests.colours import ColourEncoder, write_scenes
from wordframe.library import Library
from wordframe.models import PRESETS, TextVideoModel
from wordframe.server import Opened, create_app

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
def serving(library: Path, *, encoder: ColourEncoder | None = None, **options: Any) -> Iterator[TestClient]:
    """The server of a library, called without a network."""
    opened = Opened(library, encoder=encoder or ColourEncoder())
    with TestClient(create_app(opened, **options), base_url=ADDRESS, follow_redirects=False) as client:
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
    app = create_app(Opened(library, model=model, encoder=encoder or ColourEncoder()), **options)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", server_header=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        threading.Event().wait(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


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
