"""axe-core finds nothing wrong with the page, and nothing is cut off, in any state of ``tests/page_states.py``."""

from __future__ import annotations

from itertools import chain

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import violations
from tests.page_states import JOURNEYS, LOOKS, STATES, STEPS, Place, looking

TOO_WIDE = """() => [document.documentElement, ...document.querySelectorAll("dialog[open], .frame, .panel, .card")]
  .filter(each => each.scrollWidth > each.clientWidth + 1 && each.getClientRects().length)
  .map(each => `${each.localName}.${each.className}: ${each.scrollWidth} > ${each.clientWidth}`)"""


def wrong_with(page: Page) -> list[str]:
    return violations(page) + page.evaluate(TOO_WIDE)


@pytest.mark.parametrize("journey", JOURNEYS, ids=lambda journey: f"{journey[0]} to {journey[-1]}")
@pytest.mark.slow
def test_no_violation_on_the_way(browser: Browser, place: Place, journey: tuple[str, ...]) -> None:
    with looking(browser, "light") as page:
        for step in journey:
            with STEPS[step](page, place):
                assert wrong_with(page) == [], step


def test_every_state_lies_on_a_way() -> None:
    assert sorted(chain(*JOURNEYS)) == sorted(STATES)


@pytest.mark.slow
@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("state", STATES)
def test_no_violation(browser: Browser, place: Place, state: str, look: str) -> None:
    with looking(browser, look) as page, STATES[state](page, place):
        assert wrong_with(page) == []
