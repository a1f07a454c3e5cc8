"""``wordframe serve``: a page and an API over a library, on this machine."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import threading
import webbrowser
from typing import TYPE_CHECKING, Annotated

import typer

from wordframe.cli.options import LibraryOption, ModelOption, UntrainedOption
from wordframe.errors import WordframeError

if TYPE_CHECKING:
    from wordframe.server import Opened

MIN_TOKEN = 16


def serve(
    library: LibraryOption,
    host: Annotated[str, typer.Option(help="Address to listen on; others than this machine's own need --token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8765,
    model: ModelOption = "zero-shot",
    untrained: UntrainedOption = False,
    allow_index: Annotated[
        bool, typer.Option("--allow-index", help="Let the page bring the library's own folders up to date.")
    ] = False,
    token: Annotated[
        str | None,
        typer.Option(envvar="WORDFRAME_TOKEN", help="What callers must know; 'new' makes one up and prints the link."),
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A name that this machine goes by, for other machines; may be repeated.")
    ] = None,
    browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Serve a page to search a library, and an API (/api/v1/openapi.json).

    Only this machine can reach it unless --host says otherwise. The library may be indexed at the same time.

    Examples:

        wordframe serve --library my-library --open

        wordframe serve --library my-library --host 0.0.0.0 --token new
    """
    from wordframe.server import Opened

    is_local = _is_loopback(host)
    token = _checked_token(token, host, is_local=is_local)
    opened = Opened(library, model=model, untrained=untrained)
    opened.engine()  # a damaged library or a model that does not fit is told now, not at the first search
    listener = _listen(host, port)
    port = listener.getsockname()[1]
    link = _link(host, port, token)
    if not opened.snapshot().videos:
        print(f"There is nothing in {library} yet; the page says how to index videos.", file=sys.stderr)
    print(f"wordframe is at {link}  (Ctrl-C ends it)", flush=True)
    if browser:
        threading.Timer(0.5, webbrowser.open, [link]).start()
    _run(opened, listener, allow_index=allow_index, hosts=allow_host or (), any_address=not is_local, token=token)


def _run(
    opened: Opened,
    listener: socket.socket,
    *,
    allow_index: bool,
    hosts: list[str] | tuple[()],
    any_address: bool,
    token: str | None,
) -> None:
    import uvicorn

    from wordframe.server import create_app

    for name in ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_OFFLINE", "DO_NOT_TRACK"):
        os.environ.setdefault(name, "1")
    app = create_app(opened, allow_index=allow_index, hosts=hosts, any_address=any_address, token=token)
    threading.Thread(target=_warm_up, args=(opened,), daemon=True).start()
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=5
    )
    uvicorn.Server(config).run(sockets=[listener])


def _warm_up(opened: Opened) -> None:
    """Load the encoder and compile the loops before somebody waits for them."""
    engine = opened.engine()
    if engine is not None and opened.snapshot().videos:
        engine.search("a first sentence", top=1)


def _is_loopback(host: str) -> bool:
    import ipaddress

    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _checked_token(token: str | None, host: str, *, is_local: bool) -> str | None:
    if token is None:
        if not is_local:
            raise WordframeError(
                f"{host} can be reached by others: say --token new (or --token with {MIN_TOKEN} characters or more), "
                "or leave --host out"
            )
        return None
    if token == "new":
        return secrets.token_urlsafe(24)
    if len(token) < MIN_TOKEN or not all(c.isalnum() or c in "-_.~" for c in token) or not token.isascii():
        raise WordframeError(
            f"a token needs {MIN_TOKEN} characters or more, of A-Z a-z 0-9 - _ . ~; --token new makes one"
        )
    return token


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()  # so that who follows the link at once waits, and is not refused
        return listener
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise WordframeError(f"cannot listen on {host} port {port}: {reason}; choose another with --port") from None


def _link(host: str, port: int, token: str | None) -> str:
    shown = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)
    name = f"[{shown}]" if ":" in shown else shown
    return f"http://{name}:{port}/" + (f"?token={token}" if token else "")
