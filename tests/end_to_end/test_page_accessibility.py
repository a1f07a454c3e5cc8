"""axe-core finds nothing wrong with the page, and nothing is cut off, in any state of ``tests/page_states.py``."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from tests.browser import violations
from tests.page_states import LOOKS, STATES, Place, looking

EVERY_LOOK = [pytest.param(look, marks=[] if look == "light" else pytest.mark.slow) for look in LOOKS]


@pytest.mark.parametrize("look", EVERY_LOOK)
@pytest.mark.parametrize("state", STATES)
def test_no_violation(browser: Browser, place: Place, state: str, look: str) -> None:
    with looking(browser, look) as page, STATES[state](page, place):
        assert violations(page) == []
        assert page.evaluate(TOO_WIDE) == []


TOO_WIDE = """() => [document.documentElement, ...document.querySelectorAll("dialog[open], .frame, .panel, .card")]
  .filter(each => each.scrollWidth > each.clientWidth + 1 && each.getClientRects().length)
  .map(each => `${each.localName}.${each.className}: ${each.scrollWidth} > ${each.clientWidth}`)"""
