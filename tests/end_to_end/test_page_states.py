"""The page when something is missing: no library yet, files gone, changed or unplayable, no server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
from playwright.sync_api import Page, Route, expect

from tests.browser import FRAME, ready, search, settled, violations
from tests.colours import write_scenes
from tests.end_to_end.conftest import Site
from tests.served import listening

INDEXER = """
import sys
from tests.colours import ColourEncoder
from wordframe.library import Library
Library.open(sys.argv[2], encoder=ColourEncoder(delay_seconds=0.5)).index([sys.argv[1]])
"""


def open_video(page: Page, site: Site, name: str) -> None:
    """Open a video from the list of all."""
    page.goto(site.address)
    settled(page)
    page.locator(".card").filter(has=page.get_by_text(name, exact=True)).locator(".poster").click()
    page.wait_for_selector("#player-title")


def test_a_file_that_no_browser_plays_is_offered_as_a_clip(page: Page, site: Site) -> None:
    open_video(page, site, "antique.avi")
    expect(page.locator(".message")).to_contain_text("does not play this file: .avi with the codec mpeg4")
    page.get_by_role("button", name="Play this moment as a short clip").click()
    ready(page)
    assert page.locator("video").get_attribute("src").startswith("blob:")  # type: ignore[union-attr]
    expect(page.locator(".message")).to_contain_text("pictures encoded anew from mpeg4 as H.264")
    assert page.locator("video").evaluate("video => video.videoWidth") == 128
    assert len(page.locator("video").evaluate(FRAME)) == 3
    assert violations(page) == []


def test_a_clip_that_starts_before_its_moment_is_played_from_the_moment(page: Page, site: Site) -> None:
    """A copy starts at the keyframe before: the player goes to the wanted second, and the page says what it has."""
    page.add_init_script("HTMLMediaElement.prototype.canPlayType = () => ''")
    api = f"{site.address}/api/v1"
    identity = httpx.get(f"{api}/search?text=yellow").json()["items"][0]["video"]["video_id"]
    segments = httpx.get(f"{api}/videos/{identity}").json()["segments"]
    wanted = next(each for each in segments if each["start_seconds"] > 3)
    page.goto(f"{site.address}?v={identity}&t={wanted['start_seconds'] + 0.5}")
    with page.expect_response(re.compile("/clip")) as cut:
        page.get_by_role("button", name="Play this moment as a short clip").click()
    start = float(cut.value.headers["clip-start-seconds"])
    ready(page)
    at = page.locator("video").evaluate("video => { video.pause(); return video.currentTime; }")
    assert wanted["start_seconds"] + 0.4 <= start + at <= wanted["end_seconds"] + 0.1
    expect(page.locator(".message")).to_contain_text(f"A clip of 0:{int(start):02d} – 0:")


def test_a_file_that_is_gone_or_changed_is_told_in_words(page: Page, site: Site) -> None:
    moved = site.videos / "gone.away"
    (site.videos / "gone.mp4").rename(moved)
    try:
        open_video(page, site, "gone.mp4")
        expect(page.locator(".message")).to_contain_text("the file is gone; index again")
        page.get_by_role("button", name="Save this moment").click()
        expect(page.locator(".message")).to_contain_text("the file is gone")
    finally:
        moved.rename(site.videos / "gone.mp4")
    changed = site.videos / "changed.mp4"
    before = changed.stat().st_mtime_ns
    os.utime(changed, ns=(before + 10**9, before + 10**9))
    try:
        open_video(page, site, "changed.mp4")
        expect(page.locator(".message")).to_contain_text("the file has changed since it was indexed; index again")
    finally:
        os.utime(changed, ns=(before, before))


def test_an_unknown_video_and_an_unknown_folder(page: Page, site: Site) -> None:
    page.goto(f"{site.address}?v=nothing")
    expect(page.locator("#player")).to_contain_text("This video cannot be shown")
    expect(page.locator("#player")).to_contain_text("no video 'nothing' in this library")
    page.keyboard.press("Escape")
    expect(page.locator("#player")).to_be_hidden()
    page.wait_for_url(f"{site.address}/")  # the address follows a moment after the player is gone
    page.goto(f"{site.address}?folder=/nowhere")
    expect(page.locator("#notice")).to_contain_text("no video of this library lies in the folder '/nowhere'")
    page.get_by_label("Remove the filter").click()
    expect(page.locator(".card").first).to_be_visible()


def test_a_busy_server_is_asked_again(page: Page, site: Site) -> None:
    asked = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) > 1:
            route.continue_()
        else:
            route.fulfill(status=503, headers={"Retry-After": "1"}, json={"detail": "too many searches at once"})

    page.route("**/api/v1/search*", answer)
    page.goto(site.address)
    search(page, "red")
    assert len(asked) == 2


def test_first_run_then_indexing_from_the_command_line_then_no_server(page: Page, tmp_path: Path) -> None:
    for number in range(6):
        write_scenes(tmp_path / "videos" / f"{number}.mp4", *[("red", 1), ("blue", 1)] * (4 + number))
    (tmp_path / "videos" / "torn.mp4").write_bytes(b"no video")
    library = tmp_path / "library"
    with listening(library, allow_index=True) as address:
        page.goto(address)
        expect(page.locator("#notice")).to_contain_text("wordframe index ~/Videos --library")
        assert violations(page) == []
        with subprocess.Popen([sys.executable, "-c", INDEXER, str(tmp_path / "videos"), str(library)]) as indexer:
            progress = page.locator("#indexing progress")
            expect(progress).to_be_visible(timeout=30_000)
            expect(page.locator("#indexing")).to_contain_text("Indexing")
            expect(page.get_by_role("button", name="Stop", exact=True)).to_be_hidden()  # its own terminal stops it
            assert indexer.wait(60) == 0
        expect(page.locator("#indexing")).to_contain_text("The library is indexed.", timeout=30_000)
        expect(page.locator(".card")).to_have_count(6)
        page.get_by_text("1 file could not be read").click()
        expect(page.locator(".failures")).to_contain_text("torn.mp4")
        expect(page.get_by_role("button", name="Look for new videos")).to_be_visible()
        assert violations(page) == []
    page.fill("#query", "red")
    page.press("#query", "Enter")
    expect(page.locator("#notice")).to_contain_text("The server is gone")
    expect(page.locator("#notice")).to_contain_text("Is wordframe serve still running?")
    assert violations(page) == []


def test_a_token_is_taken_out_of_the_address(page: Page, tmp_path: Path) -> None:
    token = "a-token-of-some-length"
    with listening(tmp_path / "library", token=token) as address:
        page.goto(address)
        expect(page.locator("#notice")).to_contain_text("Open the link that the server printed")
        page.goto(f"{address}/?token={token}&q=red")
        expect(page.locator("#notice")).to_contain_text("No videos yet")
        assert page.url.endswith("/?q=red")


def test_the_colours_that_were_chosen_are_remembered(page: Page, site: Site) -> None:
    page.goto(site.address)
    page.get_by_role("button", name="Dark").click()
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    expect(page.get_by_role("button", name="Light")).to_be_visible()
