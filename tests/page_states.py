"""Every state that the page can be in, and how a person gets there: one list, for axe-core and for the screenshots.

A state is reached on a fresh tab and left again at the end of its ``with``, so that what it moved comes back:

    with STATES["results"](page, place):
        ...

Some go on from another one; ``STEPS`` holds the last step alone, for a tab that is there already (``JOURNEYS``).

Neighbours: ``browser.py`` (opens the tab), ``docs/make_screenshots.py``, ``end_to_end/test_page_accessibility.py``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, Page, expect

from tests.browser import drop, ready, search, settled
from wordframe.client.schemas import IndexStatus


@dataclass(frozen=True)
class Look:
    """How a page is looked at: a window in pixels, and ``light`` or ``dark``."""

    width: int
    height: int
    scheme: str = "light"


LOOKS = {
    "light": Look(1280, 860),
    "dark": Look(1280, 860, "dark"),
    "phone": Look(390, 844),
    "narrow": Look(320, 640, "dark"),  # what 400 % of zoom leave of 1280 pixels
}


@contextmanager
def looking(browser: Browser, look: str) -> Iterator[Page]:
    """A fresh tab of one of ``LOOKS``."""
    wanted = LOOKS[look]
    context = browser.new_context(
        viewport={"width": wanted.width, "height": wanted.height},
        color_scheme=wanted.scheme,  # type: ignore[arg-type]
    )
    context.set_default_timeout(15_000)
    yield context.new_page()
    context.close()


@dataclass(frozen=True)
class Place:
    """What the states are reached in.

    address: the server of a library; of_parts: of the same under a model with four parts; empty: one without a library;
    query: a sentence that a moment answers; word: one of its words; weak: a sentence that some videos do not answer;
    picture: a PNG or JPEG that a moment looks like; spoilt: a video of the library that may be away for a while.
    """

    address: str
    of_parts: str
    empty: str
    query: str
    word: str
    weak: str
    picture: bytes
    spoilt: Path


Reach = Callable[[Page, Place], AbstractContextManager[None]]
STATES: dict[str, Reach] = {}
STEPS: dict[str, Reach] = {}
JOURNEYS = (
    ("start", "keys", "dropping", "picture", "picture-moment", "picture-lost"),
    ("filters", "nothing", "error", "first-run", "weak", "note"),
    ("results", "moment", "word", "why", "sentences", "similar", "similar-moment"),
    ("why-four-parts", "gone-file", "changed-file", "unknown-video"),
    ("indexing", "indexing-failed"),
    ("unplayable", "clip"),
    ("server-gone",),
)
"""All states in an order in which each is a step from the one before, on one tab."""


def state(*after: str) -> Callable[[Callable[[Page, Place], Iterator[None]]], None]:
    """Put a state into the list; it is reached at its ``yield``, from the state ``after`` or from anywhere."""

    def put(step: Callable[[Page, Place], Iterator[None]]) -> None:
        name = step.__name__.replace("_", "-")
        STEPS[name] = contextmanager(step)

        @contextmanager
        def reach(page: Page, place: Place) -> Iterator[None]:
            with ExitStack() as left:
                for each in after:
                    left.enter_context(STATES[each](page, place))
                left.enter_context(STEPS[name](page, place))
                yield

        STATES[name] = reach

    return put


def start_page(page: Page, address: str) -> None:
    page.goto(address)
    settled(page)


def results_of(page: Page, address: str, query: str) -> None:
    start_page(page, address)
    search(page, query)


def open_first(page: Page) -> None:
    """The best moment, paused, with its strip."""
    page.locator(".moment").first.click()
    page.wait_for_selector(".bars rect")
    ready(page)
    page.locator("video").evaluate("video => video.pause()")


def open_why(page: Page) -> None:
    page.get_by_text("Why was this found?").click()
    expect(page.locator(".why-body")).to_contain_text("score")
    page.locator(".why").scroll_into_view_if_needed()


def indexing_says(page: Page, place: Place, **changes: Any) -> None:
    """Answers of a run that would be over too soon, or that would have to fail."""
    plain: dict[str, Any] = {
        "state": "running", "by_server": True, "files_done": 120, "files_total": 318, "bytes_done": 30,
        "bytes_total": 100, "frames": 9000, "started": "2026-01-31T12:00:00Z", "ended": None, "remaining_seconds": 80,
        "problem": None, "num_failures": 0, "failures": [], "allow_index": True,
    }  # fmt: skip
    told = IndexStatus(**plain | changes).model_dump_json()
    page.route("**/api/v1/index", lambda route: route.fulfill(body=told, content_type="application/json"))
    start_page(page, place.address)
    expect(page.locator("#indexing")).to_be_visible()


def open_spoilt(page: Page, place: Place) -> None:
    videos = httpx.get(f"{place.address}/api/v1/videos", params={"limit": 200}).json()["items"]
    identity = next(video["video_id"] for video in videos if video["name"] == place.spoilt.name)
    page.goto(f"{place.address}?v={identity}")
    expect(page.locator(".message")).to_contain_text("index again")


# The list ------------------------------------------------------------------------------------------------------------


@state()
def start(page: Page, place: Place) -> Iterator[None]:
    start_page(page, place.address)
    yield


@state()
def first_run(page: Page, place: Place) -> Iterator[None]:
    start_page(page, place.empty)
    expect(page.locator("#notice")).to_contain_text("No videos yet")
    yield


@state()
def filters(page: Page, place: Place) -> Iterator[None]:
    start_page(page, f"{place.address}?min=1&after=2001-01-01")
    page.get_by_role("button", name="Filters").click()
    yield


@state()
def results(page: Page, place: Place) -> Iterator[None]:
    results_of(page, place.address, place.query)
    yield


@state()
def weak(page: Page, place: Place) -> Iterator[None]:
    results_of(page, place.address, place.weak)
    shown = page.locator(".card").count()
    if page.locator("#more").is_visible():
        page.locator("#more").click()
        expect(page.locator(".poster").nth(shown)).to_be_focused()
    page.locator(".weak-from").scroll_into_view_if_needed()
    yield


@state()
def note(page: Page, place: Place) -> Iterator[None]:
    results_of(page, place.address, f"no {place.query}")
    expect(page.locator("#note")).to_be_visible()
    yield


@state()
def nothing(page: Page, place: Place) -> Iterator[None]:
    start_page(page, f"{place.address}?min=100000")
    expect(page.locator("#status")).to_contain_text("No video passes the filters")
    yield


@state()
def error(page: Page, place: Place) -> Iterator[None]:
    start_page(page, f"{place.address}?folder=/nowhere")
    expect(page.locator("#notice")).to_contain_text("This did not work")
    yield


@state()
def server_gone(page: Page, place: Place) -> Iterator[None]:
    start_page(page, place.address)
    page.context.set_offline(True)
    page.fill("#query", place.query)
    page.press("#query", "Enter")
    expect(page.locator("#notice")).to_contain_text("The server is gone")
    yield


@state("start")
def keys(page: Page, place: Place) -> Iterator[None]:
    page.keyboard.press("?")
    expect(page.locator("#keys-help")).to_be_visible()
    yield
    page.keyboard.press("Escape")


@state()
def indexing(page: Page, place: Place) -> Iterator[None]:
    paths = [f"/videos/torn-{number}.mp4" for number in range(30)]
    failures = [{"path": path, "reason": f"{path}: not a video that can be read"} for path in paths]
    indexing_says(page, place, num_failures=1234, failures=failures)
    page.get_by_text("1,234 files could not be read").click()
    expect(page.locator(".failures")).to_contain_text("and 1,204 more")
    yield


@state()
def indexing_failed(page: Page, place: Place) -> Iterator[None]:
    indexing_says(page, place, state="stopped", by_server=False, remaining_seconds=None, problem="the disk is full")
    expect(page.locator("#indexing")).to_contain_text("the disk is full")
    yield


@state("results")
def moment(page: Page, place: Place) -> Iterator[None]:
    open_first(page)
    page.wait_for_selector(".words .chip")
    yield


@state("moment")
def word(page: Page, place: Place) -> Iterator[None]:
    page.locator(".words .chip").get_by_text(place.word, exact=True).click()
    expect(page.locator(".strip")).to_contain_text(f"“{place.word}”")
    yield


@state("moment")
def why(page: Page, place: Place) -> Iterator[None]:
    open_why(page)
    yield


@state()
def why_four_parts(page: Page, place: Place) -> Iterator[None]:
    results_of(page, place.of_parts, place.query)
    open_first(page)
    open_why(page)
    expect(page.locator(".why-body tbody tr")).to_have_count(4)
    yield


@state("moment")
def sentences(page: Page, place: Place) -> Iterator[None]:
    page.get_by_text("Which sentence fits this video?").click()
    page.locator("textarea").fill(f"{place.weak}\n{place.query}")
    page.get_by_role("button", name="Rank them").click()
    expect(page.locator(".ranked .row")).to_have_count(2)
    page.locator(".ranked").scroll_into_view_if_needed()
    yield


@state("moment")
def similar(page: Page, place: Place) -> Iterator[None]:
    page.get_by_role("button", name="Find similar moments").click()
    page.wait_for_selector("#asked img")
    settled(page)
    yield


@state("similar")
def similar_moment(page: Page, place: Place) -> Iterator[None]:
    open_first(page)
    open_why(page)
    yield


@state("start")
def dropping(page: Page, place: Place) -> Iterator[None]:
    drop(page, place.picture, "picture.png", "image/png", events=("dragenter",))
    expect(page.locator("#drop")).to_be_visible()
    yield


@state("start")
def picture(page: Page, place: Place) -> Iterator[None]:
    drop(page, place.picture, "picture.png", "image/png")
    page.wait_for_selector("#asked img")
    settled(page)
    yield


@state("picture")
def picture_moment(page: Page, place: Place) -> Iterator[None]:
    open_first(page)
    open_why(page)
    yield


@state("picture-moment")
def picture_lost(page: Page, place: Place) -> Iterator[None]:
    page.reload()
    expect(page.locator(".strip")).to_contain_text("The picture did not stay with the page")
    yield


@state()
def unplayable(page: Page, place: Place) -> Iterator[None]:
    page.add_init_script("HTMLMediaElement.prototype.canPlayType = () => ''")
    results_of(page, place.address, place.query)
    page.locator(".moment").first.click()
    page.wait_for_selector(".message button")
    page.wait_for_selector(".bars rect")
    yield


@state("unplayable")
def clip(page: Page, place: Place) -> Iterator[None]:
    page.get_by_role("button", name="Play this moment as a short clip").click()
    ready(page)
    page.locator("video").evaluate("video => video.pause()")
    yield


@state()
def gone_file(page: Page, place: Place) -> Iterator[None]:
    away = place.spoilt.with_suffix(".away")
    place.spoilt.rename(away)
    try:
        open_spoilt(page, place)
        yield
    finally:
        away.rename(place.spoilt)


@state()
def changed_file(page: Page, place: Place) -> Iterator[None]:
    before = place.spoilt.stat().st_mtime_ns
    os.utime(place.spoilt, ns=(before + 10**9, before + 10**9))
    try:
        open_spoilt(page, place)
        yield
    finally:
        os.utime(place.spoilt, ns=(before, before))


@state()
def unknown_video(page: Page, place: Place) -> Iterator[None]:
    page.goto(f"{place.address}?v=nothing")
    expect(page.locator("#player")).to_contain_text("This video cannot be shown")
    yield
