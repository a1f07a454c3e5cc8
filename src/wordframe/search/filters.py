"""Which videos a search may look at, as a condition that the library's tables work out."""

from __future__ import annotations

import datetime
import os
import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from wordframe.addresses import is_address
from wordframe.disk import display_path

_FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")


@dataclass(frozen=True)
class Filters:
    """All of them must hold.

    folder: a folder, absolute, or an address, with all below it; path: a glob, matched against the whole path, or
    against its end if it starts with neither ``/`` nor ``*`` nor as an address does (``s3://``); ``*`` crosses folders,
    what is in brackets is any of its letters or the whole as it stands there (``Title [id].mp4``), letters may be small
    or capital, and composed or not (macOS stores ``é`` as two characters), as in a folder's name.
    min_seconds, max_seconds: length of the video. after, before: date of the file, ``[after, before)`` in local time.
    """

    folder: str | None = None
    path: str | None = None
    min_seconds: float | None = None
    max_seconds: float | None = None
    after: datetime.date | None = None
    before: datetime.date | None = None

    def where(self) -> str | None:
        """The SQL condition on segments; None if nothing is filtered."""
        clauses = []
        if self.min_seconds is not None:
            clauses.append(f"duration_seconds >= {_number(self.min_seconds)}")
        if self.max_seconds is not None:
            clauses.append(f"duration_seconds <= {_number(self.max_seconds)}")
        if self.after is not None:
            clauses.append(f"modified_ns >= {_nanoseconds(self.after)}")
        if self.before is not None:
            clauses.append(f"modified_ns < {_nanoseconds(self.before)}")
        if self.folder is not None:
            clauses.append(_below(self.folder))
        if self.path is not None:
            pattern = glob_expression(_whole(display_path(self.path)))
            clauses.append("regexp_like(path, '" + pattern.replace("'", "''") + "')")
        return " AND ".join(clauses) or None


def _below(folder: str) -> str:
    """Paths that begin with the folder, as bytes: a name that is not UTF-8 is no other name than itself."""
    ranges = []
    for name in sorted({folder, *(unicodedata.normalize(form, folder) for form in _FORMS)}):
        start = os.fsencode(name.rstrip(os.sep) + os.sep)
        after = start[:-1] + bytes([start[-1] + 1])
        ranges.append(f"path_bytes >= X'{start.hex()}' AND path_bytes < X'{after.hex()}'")
    return ranges[0] if len(ranges) == 1 else f"({' OR '.join(ranges)})"


def _whole(pattern: str) -> str:
    return pattern if pattern.startswith(("/", "*")) or is_address(pattern) else f"*/{pattern}"


def glob_expression(pattern: str) -> str:
    """A glob as a regular expression of the kind that the tables know (Rust's, which has no look-around).

    Python's ``fnmatch.translate`` gives atomic groups, which it has not.

    >>> glob_expression("*/a?.4"), glob_expression("[!1]*"), glob_expression("a[")
    ('(?s)^.*/(?:A|a).\\\\.4$', '(?s)^(?:[^\\\\x{31}-\\\\x{31}]|\\\\[!1\\\\]).*$', '(?s)^(?:A|a)\\\\[$')
    """
    parts = re.findall(r"\*|\?|\[!?+.[^\]]*\]|.", unicodedata.normalize("NFC", pattern), re.DOTALL)
    return "(?s)^" + "".join(map(_expression, parts)) + "$"


def _expression(part: str) -> str:
    if part == "*":
        return ".*"
    if part == "?":
        return "."
    if len(part) == 1:
        return _letter(part)
    one_of = _character_class(part[2:-1] if part[1] == "!" else part[1:-1], negated=part[1] == "!")
    return f"(?:{one_of}|{''.join(map(_letter, part))})"


def _letter(letter: str) -> str:
    """A letter small or capital, composed or not."""
    cases = {each for each in (letter, letter.lower(), letter.upper()) if len(each) == 1}  # ß has no capital of its own
    forms = sorted({unicodedata.normalize(form, each) for each in cases for form in _FORMS} | cases)
    return re.escape(letter) if len(forms) == 1 else f"(?:{'|'.join(map(re.escape, forms))})"


def _character_class(inside: str, *, negated: bool) -> str:
    """What lies between brackets of a glob; a range that runs backwards holds nothing."""
    items, place = "", 0
    while place < len(inside):
        is_range = inside[place + 1 : place + 2] == "-" and place + 2 < len(inside)
        first, last = inside[place], inside[place + 2 if is_range else place]
        place += 3 if is_range else 1
        if first <= last:
            items += f"\\x{{{ord(first):x}}}-\\x{{{ord(last):x}}}"
    if not items:
        return "." if negated else "[^\\x{0}-\\x{10ffff}]"
    return f"[{'^' * negated}{items}]"


def _number(value: float) -> str:
    """As SQL; infinity has no literal.

    >>> _number(2.5), _number(float("inf"))
    ("CAST('2.5' AS DOUBLE)", "CAST('inf' AS DOUBLE)")
    """
    return f"CAST('{float(value)!r}' AS DOUBLE)"


def _nanoseconds(day: datetime.date) -> int:
    """Since 1970; days that no file system knows count as the first or the last that it does."""
    moment = day if isinstance(day, datetime.datetime) else datetime.datetime.combine(day, datetime.time())
    first, last = datetime.datetime(1902, 1, 1), datetime.datetime(2200, 1, 1)
    return int(min(max(moment, first), last).timestamp() * 1e9)
