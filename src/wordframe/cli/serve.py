"""``wordframe serve``: a page and an API over a library, on this machine."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import secrets
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wordframe.cli.options import (
    LibraryOption,
    ModelOption,
    RayOption,
    RuntimeOption,
    UntrainedOption,
    check_ray_address,
)
from wordframe.errors import WordframeError

if TYPE_CHECKING:
    from wordframe.library import Snapshot
    from wordframe.server import ServedLibrary, Serving

MIN_TOKEN = 16
_OWN_PATHS = ("api", "js")
# Addresses that are set aside for documentation: no packet is sent, the system only says from where it would send one.
_FAR_AWAY = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}


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
    runtime: RuntimeOption = "auto",
    token: Annotated[
        str | None,
        typer.Option(envvar="WORDFRAME_TOKEN", help="What callers must know; 'new' makes one up and prints the link."),
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A name that this machine goes by, for other machines; may be repeated.")
    ] = None,
    root_path: Annotated[
        str, typer.Option(help="The path that a reverse proxy shows the server under, such as /videos.")
    ] = "",
    prepare: Annotated[
        bool,
        typer.Option("--prepare/--no-prepare", help="Make in the background what the model needs for quick searches."),
    ] = True,
    replicas: Annotated[
        int, typer.Option(min=1, help="So many processes that take requests; each holds the model and the index.")
    ] = 1,
    shards: Annotated[
        int,
        typer.Option(
            min=0, help="With --ray: cut the index of a large library into so many, each in a process of its own."
        ),
    ] = 0,
    ray: RayOption = None,
    browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Serve a page to search a library, and an API (/api/v1/openapi.json).

    Only this machine can reach it unless --host says otherwise. The library may be indexed at the same time.

    Examples:

        wordframe serve --library my-library --open

        wordframe serve --library my-library --host 0.0.0.0 --token new

        wordframe serve --library my-library --root-path /videos --allow-host media.home --token new

        wordframe serve --library my-library --replicas 4

        wordframe serve --library /shared/library --replicas 8 --ray auto --host 0.0.0.0 --token new

        wordframe serve --library s3://bucket/archive --replicas 4 --shards 8 --ray auto
    """
    if shards and ray is None:
        raise typer.BadParameter("--shards goes with --ray ADDRESS")
    is_local = _is_loopback(host)
    token = _checked_token(token, host, is_local=is_local)
    root_path = _checked_root_path(root_path)
    with _cluster(ray) as serving:
        from wordframe.server import ServedLibrary  # loads LanceDB, which a cluster that starts must not fork

        served = ServedLibrary(library, model=model, untrained=untrained, runtime=runtime)
        snapshot = served.snapshot()  # a damaged library or a model that does not fit is told now, not at a search
        listener = listen(host, port)
        shown = _shown_host(host, listener)
        link = link_to(shown, listener, root_path, token)
        _warn(snapshot, library, None if prepare else model, untrained=untrained)

        def tell() -> None:
            print(f"wordframe is at {link}  (Ctrl-C ends it)", flush=True)
            if browser:
                open_in_browser(link)

        _serve_by(
            serving,
            served,
            listener,
            replicas,
            shards,
            tell,
            allow_index=allow_index,
            prepare=prepare,
            hosts=[*(allow_host or ()), host, shown, *_names_of_machine(is_local)],
            any_address=not is_local,
            token=token,
            root_path=root_path,
        )


def _cluster(address: str | None) -> contextlib.AbstractContextManager[Serving | None]:
    """Ray Serve at that address."""
    if address is None:
        return contextlib.nullcontext()
    check_ray_address(address)
    from wordframe.server import Serving

    return Serving(address)


def _warn(snapshot: Snapshot | None, library: str, unprepared: str | None, *, untrained: bool) -> None:
    """Of a library that is empty, or not prepared for a model that nobody prepares it for."""
    from wordframe.cli._terminal import warn_if_unprepared

    if snapshot is None or not snapshot.num_segments:
        print(f"There is nothing in {library} yet; the page says how to index videos.", file=sys.stderr)
    elif unprepared is not None:
        warn_if_unprepared(snapshot, unprepared, untrained=untrained)


