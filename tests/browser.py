"""A real browser for the tests of the page, the small library that they look at, and what they ask of the page."""

from __future__ import annotations

import io
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.colours import COLOURS, ColourEncoder, write_scenes
from tests.videos import write_video
from wordframe.library import Library

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
SCRIPT_NAME = "<img src=x onerror=document.title='broken'>.mp4"
NUM_VIDEOS = 34
expect.set_options(timeout=15_000)  # the first search loads and compiles; a busy machine takes its time
NO_BROWSER = "no browser found; install Chromium, or say where it is with WORDFRAME_BROWSER"
DROP = """([bytes, name, type, kinds]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], name, {type}));
  for (const kind of kinds)
    document.body.dispatchEvent(new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true}));
}"""
FRAME = """video => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d");
  context.drawImage(video, 0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
}"""


def browser_path() -> str | None:
    """The browser of this machine: the one named by WORDFRAME_BROWSER, else Chromium or Chrome of the PATH."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return os.environ.get("WORDFRAME_BROWSER") or next(filter(None, map(shutil.which, names)), None)


@contextmanager
def launched(path: str) -> Iterator[Browser]:
    """The browser at ``path``, without a window."""
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        browser = playwright.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser for the tests; without one they are skipped, but not where everything must be tested."""
    found = browser_path()
    if found is None:
        if os.environ.get("CI") == "true" or os.environ.get("WORDFRAME_SHARED"):
            pytest.fail(NO_BROWSER)
        pytest.skip(NO_BROWSER)
    with launched(found) as browser:
        yield browser


def make_page_library(folder: Path) -> Path:
    """Videos of colours in ``folder/videos``, and one that no browser plays, indexed into ``folder/library``."""
    videos = folder / "videos"
    write_scenes(videos / "traffic" / "lights.mp4", ("red", 4), ("yellow", 4), ("green", 4))
    write_scenes(videos / "sea.mp4", ("cyan", 3), ("blue", 6))
    write_scenes(videos / SCRIPT_NAME, ("magenta", 2))
    write_scenes(videos / "gone.mp4", ("white", 2))
    write_scenes(videos / "changed.mp4", ("white", 3))
    write_video(videos / "antique.avi", codec="mpeg4", num_frames=30)
    first = write_scenes(videos / "night" / "00.mp4", ("black", 1))
    for number in range(1, NUM_VIDEOS - 6):
        first.with_name(f"{number:02}.mp4").write_bytes(first.read_bytes() + bytes(number))
    os.utime(videos / "sea.mp4", (1_500_000_000, 1_500_000_000))  # July 2017
    summary = Library.open(folder / "library", encoder=ColourEncoder()).index([videos])
    assert len(summary.indexed) == NUM_VIDEOS, summary
    return folder / "library"


def search(page: Page, words: str) -> None:
    """Type a sentence and wait for its results."""
    page.fill("#query", words)
    page.press("#query", "Enter")
    settled(page)
    page.wait_for_selector(".card .moment")


def drop(
    page: Page, content: bytes, name: str, kind: str, *, events: Sequence[str] = ("dragenter", "dragover", "drop")
) -> None:
    """Drop a file on the page."""
    page.evaluate(DROP, [list(content), name, kind, list(events)])


def plain_picture(colour: str) -> bytes:
    """A PNG of one of the colours."""
    content = io.BytesIO()
    Image.new("RGB", (64, 48), COLOURS[colour]).save(content, "PNG")
    return content.getvalue()


def settled(page: Page) -> None:
    """Wait until the list is there."""
    expect(page.locator("#results")).to_have_attribute("aria-busy", "false")


def wait_until(page: Page, truth: str, seconds: float = 15) -> None:
    """Wait for an expression to be true. (Playwright's own way evaluates text inside of the page, which may not.)"""
    end = time.monotonic() + seconds
    while not page.evaluate(truth):
        assert time.monotonic() < end, f"not within {seconds} s: {truth}"
        page.wait_for_timeout(50)


def ready(page: Page) -> None:
    """Wait until the open video shows a picture at its time."""
    page.wait_for_selector("video")
    wait_until(page, "(video => video && video.readyState >= 2 && !video.seeking)(document.querySelector('video'))")


def violations(page: Page) -> list[str]:
    """What axe-core finds wrong with the page as it is, a line each."""
    if not page.evaluate("typeof axe !== 'undefined'"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    found: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [f"{each['id']}: {node['html'][:160]}" for each in found["violations"] for node in each["nodes"]]
