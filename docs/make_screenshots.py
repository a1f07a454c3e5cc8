"""Screenshots of the page in every state, as every look, and ``docs/page.png`` for the README.

    python docs/make_screenshots.py --output FOLDER [--only STATE ...]

Makes the videos of the demo, indexes them, serves them by the real command and looks at the page in a real browser:
the one named by WORDFRAME_BROWSER, else Chromium or Chrome of the PATH. States and looks are those of
``tests/page_states.py``, which axe-core is run in. A second run finds videos and library in place.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from playwright.sync_api import Browser

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "demo"))

from films import build

from tests.browser import NO_BROWSER, browser_path, launched
from tests.page_states import LOOKS, STATES, Place, looking
from wordframe.client import Client

HERE = Path(__file__).parent


def main() -> int:
    """Write everything; exit status 0 if the states could all be reached."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=HERE.parent / "build" / "screenshots", help="where to write")
    parser.add_argument("--only", nargs="+", choices=STATES, default=list(STATES), help="these states alone")
    wanted = parser.parse_args()
    output = wanted.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    path = browser_path()
    if path is None:
        print(NO_BROWSER, file=sys.stderr)
        return 1
    with served_place(output / "material") as place, launched(path) as browser:
        for look in LOOKS:
            for state in wanted.only:
                take(browser, place, state, look, output)
    if "moment" in wanted.only:
        shutil.copyfile(output / "moment_light.png", HERE / "page.png")
    print(f"{len(wanted.only) * len(LOOKS)} screenshots in {output}")
    return 0


def take(browser: Browser, place: Place, state: str, look: str, output: Path) -> None:
    """One screenshot."""
    with looking(browser, look) as page, STATES[state](page, place):
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(300)  # pictures are drawn after they have come
        page.screenshot(path=output / f"{state}_{look}.png")


@contextmanager
def served_place(folder: Path) -> Iterator[Place]:
    """The demo's videos, indexed and served."""
    videos = folder / "videos"
    build(videos)
    library = folder / "library"
    subprocess.run([sys.executable, "-m", "wordframe", "index", str(videos), "--library", str(library)], check=True)
    with ExitStack() as servers:
        address = servers.enter_context(serving(library))
        with Client(address) as client:
            cat = client.search("a photo of a cat").items[0].moments[0].segment_id
            picture = client.thumbnail(cat)
        yield Place(
            address=address,
            of_parts=servers.enter_context(serving(library, "--model", "tcmgc-msrvtt", "--untrained")),
            empty=servers.enter_context(serving(folder / "empty")),
            query="a cup of coffee on a wooden table",
            word="coffee",
            weak="an orchestra plays in a concert hall",
            picture=picture,
            spoilt=videos / "sunday.mp4",
        )


@contextmanager
def serving(library: Path, *options: str) -> Iterator[str]:
    """The address of ``wordframe serve`` over a library."""
    command = [sys.executable, "-m", "wordframe", "serve", "--library", str(library), "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield next(word for word in server.stdout.readline().split() if word.startswith("http")).rstrip("/")
        finally:
            server.terminate()


if __name__ == "__main__":
    sys.exit(main())
