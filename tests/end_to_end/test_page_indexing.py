"""Indexing from the page, by the real command: started, watched, stopped, and dying at once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser import search, settled, violations
from tests.colours import write_scenes
from tests.end_to_end.conftest import Site
from tests.end_to_end.test_serve import served
from tests.served import listening
from wordframe.cli import main

PATIENCE = 60_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``videos`` with one video, and their ``library``, made by the command."""
    folder = tmp_path_factory.mktemp("indexing")
    write_scenes(folder / "videos" / "first.mp4", ("red", 2))
    assert main(["index", str(folder / "videos"), "--library", str(folder / "library")]) == 0
    return folder


def add_videos(folder: Path, name: str, count: int, seconds: float) -> None:
    # another colour each second: a picture that stays would be encoded once
    scenes = [("blue", 1.0), ("green", 1.0)] * round(seconds / 2)
    first = write_scenes(folder / "videos" / f"{name}-0.mp4", *scenes, rate=2)
    for number in range(1, count):
        first.with_name(f"{name}-{number}.mp4").write_bytes(first.read_bytes() + bytes(number))


@pytest.mark.slow
def test_from_its_start_to_its_end(page: Page, folder: Path) -> None:
    add_videos(folder, "new", 3, 300)  # long enough for a page that looks every two seconds
    (folder / "videos" / "torn.mp4").write_bytes(b"no video")
    panel, progress = page.locator("#indexing"), page.locator("#indexing progress")
    with served("--library", folder / "library", "--allow-index") as (address, _):
        page.goto(address)
        settled(page)
        expect(panel).to_contain_text("The library is indexed.")
        expect(page.locator(".card")).to_have_count(1)
        page.get_by_role("button", name="Look for new videos").click()
        expect(progress).to_be_visible(timeout=PATIENCE)
        expect(page.get_by_role("button", name="Stop", exact=True)).to_be_visible()
        expect(panel).to_contain_text("of 4 files", timeout=PATIENCE)
        expect(panel).to_contain_text("The library is indexed.", timeout=PATIENCE)
        expect(page.locator("#indexing-status")).to_have_text("The library is indexed.")
        page.get_by_text("1 file could not be read").click()
        expect(page.locator(".failures")).to_contain_text("torn.mp4")
        expect(page.locator(".card")).to_have_count(4)  # without a reload
        search(page, "something blue")
        expect(page.locator("#status")).to_have_text("The best of 4 videos.")
        expect(page.locator(".card h2").filter(has_text="new-2.mp4")).to_be_visible()
        assert violations(page) == []


@pytest.mark.slow
def test_stopping_it(page: Page, folder: Path) -> None:
    add_videos(folder, "long", 6, 300)
    panel = page.locator("#indexing")
    with served("--library", folder / "library", "--allow-index") as (address, _):
        page.goto(address)
        page.get_by_role("button", name="Look for new videos").click()
        expect(panel).to_contain_text(re.compile(r"of \d+ files"), timeout=PATIENCE)
        page.get_by_role("button", name="Stop", exact=True).click()
        expect(panel).to_contain_text("Indexing was interrupted. What was finished is kept", timeout=PATIENCE)
        assert violations(page) == []


@pytest.mark.slow
def test_one_that_dies_says_why(page: Page, site: Site) -> None:
    """The library's encoder is one that only these tests know: the command cannot load it."""
    with listening(site.library, allow_index=True) as address:
        page.goto(address)
        page.get_by_role("button", name="Look for new videos").click()
        expect(page.locator("#indexing .problem")).to_contain_text("Indexing failed: ", timeout=PATIENCE)
        expect(page.locator("#indexing .problem")).to_contain_text("colours")
        expect(page.locator("#indexing-status")).to_contain_text("Indexing failed: ")
        expect(page.get_by_role("button", name="Look for new videos")).to_be_enabled()
        assert violations(page) == []
