"""``wordframe mcp``: a library as tools for agents, on standard input and output."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from wordframe.cli.options import ModelOption, UntrainedOption
from wordframe.errors import WordframeError

_START_SECONDS = 60.0


def mcp(
    url: Annotated[str | None, typer.Option(help="A running server, as wordframe serve prints it.")] = None,
    library: Annotated[
        Path | None,
        typer.Option("--library", "-l", help="A library to serve to this agent alone, instead.", readable=False),
    ] = None,
    token: Annotated[str | None, typer.Option(envvar="WORDFRAME_TOKEN", help="The running server's token.")] = None,
    model: ModelOption = "zero-shot",
    untrained: UntrainedOption = False,
) -> None:
    """Offer a library to agents by the Model Context Protocol (stdio).

    An agent's program starts this by itself; tell it the command.

    Examples:

        wordframe mcp --library my-library

        wordframe mcp --url http://127.0.0.1:8765
    """
    if (url is None) == (library is None):
        raise typer.BadParameter("give either --url of a running server or --library")
    from wordframe.client import Client
    from wordframe.mcp import make_server

    with contextlib.ExitStack() as stack:
        if library is not None:
            url, token = stack.enter_context(_served(library, model, untrained))
        assert url is not None
        client = stack.enter_context(Client(url, token=token))
        client.library()  # a wrong address or token is told now
        make_server(client, links=library is None).run("stdio")


@contextlib.contextmanager
def _served(library: Path, model: str, untrained: bool) -> Iterator[tuple[str, str]]:
    """A server of the library in this process, on a free port of this machine, with a token nobody else knows."""
    import uvicorn

    from wordframe.server import ServedLibrary, create_app

    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    opened = ServedLibrary(library, model=model, untrained=untrained)
    opened.engine()
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    token = secrets.token_urlsafe(24)
    # standard output belongs to the protocol; the server logs to standard error
    config = uvicorn.Config(create_app(opened, token=token), log_level="warning", access_log=False, server_header=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    until = time.monotonic() + _START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > until:
            raise WordframeError("the server did not start")
        time.sleep(0.02)
    print(f"wordframe: serving {library} to this agent", file=sys.stderr)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", token
    finally:
        server.should_exit = True
        thread.join()
