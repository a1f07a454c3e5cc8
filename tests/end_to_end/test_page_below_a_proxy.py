"""The page in a real browser, the server below a path of a reverse proxy: nothing on it leads beside that path."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Response, expect

from tests.browser import drop, plain_picture, ready, search, settled, wait_until
from tests.end_to_end.conftest import Site
from tests.served import listening, proxied

ROOT = "/of/ada/videos"
TOKEN = "a-token-of-some-length"
SEEN = "images => images.every(image => image.complete && image.naturalWidth > 0)"


def pictures_are_seen(page: Page, selector: str) -> None:
    page.locator(selector).first.scroll_into_view_if_needed()
    wait_until(page, f"({SEEN})([...document.querySelectorAll({selector!r})].slice(0, 3))")


@pytest.mark.parametrize(
    "strips",
    [
        pytest.param(True, id="the proxy takes the path off"),
        pytest.param(False, id="the proxy passes the path on", marks=pytest.mark.slow),
    ],
)
def test_the_whole_page_below_a_path(page: Page, site: Site, tmp_path: Path, strips: bool) -> None:
    answers: list[tuple[str, int]] = []

    def note(answer: Response) -> None:
        if not answer.url.startswith("blob:"):  # the page's own memory
            answers.append((urlsplit(answer.url).path, answer.status))

    page.on("response", note)
    with (
        listening(site.library, token=TOKEN, root_path=ROOT) as upstream,
        proxied(upstream, ROOT, strips=strips) as address,
    ):
        page.goto(f"{address}/?token={TOKEN}")
        settled(page)
        assert page.url == f"{address}/"  # the token does not stay in the history
        cookie = page.context.cookies()[0]
        assert (cookie["name"], cookie["path"]) == ("wordframe", ROOT)
        search(page, "yellow green")
        pictures_are_seen(page, ".poster img")
        page.locator(".moment").first.click()
        page.wait_for_selector(".bars rect")
        ready(page)
        page.locator("video").evaluate("video => video.pause()")
        pictures_are_seen(page, ".moment-list img")
        page.get_by_text("Why was this found?").click()
        expect(page.locator(".why-body")).to_contain_text("score")
        with page.expect_download() as saved:
            page.get_by_role("button", name="Save this moment").click()
        saved.value.save_as(tmp_path / "moment.mp4")
        assert (tmp_path / "moment.mp4").stat().st_size > 1000
        page.get_by_role("button", name="Find similar moments").click()
        page.wait_for_selector("#asked img")
        settled(page)
        pictures_are_seen(page, "#asked img")
        page.reload()  # an address made by the page, let in by the cookie
        settled(page)
        assert page.locator(".card").count() > 0
        drop(page, plain_picture("blue"), "picture.png", "image/png")
        wait_until(page, "document.querySelector('#asked').textContent.includes('picture.png')")
        settled(page)
        page.locator("#home").click()
        page.wait_for_url(f"{address}/")
        assert answers
        assert [path for path, _ in answers if not path.startswith(f"{ROOT}/")] == []
        assert [path for path, status in answers if status >= 400] == []
        assert {f"{ROOT}/api/v1/search", f"{ROOT}/api/v1/index", f"{ROOT}/js/main.js"} <= {path for path, _ in answers}
