"""The page as people use it, in a real browser, against a real server over a real library."""

from __future__ import annotations

import gzip
import re

import av
import pytest
from playwright.sync_api import Page, expect

from tests.browser import FRAME, NUM_VIDEOS, SCRIPT_NAME, drop, plain_picture, ready, search, settled, wait_until
from tests.colours import COLOURS
from tests.end_to_end.conftest import Site
from wordframe.client import Client
from wordframe.server.application import STATIC

PAGE = 24


def shows(page: Page, colour: str) -> None:
    """The video shows this colour, as far as its compression lets it."""
    ready(page)
    seen = page.locator("video").evaluate(FRAME)
    assert seen == pytest.approx(COLOURS[colour], abs=40), (colour, seen)


def names(page: Page) -> list[str]:
    return page.locator(".card h2").all_text_contents()


def test_a_sentence_finds_the_moment_and_it_plays_from_there(page: Page, site: Site) -> None:
    page.goto(site.address)
    search(page, "yellow")
    assert names(page)[0] == "lights.mp4"
    assert page.locator("#results video").count() == 0
    expect(page.locator("#status")).to_contain_text(f"{NUM_VIDEOS} videos")
    first = page.locator(".card").first.locator(".moment").first
    start = float(first.text_content().split("–")[0].split(":")[1])  # type: ignore[union-attr]
    first.click()
    ready(page)
    wait_until(page, "!document.querySelector('video').paused || document.querySelector('video').ended")
    page.locator("video").evaluate("video => video.pause()")
    assert page.locator("video").evaluate("video => video.currentTime") >= start
    assert page.locator("video").get_attribute("preload") == "metadata"
    page.locator(".moment-list .row").first.click()
    page.locator("video").evaluate("video => video.pause()")
    shows(page, "yellow")


def test_a_link_opens_at_its_time(page: Page, site: Site) -> None:
    with Client(site.address) as client:
        identity = client.search("red").items[0].video_id
    for time, colour in ((1, "red"), (5, "yellow"), (9.5, "green")):
        page.goto(f"{site.address}?v={identity}&t={time}")
        shows(page, colour)
        assert page.locator("video").evaluate("video => video.currentTime") == pytest.approx(time, abs=0.11)


def test_back_forward_reload_and_where_focus_returns(page: Page, site: Site) -> None:
    page.goto(site.address)
    search(page, "red")
    search(page, "blue")
    moment = page.locator(".moment").first
    moment.click()
    ready(page)
    assert "v=" in page.url
    page.keyboard.press("Escape")
    page.wait_for_url(lambda url: "v=" not in url)
    assert "q=blue" in page.url
    expect(moment).to_be_focused()
    page.go_forward()
    expect(page.locator("#player")).to_be_visible()
    page.reload()
    expect(page.locator("#player")).to_be_visible()
    page.get_by_label("Close the video").click()
    page.wait_for_url(lambda url: "v=" not in url)
    page.go_back()
    expect(page.locator("#query")).to_have_value("red")
    settled(page)
    assert names(page)[0] == "lights.mp4"


def test_the_strip_is_worked_by_keyboard_and_says_its_time(page: Page, site: Site) -> None:
    page.goto(site.address)
    search(page, "green")
    page.locator(".poster").first.click()
    page.wait_for_selector(".bars rect")
    page.locator("video").evaluate("video => video.pause()")
    strip = page.get_by_role("slider", name="Time in the video")
    strip.focus()
    page.keyboard.press("Home")
    ready(page)
    expect(strip).to_have_attribute("aria-valuetext", "0:00, does not answer")
    shows(page, "red")
    for _ in range(40):
        if "strongly" in (strip.get_attribute("aria-valuetext") or ""):
            break
        page.keyboard.press("ArrowRight")
    expect(strip).to_have_attribute("aria-valuetext", re.compile(r"0:(08|09|10|11), answers strongly"))
    shows(page, "green")
    assert 8 <= float(re.search(r"[?&]t=([\d.]+)", page.url)[1]) < 12  # type: ignore[index]
    expect(page.locator(".strip")).to_contain_text("answers your words")


def test_a_time_has_the_words_of_its_bar(page: Page, site: Site) -> None:
    """At the border of two bars a moment begins, so the later one counts."""
    page.goto(site.address)
    told = page.evaluate(
        """() => import("/js/strip.js").then(({make}) => {
          const strip = make(4, () => {}, () => {});
          strip.show({seconds: [0.5, 1.5, 2.5, 3.5], values: [0, 0.5, 1, 0.2]}, "");
          return [0, 0.9, 1, 1.9, 2, 2.9, 3, 4].map(time => {
            strip.follow(time);
            return strip.element.querySelector(".slider").getAttribute("aria-valuetext").split(", ")[1];
          });
        })"""
    )
    none, well, strongly, little = "does not answer", "answers well", "answers strongly", "answers a little"
    assert told == [none, none, well, well, strongly, strongly, little, little]


