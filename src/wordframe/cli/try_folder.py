"""``wordframe try``: the first look at a folder of videos. Its page opens at once and fills while they are indexed.

A server for this machine alone (``serve.py``) that runs ``wordframe index`` in the background (``server/indexing.py``);
the terminal shows how far it is.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wordframe.addresses import parse_address
from wordframe.cli.options import library_option
from wordframe.cli.serve import link_to, listen, open_in_browser
from wordframe.disk import one_line, shown_command
from wordframe.errors import WordframeError, counted

if TYPE_CHECKING:
    from wordframe.client import schemas
    from wordframe.library import IndexProgress, Place

_HOST, _PORT = "127.0.0.1", 8765
_LOOK_SECONDS = 0.5


def try_folder(
    folder: Annotated[
        Path, typer.Argument(help="A folder with videos, and all below it.", show_default=False, readable=False)
    ],
    library: Annotated[
        str | None,
        library_option("Folder of the library; default: one in your data folder, which is shown."),
    ] = None,
    browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
) -> None:
    """Index a folder and search it on a page, at once: results grow while videos come in.

    Everything stays on this machine, and your videos as they are. Ctrl-C ends both; what was indexed is kept, and the
    same command goes on. With a second folder the library holds both.

    Examples:

        wordframe try ~/Videos

        wordframe try /archive/2024 --library my-library

        wordframe try ~/Videos --no-open
    """
    from wordframe.cli._serving import run
    from wordframe.library import place_of
    from wordframe.server import ServedLibrary

    place = place_of(library or default_library())
    start = _checked_folder(folder, place)
    served = ServedLibrary(place)
    served.snapshot()  # a damaged library is told now
    try:
        listener = listen(_HOST, _PORT)  # the same link each time, so that a page that was left open goes on
    except WordframeError:
        listener = listen(_HOST, 0)
    link = link_to(_HOST, listener, "", None)
    print(one_line(f"Indexing {start} into the library {place}"))
    print(f"wordframe is at {link}  (Ctrl-C ends it)", flush=True)
    if browser:
        open_in_browser(link)
    watch = _Watch(link)
    watch.start()
    with contextlib.suppress(KeyboardInterrupt):  # what the server raises once it has ended in order
        run(served, listener, hosts=[_HOST], allow_index=True, index_first=[start])
    watch.join()
    if not watch.finished:
        print("interrupted: what was finished is kept", file=sys.stderr)
    print(_how_to_go_on(start, place, finished=watch.finished))
    if not watch.finished:
        raise typer.Exit(130)


def default_library() -> Path:
    """Where a library lies that nobody named a place for: where the system keeps what programs make for their user."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Application Support"
    else:
        base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "wordframe" / "library"


def _checked_folder(folder: Path, library: Place) -> str:
    """The folder, absolute; there must be videos in it."""
    from wordframe.library import find_videos

    address = parse_address(folder, "videos lie in a folder", WordframeError, is_any_key=True)
    if address is not None:
        command = shown_command("wordframe", "index", address, "--library", str(library))
        raise WordframeError(f"{one_line(address)}: is no folder; index it with: {command}")
    start = os.path.abspath(folder.expanduser())
    if not os.path.lexists(start):
        raise WordframeError(f"{start}: no such folder; name one that holds videos")
    if not os.path.isdir(start):
        raise WordframeError(f"{start}: is not a folder; name the one that holds it, or use wordframe index")
    found = find_videos([start], leave_out=[str(library)])
    for path, reason in sorted(found.unreadable.items()):
        print(f"not looked into: {one_line(path)}: {reason}", file=sys.stderr)
    if not found.files:
        raise WordframeError(f"{start}: no videos in it or below it; name a folder that holds some")
    return start


class _Watch(threading.Thread):
    """Asks the server how indexing gets on, shows it where standard error is a terminal, and tells its end.

    Attributes:
        finished: whether the run came to its end.
    """

    def __init__(self, link: str) -> None:
        super().__init__(daemon=True)
        self.finished = False
        self._link = link

    def run(self) -> None:
        from wordframe.cli._terminal import indexing_progress
        from wordframe.client import Client

        with contextlib.suppress(WordframeError), Client(self._link) as client:  # the server has ended
            with indexing_progress() as show:
                while (status := client.index_status()).state in ("running", "never"):
                    show(_progress(status))
                    time.sleep(_LOOK_SECONDS)
            self.finished = status.state == "finished"
            with contextlib.suppress(OSError):  # nobody reads it, or the disk is full: the command's end tells that
                self._tell(status, client.library())

    def _tell(self, status: schemas.IndexStatus, library: schemas.LibraryInfo) -> None:
        from wordframe.cli._terminal import duration

        if status.problem:
            print(one_line(f"wordframe: indexing failed: {status.problem}"), file=sys.stderr, flush=True)
        elif self.finished:
            videos = counted(library.num_videos, "video")
            print(
                f"Indexed: {videos}, {duration(library.seconds_of_video)}. The page goes on until Ctrl-C.", flush=True
            )
        for failure in status.failures:
            print(one_line(f"failed: {failure.reason}"), file=sys.stderr, flush=True)


def _progress(status: schemas.IndexStatus) -> IndexProgress:
    from wordframe.library import IndexProgress

    return IndexProgress(
        status.files_done,
        status.files_total,
        status.bytes_done,
        status.bytes_total,
        status.frames,
        seconds_of_video=0.0,
    )


def _how_to_go_on(start: str, library: Place, *, finished: bool) -> str:
    lines = [
        "Ended. The library is kept; go on with:"
        if finished
        else "Ended before all was indexed. What was finished is kept; go on with:",
        f"  {shown_command('wordframe', 'try', start, '--library', str(library))}",
        f"  {shown_command('wordframe', 'serve', '--library', str(library), '--open')}",
        f'  wordframe search "a dog runs on the beach" {shown_command("--library", str(library))}',
    ]
    return "\n".join(lines)
