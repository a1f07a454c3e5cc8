"""Doctests of the docstrings as blocks of code in the reference (an extension of griffe, see mkdocs.yml).

The docstrings carry examples as bare ``>>>`` lines, which Markdown takes for running text.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^>>> .*(?:\n(?!\s*$).*)*", re.MULTILINE)
"""From the first ``>>>`` up to the next empty line."""


class FencedDoctests(griffe.Extension):
    """Puts a fence around each example before the docstring is read."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            obj.docstring.value = _EXAMPLE.sub(r"```pycon\n\g<0>\n```", obj.docstring.value)