def test_a_word_shows_its_own_pictures(page: Page, site: Site) -> None:
    page.goto(site.address)
    search(page, "red green")
    page.locator(".poster").first.click()
    page.wait_for_selector(".words .chip")
    heights = "rects => rects.map(rect => rect.getAttribute('height'))"
    whole = page.locator(".bars rect").evaluate_all(heights)
    chips = page.locator(".words .chip")
    assert chips.all_text_contents() == ["the whole sentence", "red", "green"]
    chips.nth(2).click()
    expect(chips.nth(2)).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".strip")).to_contain_text("“green”")
    assert page.locator(".bars rect").evaluate_all(heights) != whole
    chips.nth(0).click()
    assert page.locator(".bars rect").evaluate_all(heights) == whole
    page.get_by_text("Why was this found?").click()
    expect(page.locator(".why-body")).to_contain_text("This model makes one comparison")


def test_pieces_of_words_are_put_together(page: Page, site: Site) -> None:
    page.goto(site.address)
    for pieces in (
        ["[CLS]", "a", "starr", "##y", "sky", ".", "[SEP]"],
        ["<|startoftext|>", "a</w>", "starr", "y</w>", "sky</w>", ".</w>", "<|endoftext|>"],
        ["▁a", "▁starr", "y", "▁sky", "</s>"],
        ["a", "starry", "sky"],
    ):
        given = [{"word": piece, "values": [float(place), 1.0]} for place, piece in enumerate(pieces)]
        words = page.evaluate("given => import('/js/words.js').then(({wholeWords}) => wholeWords(given))", given)
        assert [each["word"] for each in words] == ["a", "starry", "sky"]
        starr = next(place for place, piece in enumerate(pieces) if "starr" in piece)
        assert words[1]["values"] == [starr if "starry" in pieces else starr + 0.5, 1.0]


def test_filters_are_chips_and_in_the_address(page: Page, site: Site) -> None:
    page.goto(site.address)
    settled(page)
    page.get_by_role("button", name="Filters").click()
    page.locator("#folder").select_option(label="…/videos/traffic")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator(".card")).to_have_count(1)
    assert names(page) == ["lights.mp4"]
    page.goto(f"{site.address}?before=2018-01-01&min=2")
    expect(page.locator(".card")).to_have_count(1)
    assert names(page) == ["sea.mp4"]
    page.get_by_label("Remove the filter: files before 2018-01-01").click()
    expect(page.locator(".card")).to_have_count(6)
    assert "before" not in page.url
    page.goto(f"{site.address}?min=1000")
    expect(page.locator("#status")).to_have_text("No video passes the filters. Remove one of them.")


