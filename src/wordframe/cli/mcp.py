"""``wordframe mcp``: a library as tools for agents, on standard input and output."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from wordframe.cli._streams import tell
from wordframe.cli.options import ModelOption, UntrainedOption
from wordframe.errors import needs_extra

if TYPE_CHECKING:
    from wordframe.mcp import LocalLibrary, RunningServer


def mcp(
    url: Annotated[str | None, typer.Option(help="A running server, as wordframe serve prints it.")] = None,
    library: Annotated[
        str | None,
        typer.Option("--library", "-l", help="A library to read for this agent alone, instead."),
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
    if url is not None and (untrained or model != "zero-shot"):
        raise typer.BadParameter("--model and --untrained go with --library: a running server has its model")
    with needs_extra("mcp", "wordframe mcp"):
        from wordframe.mcp import make_server

    # standard output belongs to the protocol from here on; words for people go to standard error
    with contextlib.ExitStack() as stack:
        source = _of_folder(library, model, untrained) if library is not None else _of_server(stack, url or "", token)
        source.library()  # a wrong address or token, a damaged library, is told now
        if library is not None:
            print(f"wordframe: serving {library} to this agent", file=sys.stderr)
        signal.signal(signal.SIGINT, _end_at_once)
        make_server(source).run("stdio")


def _end_at_once(*_: object) -> None:
    """On Ctrl-C: whoever waits for a line of standard input cannot be called away, and nothing here is half written."""
    tell("interrupted")
    os._exit(130)


def _of_server(stack: contextlib.ExitStack, url: str, token: str | None) -> RunningServer:
    from wordframe.client import Client
    from wordframe.mcp import RunningServer

    return RunningServer(stack.enter_context(Client(url, token=token)))


def _of_folder(library: str, model: str, untrained: bool) -> LocalLibrary:
    from wordframe.mcp import LocalLibrary
    from wordframe.server import ServedLibrary

    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    return LocalLibrary(ServedLibrary(library, model=model, untrained=untrained))
