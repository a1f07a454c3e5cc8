"""The application: routes, guard, and the page's files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.routing import Match, Mount
from starlette.types import Scope

from wordframe import __version__
from wordframe.client import schemas as wire
from wordframe.server.answers import Answers
from wordframe.server.guard import Guard
from wordframe.server.indexing import Indexing
from wordframe.server.pool import WorkerPool
from wordframe.server.preparing import Preparing
from wordframe.server.presentation import API
from wordframe.server.problems import add_handlers
from wordframe.server.requests import Context
from wordframe.server.routes import router
from wordframe.server.served import ServedLibrary
from wordframe.server.warming import Warming

STATIC = Path(__file__).parent / "static"


def create_app(
    served: ServedLibrary,
    *,
    allow_index: bool = False,
    index_first: Sequence[str] = (),
    prepare: bool = False,
    warm: bool = False,
    hosts: Collection[str] = (),
    any_address: bool = False,
    token: str | None = None,
    root_path: str = "",
    at_once: int | None = None,
    waiting: int = 16,
) -> FastAPI:
    """The server of one library.

    Args:
        allow_index: let callers start and end indexing over the library's own folders.
        index_first: absolute paths to index as soon as the server runs.
        prepare: make in the background what the model needs of segments that nothing is kept for.
        warm: load what a search needs before the first one comes; until then ``/ready`` says no.
        hosts, any_address, token: who may ask, see ``guard.py``.
        root_path: the path that a proxy shows the server under, such as ``/videos``; empty without one.
        at_once: searches that run side by side; default: as many as this machine has cores.
        waiting: searches that may wait for a place before others are told to come back.
    """
    context = Context(
        served,
        Answers(served, root_path=root_path, allow_index=allow_index),
        Indexing(served, allowed=allow_index),
        searching=WorkerPool(at_once=at_once or os.cpu_count() or 1, waiting=waiting),
        cutting=WorkerPool(at_once=1, waiting=4),
        warming=Warming(served),
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if index_first:
            context.indexing.start_over(index_first)
        preparing = Preparing(served)
        if prepare:
            preparing.start()
        if warm:
            context.warming.start()
        yield
        context.warming.close()
        preparing.close()
        context.searching.close()
        context.cutting.close()
        context.indexing.close()

    app = FastAPI(
        title="wordframe",
        version=__version__,
        description="Finds the videos, and the moments in them, that a sentence describes.",
        openapi_url=f"{API}/openapi.json",
        servers=[{"url": root_path}] if root_path else None,
        docs_url=None,  # their pages fetch scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # an unknown address is 404; a redirect would forget the proxy's path
        lifespan=lifespan,
        separate_input_output_schemas=False,  # one schema an object, as the client has it
    )
    app.state.context = context
    add_handlers(app, root_path, library=str(served.place))
    app.include_router(router, prefix=API)
    _describe(app)
    app.router.routes.append(_Page("/", StaticFiles(directory=STATIC, html=True)))
    app.add_middleware(Guard, hosts=hosts, any_address=any_address, token=token, root_path=root_path)
    return app


class _Page(Mount):
    """The page's files, everywhere but below ``/api``, where an unknown address or method is the API's own error."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or scope["path"].startswith("/api"):
            return Match.NONE, {}
        return super().matches(scope)


def _describe(app: FastAPI) -> None:
    """Add to the OpenAPI document what the routes name by reference only."""
    plain = app.openapi

    def openapi() -> dict[str, object]:
        document = plain()
        schemas = document["components"]["schemas"]
        for kind in (wire.Problem, wire.SearchRequest):
            schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(schema.pop("$defs", {}))
            schemas[kind.__name__] = schema
        return document

    app.openapi = openapi  # type: ignore[method-assign]