def test_by_keyboard_alone(page: Page, site: Site) -> None:
    page.goto(site.address)
    settled(page)
    page.keyboard.press("/")
    expect(page.locator("#query")).to_be_focused()
    page.keyboard.type("blue /?np")  # typing fires no keys
    expect(page.locator("#query")).to_have_value("blue /?np")
    page.keyboard.press("Enter")
    page.wait_for_selector(".moment")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".poster").first).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_selector(".bars rect")
    rows = page.locator(".moment-list .row")
    page.keyboard.press("n")
    expect(rows.nth(1)).to_have_attribute("aria-current", "true")
    page.keyboard.press("p")
    expect(rows.nth(0)).to_have_attribute("aria-current", "true")
    for _ in range(12):
        page.keyboard.press("Tab")  # focus stays in the dialog, or in the browser's own bars
        assert page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('dialog')")
    page.keyboard.press("?")
    expect(page.locator("#keys-help")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(page.locator("#player")).to_be_hidden()
    expect(page.locator(".poster").first).to_be_focused()


def test_a_dropped_picture_is_a_query_and_back_returns_to_it(page: Page, site: Site) -> None:
    page.goto(site.address)
    settled(page)
    drop(page, plain_picture("magenta"), "pink.png", "image/png")
    expect(page.locator("#asked")).to_contain_text("pink.png")
    page.wait_for_selector(".moment")
    assert names(page)[0] == SCRIPT_NAME  # and it is text
    assert page.title() == "pink.png – wordframe"
    search(page, "red")
    page.go_back()
    expect(page.locator("#asked")).to_contain_text("pink.png")
    page.reload()
    expect(page.locator("#status")).to_contain_text("choose or drop it again")
    drop(page, b"123", "notes.txt", "text/plain")
    expect(page.locator("#status")).to_contain_text("A picture is needed")


def test_a_picture_has_its_strip_and_its_reasons(page: Page, site: Site) -> None:
    page.goto(site.address)
    settled(page)
    drop(page, plain_picture("green"), "green.png", "image/png")
    page.wait_for_selector(".moment")
    assert names(page)[0] == "lights.mp4"
    page.locator(".poster").first.click()
    page.wait_for_selector(".bars rect")
    expect(page.locator(".strip")).to_contain_text("is like your picture; the tallest is most alike")
    page.locator("video").evaluate("video => video.pause()")
    strip = page.get_by_role("slider", name="Time in the video")
    strip.focus()
    page.keyboard.press("Home")
    expect(strip).to_have_attribute("aria-valuetext", "0:00, not alike")
    page.keyboard.press("End")
    expect(strip).to_have_attribute("aria-valuetext", "0:12, very much alike")
    assert page.locator(".words .chip").count() == 0
    page.get_by_text("Why was this found?").click()
    expect(page.locator(".why-body")).to_contain_text("There are no words in this search")
    expect(page.locator(".why-body")).to_contain_text("the moment as a whole against your picture")
    page.keyboard.press("Escape")
    page.wait_for_url(lambda url: "v=" not in url)
    search(page, "blue")
    page.locator(".poster").first.click()
    expect(page.locator(".strip")).to_contain_text("answers your words")


def test_why_in_four_parts_with_their_weights(page: Page, of_parts: str) -> None:
    page.goto(of_parts)
    search(page, "red green")
    card = page.locator(".poster").first
    card.click()
    page.wait_for_selector(".bars rect")
    page.get_by_text("Why was this found?").click()
    rows = page.locator(".why-body tbody tr")
    expect(rows).to_have_count(4)
    with Client(of_parts) as client:
        best = client.search("red green").items[0].moments[0].segment_id
        expected = client.explain(best, "red green")
    assert expected.part_weights is not None
    assert sum(expected.part_weights.values()) == pytest.approx(1, abs=1e-3)
    for place, (name, words) in enumerate(
        {
            "video_sentence": "the moment as a whole against the sentence as a whole",
            "video_word": "the moment as a whole against each word",
            "sentence_frame": "each picture, seen with the words in mind, against the sentence",
            "frame_word": "each picture against each word",
        }.items()
    ):
        weight = f"{int(100 * expected.part_weights[name] + 0.5)} %"
        assert rows.nth(place).locator("th, td").all_text_contents() == [words, f"{expected.parts[name]:.3f}", weight]
    expect(page.locator(".why-body")).to_contain_text("The score is the sum of the parts, each times its weight.")
    expect(page.locator(".why-body")).to_contain_text(f"has the score {expected.score:.3f}")


def test_similar_moments_and_sentences_ranked(page: Page, site: Site) -> None:
    page.goto(site.address)
    search(page, "blue")
    page.locator(".poster").first.click()
    page.wait_for_selector(".bars rect")
    page.get_by_text("Which sentence fits this video?").click()
    page.locator("textarea").fill("red\nblue\n<b>green</b>")
    page.get_by_role("button", name="Rank them").click()
    expect(page.locator(".ranked .row")).to_have_count(3)
    expect(page.locator(".ranked .row").first).to_contain_text("blue")
    expect(page.locator(".ranked")).to_contain_text("<b>green</b>")
    page.get_by_role("button", name="Find similar moments").click()
    expect(page.locator("#asked")).to_contain_text("Similar to this moment")
    page.wait_for_selector(".moment")
    assert names(page)[0] == "sea.mp4"
    assert "like=" in page.url
    page.locator(".poster").first.click()
    page.wait_for_selector(".bars rect")
    expect(page.locator(".strip")).to_contain_text("is like the moment you chose")
    page.get_by_text("Why was this found?").click()
    expect(page.locator(".why-body")).to_contain_text("against the moment you chose")


def test_a_moment_is_saved_as_a_video(page: Page, site: Site) -> None:
    page.goto(site.address)
    search(page, "green")
    page.locator(".poster").first.click()
    page.wait_for_selector(".bars rect")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save this moment").click()
    assert re.fullmatch(r"lights_.*s\.mp4", waiting.value.suggested_filename)
    with av.open(str(waiting.value.path())) as file:
        assert sum(1 for _ in file.decode(video=0)) > 10
    expect(page.locator(".message")).to_contain_text("Saved as lights_")


def test_what_the_encoder_cannot_know_is_told(page: Page, site: Site) -> None:
    page.goto(site.address)
    note = page.get_by_role("status").filter(has_text="Note:")
    search(page, "yellow without red")
    expect(note).to_have_text(
        "Note: “without” has hardly an effect: what is named is searched for; name only what is to be seen."
    )
    search(page, "yellow")
    expect(page.locator("#note")).to_be_hidden()
    page.go_back()
    expect(note).to_be_visible()


def test_more_are_loaded_and_weak_ones_marked(page: Page, site: Site) -> None:
    page.goto(site.address)
    search(page, "red")
    expect(page.locator(".card")).to_have_count(PAGE)
    page.get_by_role("button", name="Load more").click()
    expect(page.locator(".card")).to_have_count(NUM_VIDEOS)
    expect(page.locator(".poster").nth(PAGE)).to_be_focused()
    expect(page.locator("#status")).to_have_text(f"{NUM_VIDEOS - PAGE} more videos.")
    expect(page.get_by_role("button", name="Load more")).to_be_hidden()
    expect(page.locator(".weak-from")).to_have_count(1)
    assert "%" not in page.locator("main").inner_text()


def test_the_page_is_light() -> None:
    files = [path for path in STATIC.rglob("*") if path.is_file()]
    assert sum(len(gzip.compress(path.read_bytes())) for path in files) <= 50 * 1024
    scripts = "".join(path.read_text() for path in files)
    assert "innerHTML" not in scripts
