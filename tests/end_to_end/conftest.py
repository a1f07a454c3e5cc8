"""One browser and one library with its servers for all tests of the page; a fresh tab for each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import chromium, make_page_library, plain_picture
from tests.page_states import Place
from tests.served import four_part_checkpoint, listening


@dataclass(frozen=True)
class Site:
    """The server of a library: its address, and the folders of its videos and its own."""

    address: str
    videos: Path
    library: Path


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("page")
    library = make_page_library(folder)
    with listening(library) as address:
        yield Site(address, folder / "videos", library)


@pytest.fixture(scope="session")
def of_parts(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of the same library whose model has four parts."""
    model = four_part_checkpoint(tmp_path_factory.mktemp("model") / "tcmgc")
    with listening(site.library, model=str(model)) as address:
        yield address


@pytest.fixture(scope="session")
def place(site: Site, of_parts: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """What the states of the page are reached in."""
    with listening(tmp_path_factory.mktemp("empty") / "library") as empty:
        yield Place(
            address=site.address,
            of_parts=of_parts,
            empty=empty,
            query="yellow green",
            word="green",
            weak="red",
            picture=plain_picture("blue"),
            spoilt=site.videos / "gone.mp4",
        )


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A tab whose scripts must not fail and which must ask nobody but its own server."""
    context = browser.new_context(viewport={"width": 1280, "height": 860}, accept_downloads=True)
    context.set_default_timeout(15_000)
    tab = context.new_page()
    errors: list[str] = []
    hosts: set[str] = set()
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("console", lambda line: errors.append(line.text) if "Content Security Policy" in line.text else None)
    tab.on("request", lambda request: hosts.add(request.url.split("/")[2]) if "//" in request.url else None)
    yield tab
    context.close()
    assert errors == []
    assert all(host.startswith("127.0.0.1") for host in hosts), hosts
