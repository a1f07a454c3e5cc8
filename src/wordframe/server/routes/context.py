"""What the routes of one application share, from its ``state``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path, Request

from wordframe.client import ID_PATTERN, MAX_ID
from wordframe.server.indexing import Indexing
from wordframe.server.opened import Opened
from wordframe.server.places import Places


@dataclass(frozen=True)
class Context:
    """searching: places for model work; cutting: places for making clips, which take longer."""

    opened: Opened
    indexing: Indexing
    searching: Places
    cutting: Places


def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


Shared = Annotated[Context, Depends(_context)]
Id = Annotated[str, Path(min_length=1, max_length=MAX_ID, pattern=ID_PATTERN)]
