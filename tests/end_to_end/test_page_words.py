"""The page shows at each video found which words of the query found it."""

from __future__ import annotations

import httpx
from playwright.sync_api import Page, expect

from tests.browser import search, settled, violations
from tests.end_to_end.conftest import Site


def test_words_are_marked_by_their_weight(page: Page, site: Site) -> None:
    page.goto(site.address)
    settled(page)
    search(page, "yellow something green")
    best = page.locator(".card").first
    expect(best.locator(".found-by")).to_be_visible()
    segment = best.locator(".found-by").get_attribute("data-segment") or ""
    told = httpx.get(f"{site.address}/api/v1/words", params={"q": "yellow something green", "segment": segment}).json()
    shares = {each["word"]: each["share"] for each in told["items"][0]["words"]}
    assert sum(shares.values()) > 0.99
    assert shares["something"] == 0
    for word, share in shares.items():
        mark = best.locator(".by-word").filter(has_text=word)
        expect(mark).to_have_attribute("title", f"{round(100 * share)} %")
        expect(mark).to_have_text(f"{word} {round(100 * share)} %,")  # what a screen reader says
        wide = mark.evaluate("each => parseFloat(getComputedStyle(each).borderBottomWidth)")
        assert (wide > 0) == (share > 0)
    assert page.locator(".card.weak .found-by").count() == 0
    assert violations(page) == []


def test_of_one_word_or_a_picture_nothing_is_asked(page: Page, site: Site) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/words?" in request.url else None)
    page.goto(site.address)
    settled(page)
    search(page, "yellow")
    page.wait_for_timeout(300)
    assert asked == []
    assert page.locator(".found-by:visible").count() == 0


def test_results_stay_where_the_words_cannot_be_had(page: Page, site: Site) -> None:
    page.route("**/api/v1/words*", lambda route: route.fulfill(status=500, json={"detail": "no"}))
    page.goto(site.address)
    settled(page)
    with page.expect_response("**/api/v1/words*"):
        search(page, "yellow green")
    expect(page.locator(".card").first).to_be_visible()
    assert page.locator(".found-by:visible").count() == 0
    expect(page.locator("#notice")).to_be_hidden()