def _serve_by(
    serving: Serving | None,
    served: ServedLibrary,
    listener: socket.socket,
    replicas: int,
    shards: int,
    tell: Callable[[], None],
    **options: Any,
) -> None:
    """Serve in this process, by several, or on a cluster; ``tell`` is called when who follows the link is answered."""
    from wordframe.cli._serving import run, run_replicas

    if serving is not None:
        from wordframe.cli._ray_serving import run_on_ray

        host, port = listener.getsockname()[:2]
        listener.close()  # what listens is Ray Serve's proxy
        everywhere = ipaddress.ip_address(host).is_unspecified
        run_on_ray(
            serving, served, replicas, (host, port), shards=shards, on_ready=tell, everywhere=everywhere, **options
        )
        return
    tell()
    if replicas == 1:
        run(served, listener, **options)
    else:
        run_replicas(replicas, served, listener, **options)


def open_in_browser(link: str) -> None:
    """Open the page; where that cannot be done, say so and go on, since the link is on the screen."""

    def try_it() -> None:
        if not (_has_screen() and _opens(link)):
            print("There is no browser to open here; follow the link above.", file=sys.stderr, flush=True)

    # a thread: some browsers return when they are closed. Who comes before the server is ready waits in the socket.
    threading.Thread(target=try_it, daemon=True).start()


def _has_screen() -> bool:
    """Whether a browser would be a window: one for terminals would take this very terminal."""
    return sys.platform != "linux" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))


def _opens(link: str) -> bool:
    try:
        return webbrowser.open(link)
    except (webbrowser.Error, OSError):
        return False


def _is_loopback(host: str) -> bool:
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
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


def _checked_root_path(path: str) -> str:
    """``/videos`` for ``videos``, ``/videos/`` and the like; empty for ``/``."""
    steps = path.strip("/").split("/")
    if steps == [""]:
        return ""
    if not all(re.fullmatch(r"[A-Za-z0-9._~-]+", step) and set(step) != {"."} for step in steps):
        raise WordframeError(f"--root-path {path!r}: write a path as /videos, of A-Z a-z 0-9 - _ . ~ and /")
    if steps[0] in _OWN_PATHS:  # a proxy may take the path off or not; what comes could be either
        raise WordframeError(f"--root-path {path!r}: the server has a path /{steps[0]} of its own; choose another")
    return "/" + "/".join(steps)


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections already; port 0 is a free one.

    Raises:
        WordframeError: it cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # with the protocol: asyncio turns off Nagle's delay (40 ms an answer) only where a socket names it
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and ipaddress.ip_address(address[0]).is_unspecified:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # "::" is all addresses, everywhere
        listener.bind(address)
        listener.listen()  # so that who follows the link at once waits, and is not refused
        return listener
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise WordframeError(f"cannot listen on {host} port {port}: {reason}; choose another with --port") from None


def _shown_host(host: str, listener: socket.socket) -> str:
    """What the link calls the server: the host as it was given, or, for all addresses, one that others reach it by."""
    address = ipaddress.ip_address(listener.getsockname()[0].partition("%")[0])
    if not address.is_unspecified:
        return str(address) if _is_number(host) else host
    if listener.family == socket.AF_INET6:
        # most networks at home have no IPv6 beyond the house; "::" takes IPv4 as well
        return _own_address(socket.AF_INET) or _own_address(socket.AF_INET6) or "::1"
    return _own_address(socket.AF_INET) or "127.0.0.1"


def link_to(shown: str, listener: socket.socket, root_path: str, token: str | None) -> str:
    """What a browser opens."""
    name = f"[{shown}]" if ":" in shown else shown
    return f"http://{name}:{listener.getsockname()[1]}{root_path}/" + (f"?token={token}" if token else "")


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _own_address(family: socket.AddressFamily) -> str | None:
    """The address of this machine in its network; a name would do only where others can look it up."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((_FAR_AWAY[family], 9))
            return str(probe.getsockname()[0])
    except OSError:
        return None


def _names_of_machine(is_local: bool) -> list[str]:
    """What others may call this machine, beside its addresses."""
    name = socket.gethostname()
    return [] if is_local or not name else [name, f"{name}.local"]
