"""Indexing: how it gets on; starting and ending a run where the server was started with ``--allow-index``."""

from __future__ import annotations

from fastapi import APIRouter

from wordframe.client import schemas as wire
from wordframe.server import answers
from wordframe.server.problems import documented
from wordframe.server.routes.context import Context, Shared

router = APIRouter(tags=["index"])


@router.get("/index", summary="How indexing gets on", responses=documented())
def index(context: Shared) -> wire.IndexStatus:
    """Of the run that goes on, whoever started it, else of the last one."""
    return _status(context)


@router.post("/index", summary="Bring the library up to date", status_code=202, responses=documented(409))
def start(context: Shared) -> wire.IndexStatus:
    """Looks through the folders that the library was made of; other folders are added from the command line."""
    context.indexing.start()
    return _status(context)


@router.delete("/index", summary="End a run that this server started", status_code=202, responses=documented(409))
def stop(context: Shared) -> wire.IndexStatus:
    """In order: what is finished is kept, and the next run goes on from there."""
    context.indexing.stop()
    return _status(context)


def _status(context: Context) -> wire.IndexStatus:
    return answers.index_status(context.opened, context.indexing)
