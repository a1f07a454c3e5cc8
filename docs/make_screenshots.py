"""Screenshots of the page in every state, light, dark and as wide as a phone, and ``docs/page.png`` for the README.

    python docs/make_screenshots.py --output FOLDER

Makes the videos of the demo, indexes them, serves them by the real command and looks at the page in a real browser:
the one named by WORDFRAME_BROWSER, else Chromium or Chrome of the PATH. A second run finds videos and library in place.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

HERE = Path(__file__).parent
QUERY = "a cup of coffee on a wooden table"
LOOKS = (("light", 1280, 860), ("dark", 1280, 860), ("phone", 390, 844), ("phone-dark", 390, 844))
INDEXING = (
    '{"state": "running", "by_server": true, "files_done": 1, "files_total": 3, "bytes_done": 30, "bytes_total": 100,'
    ' "frames": 9, "started": "2026-01-01T12:00:00Z", "ended": null, "remaining_seconds": 80, "allow_index": true,'
    ' "failures": [{"path": "/videos/torn.mp4", "reason": "/videos/torn.mp4: not a video that can be read"}]}'
)


def main() -> int:
    """Write everything; exit status 0 if the states could all be reached."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=HERE.parent / "build" / "screenshots", help="where to write")
    output = parser.parse_args().output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    library = make_library(output / "material")
    names = ("chromium", "chromium-browser", "google-chrome")
    browser_path = os.environ.get("WORDFRAME_BROWSER") or next(filter(None, map(shutil.which, names)), None)
    if browser_path is None:
        print("no browser found: install Chromium, or name one with WORDFRAME_BROWSER", file=sys.stderr)
        return 1
    with serving(library) as address, serving(output / "material" / "empty") as empty, sync_playwright() as playwright:
        options = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        browser = playwright.chromium.launch(executable_path=browser_path, args=options)
        for name, width, height in LOOKS:
            for state, show in STATES.items():
                with looking(browser, name, width, height) as page:
                    show(page, empty if state == "first-run" else address)
                    page.wait_for_load_state("networkidle")
                    page.screenshot(path=output / f"{state}_{name}.png")
        browser.close()
    shutil.copyfile(output / "moment_light.png", HERE / "page.png")
    print(f"{len(STATES) * len(LOOKS)} screenshots in {output}, and {HERE / 'page.png'}")
    return 0


def make_library(folder: Path) -> Path:
    """The demo's videos, indexed."""
    sys.path.insert(0, str(HERE.parent / "demo"))
    from films import build

    build(folder / "videos")
    command = [sys.executable, "-m", "wordframe", "index", str(folder / "videos")]
    command += ["--library", str(folder / "library")]
    subprocess.run(command, check=True)
    return folder / "library"


@contextmanager
def serving(library: Path) -> Iterator[str]:
    """The address of ``wordframe serve`` over a library."""
    command = [sys.executable, "-m", "wordframe", "serve", "--library", str(library), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield next(word for word in server.stdout.readline().split() if word.startswith("http"))
        finally:
            server.terminate()


@contextmanager
def looking(browser: Browser, name: str, width: int, height: int) -> Iterator[Page]:
    """A tab of one size and colour."""
    context: BrowserContext = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if "dark" in name else "light"
    )
    yield context.new_page()
    context.close()


def start(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator("#results")).to_have_attribute("aria-busy", "false")


def filters(page: Page, address: str) -> None:
    start(page, f"{address}?min=6")
    page.get_by_role("button", name="Filters").click()


def results(page: Page, address: str) -> None:
    start(page, address)
    page.fill("#query", QUERY)
    page.press("#query", "Enter")
    page.wait_for_selector(".moment")


def moment(page: Page, address: str) -> None:
    results(page, address)
    page.locator(".poster").first.click()
    page.wait_for_selector(".words .chip")
    page.wait_for_timeout(1500)  # the beginning of a moment fades in
    page.locator("video").evaluate("video => video.pause()")


def word(page: Page, address: str) -> None:
    moment(page, address)
    page.locator(".words .chip").filter(has_text="coffee").click()


def why(page: Page, address: str) -> None:
    moment(page, address)
    page.get_by_text("Why was this found?").click()
    expect(page.locator(".why-body")).to_contain_text("score")
    page.locator(".why").scroll_into_view_if_needed()


def sentences(page: Page, address: str) -> None:
    moment(page, address)
    page.get_by_text("Which sentence fits this video?").click()
    page.locator("textarea").fill("a rocket on its launch pad\na cup of coffee\na cat")
    page.get_by_role("button", name="Rank them").click()
    page.wait_for_selector(".ranked .row")
    page.locator(".ranked").scroll_into_view_if_needed()


def similar(page: Page, address: str) -> None:
    moment(page, address)
    page.get_by_role("button", name="Find similar moments").click()
    page.wait_for_selector("#asked img")
    page.wait_for_selector(".moment")


def unplayable(page: Page, address: str) -> None:
    page.add_init_script("HTMLMediaElement.prototype.canPlayType = () => ''")
    results(page, address)
    page.locator(".poster").first.click()
    page.wait_for_selector(".message button")


def keys(page: Page, address: str) -> None:
    start(page, address)
    page.keyboard.press("?")


def nothing(page: Page, address: str) -> None:
    start(page, f"{address}?min=100000")


def indexing(page: Page, address: str) -> None:
    """With an answer made up, since a real run would be over too soon."""
    page.route("**/api/v1/index", lambda route: route.fulfill(body=INDEXING, content_type="application/json"))
    start(page, address)
    page.get_by_text("1 file could not be read").click()


def gone(page: Page, address: str) -> None:
    start(page, address)
    page.context.set_offline(True)
    page.fill("#query", QUERY)
    page.press("#query", "Enter")
    page.wait_for_selector("#notice button")


STATES: dict[str, Callable[[Page, str], None]] = {
    "start": start,
    "filters": filters,
    "results": results,
    "moment": moment,
    "word": word,
    "why": why,
    "sentences": sentences,
    "similar": similar,
    "unplayable": unplayable,
    "keys": keys,
    "nothing": nothing,
    "indexing": indexing,
    "gone": gone,
    "first-run": start,
}


if __name__ == "__main__":
    sys.exit(main())
