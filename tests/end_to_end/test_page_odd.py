"""Odd things that people do to the page: strange words, back and forth, two tabs, large letters, little motion."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import drop, plain_picture, ready, search, settled
from tests.end_to_end.conftest import Site

STRANGE = {
    "long": "red " * 128,
    "one long word": "r" * 512,
    "right to left, with emoji": "كلب red على الشاطئ 🐕‍🦺🏖️ 👩‍👩‍👧",
    "script, with quotes": "<script>document.title='broken'</script> \"red\" 'red' `red` \\ \u2028 \u200b",
    "address": "red&v=x#?q=%00%zz+",
}


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


@pytest.mark.slow
def test_strange_words(page: Page, site: Site) -> None:
    page.goto(site.address)
    for words in map(str.strip, STRANGE.values()):
        search(page, words)
        assert page.title() == f"{words} – wordframe"
        page.reload()
        expect(page.locator("#query")).to_have_value(words)
        page.locator(".poster").first.click()
        page.wait_for_selector(".bars rect")
        expect(page.locator(".strip")).to_contain_text("answers your words")
        assert fits(page), words
        page.keyboard.press("Escape")
        expect(page.locator("#player")).to_be_hidden()


def test_typing_from_right_to_left(page: Page, site: Site) -> None:
    page.goto(site.address)
    page.fill("#query", "كلب")
    assert page.locator("#query").evaluate("input => getComputedStyle(input).direction") == "rtl"
    page.fill("#query", "dog")
    assert page.locator("#query").evaluate("input => getComputedStyle(input).direction") == "ltr"


def test_back_and_forward_through_filters(page: Page, site: Site) -> None:
    page.goto(site.address)
    search(page, "red")
    steps = []
    for name, value in (("min", "2"), ("max", "100"), ("before", "2018-01-01")):
        steps.append((page.url, page.locator(".chips .chip").count(), page.locator(".card").count()))
        page.get_by_role("button", name="Filters").click()
        page.locator(f"#{name}").fill(value)
        page.get_by_role("button", name="Apply").click()
        expect(page.locator("#chips .chip")).to_have_count(len(steps))
        settled(page)
    last = (page.url, 3, page.locator(".card").count())
    for url, chips, cards in reversed(steps):
        page.go_back()
        page.wait_for_url(url)
        expect(page.locator("#chips .chip")).to_have_count(chips)
        expect(page.locator(".card")).to_have_count(cards)
        settled(page)
    for _ in steps:
        page.go_forward()
    page.wait_for_url(last[0])
    expect(page.locator("#chips .chip")).to_have_count(last[1])
    expect(page.locator(".card")).to_have_count(last[2])
    page.get_by_role("button", name="Filters").click()
    expect(page.locator("#before")).to_have_value("2018-01-01")


def test_two_tabs_do_not_disturb_each_other(page: Page, site: Site) -> None:
    page.goto(site.address)
    search(page, "red")
    page.locator(".moment").first.click()
    ready(page)
    other = page.context.new_page()
    other.goto(page.url)
    ready(other)
    other.keyboard.press("Escape")
    search(other, "blue")
    other.get_by_role("button", name="Dark").click()
    expect(page.locator("#player")).to_be_visible()
    assert "q=red" in page.url
    page.keyboard.press("Escape")
    expect(page.locator("#query")).to_have_value("red")
    expect(page.locator(".poster").first).to_be_visible()


def test_two_pictures_of_one_name(page: Page, site: Site) -> None:
    """Pasted pictures are all called the same; Back leads to the one before all the same."""
    page.goto(site.address)
    settled(page)
    for colour, name in (("magenta", "image.png"), ("blue", "image.png (2)")):
        drop(page, plain_picture(colour), "image.png", "image/png")
        expect(page.locator("#asked .asked-name")).to_have_text(name)
        settled(page)
        page.wait_for_selector(".moment")
    expect(page.locator(".card h2").first).to_have_text("sea.mp4")
    page.go_back()
    expect(page.locator("#asked .asked-name")).to_have_text("image.png")
    expect(page.locator(".card h2").first).not_to_have_text("sea.mp4")


def test_large_letters_and_little_motion(browser: Browser, site: Site) -> None:
    """200 % of zoom leave half of the pixels; nothing moves by itself where that is not wanted."""
    context = browser.new_context(
        viewport={"width": 640, "height": 430}, device_scale_factor=2, reduced_motion="reduce", has_touch=True
    )
    page = context.new_page()
    page.goto(site.address)
    search(page, "red")
    assert fits(page)
    moving = "[...document.querySelectorAll('*')].filter(e => parseFloat(getComputedStyle(e).transitionDuration) > 0)"
    assert page.evaluate(f"{moving}.length") == 0
    height = page.locator("header").evaluate("header => header.getBoundingClientRect().height")
    assert height < 430 / 2, "the search leaves room for what it found"
    page.locator(".moment").first.tap()
    ready(page)
    assert fits(page)
    page.get_by_label("Close the video").tap()
    expect(page.locator("#player")).to_be_hidden()
    context.close()
