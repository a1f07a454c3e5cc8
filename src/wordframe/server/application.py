"""The application: routes, guard, and the page's files."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Collection
from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.routing import Match, Mount
from starlette.types import Scope

from wordframe import __version__
from wordframe.client import Problem, SearchRequest
from wordframe.server.answers import API
from wordframe.server.guard import Guard
from wordframe.server.indexing import Indexing
from wordframe.server.opened import Opened
from wordframe.server.places import Places
from wordframe.server.problems import add_handlers
from wordframe.server.routes import index, library, search
from wordframe.server.routes.context import Context

STATIC = Path(__file__).parent / "static"


def create_app(
    opened: Opened,
    *,
    allow_index: bool = False,
    hosts: Collection[str] = (),
    any_address: bool = False,
    token: str | None = None,
    waiting: int = 16,
) -> FastAPI:
    """The server of one library.

    Args:
        allow_index: let callers start and end indexing over the library's own folders.
        hosts, any_address, token: who may ask, see ``guard.py``.
        waiting: searches that may wait for a place before others are told to come back.
    """
    context = Context(opened, Indexing(opened, allowed=allow_index), Places(waiting=waiting), Places(waiting=4))

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        context.searching.close()
        context.cutting.close()
        context.indexing.close()

    app = FastAPI(
        title="wordframe",
        version=__version__,
        description="Finds the videos, and the moments in them, that a sentence describes.",
        openapi_url=f"{API}/openapi.json",
        docs_url=None,  # their pages fetch scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        separate_input_output_schemas=False,
    )
    app.state.context = context
    add_handlers(app)
    for routes in (library, search, index):
        app.include_router(routes.router, prefix=API)
    _describe(app)
    app.router.routes.append(_Page("/", StaticFiles(directory=STATIC, html=True)))
    app.add_middleware(Guard, hosts=hosts, any_address=any_address, token=token)
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
        for kind in (Problem, SearchRequest):
            told = kind.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(told.pop("$defs", {}))
            schemas[kind.__name__] = told
        return document

    app.openapi = openapi  # type: ignore[method-assign]
