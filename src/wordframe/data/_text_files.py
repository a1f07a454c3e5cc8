"""Text files that people and benchmarks hold captions in: UTF-8, JSON and CSV, whole or refused with the place.

Neighbours: ``captions.py`` and ``moments.py`` read people's own files by it, ``_readers.py`` those of the benchmarks.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wordframe.errors import AnnotationError

_HALF = re.compile(r"[\ud800-\udfff]")
_HALF_ESCAPED = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F]")
"""Where JSON may write half a character; the text of an escaped backslash looks the same."""
_SHOWN = 60


def read_text(file: Path) -> str:
    """The text of a UTF-8 file, with or without a byte order mark."""
    try:
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise AnnotationError(f"cannot be read: {error.strerror}; check the path and its permissions") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(f"is not UTF-8 (byte {error.start}); save it as UTF-8") from error


# JSON -----------------------------------------------------------------------------------------------------------------


def parse_json(text: str, line: int = 1) -> Any:
    """JSON in which no key stands twice: a plain parser would keep the last and lose the others.

    Args:
        line: on which the text stands in its file.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise AnnotationError(f"{key!r} stands there twice; put all its captions into one list")
            found[key] = value
        return found

    try:
        content = json.loads(text, object_pairs_hook=unique)
        _refuse_halves(text, content, line)
        return content
    except json.JSONDecodeError as error:
        where = f"line {line + error.lineno - 1}, column {error.colno}"
        raise AnnotationError(f"{where}: is not JSON ({error.msg}); mend it there") from error
    except (RecursionError, ValueError) as error:  # nested too deep, or a number of thousands of digits
        raise AnnotationError(f"line {line}: holds something no caption file needs ({error}); remove it") from error


def _refuse_halves(text: str, content: Any, line: int) -> None:
    """Halves of characters (lone surrogates) can be written in JSON and in no other text: no tokenizer takes them."""
    found = _HALF_ESCAPED.search(text)
    if found is None:
        return
    half = next((each for each in _strings(content) if _HALF.search(each)), None)
    if half is not None:
        place = f"line {line + text.count(chr(10), 0, found.start())}"
        raise AnnotationError(
            f"{place}: {half[:_SHOWN]!r} holds half a character (a lone surrogate); write it whole or take it out"
        )


def _strings(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for key, value in content.items():
            yield key
            yield from _strings(value)
    elif isinstance(content, list):
        for value in content:
            yield from _strings(value)


# CSV ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CsvTable:
    """A CSV file with a header.

    header: its cells without surrounding blanks; line: where it ends; rows: the others with the line each ends on, all
    with as many cells.
    """

    header: list[str]
    line: int
    rows: Iterator[tuple[int, list[str]]]

    def column(self, name: str) -> int | None:
        """The place of a column, by its name in small or capital letters; None where there is none.

        Raises:
            AnnotationError: there are two.
        """
        found = [place for place, cell in enumerate(self.header) if cell.lower() == name.lower()]
        if len(found) > 1:
            raise AnnotationError(f"line {self.line}: there are two columns {name!r}; rename or remove one")
        return found[0] if found else None


def csv_table(text: str, delimiter: str) -> CsvTable:
    """A header and rows of as many cells; an empty text has an empty header.

    Raises:
        AnnotationError: also from ``rows``: it is no CSV, or a row has more cells or fewer.
    """
    lines = csv_lines(text, delimiter)
    line, first = next(lines, (1, []))
    return CsvTable([cell.strip() for cell in first], line, _of_as_many(lines, len(first)))


def _of_as_many(lines: Iterator[tuple[int, list[str]]], count: int) -> Iterator[tuple[int, list[str]]]:
    for line, row in lines:
        if len(row) != count:
            raise AnnotationError(
                f"line {line}: has {len(row)} cells, the header {count}; quote a caption that holds the separator"
            )
        yield line, row


def csv_lines(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not blank, with the line it ends on.

    Raises:
        AnnotationError: quotes are wrong, or one is open over what looks like other rows.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    begins = 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                _refuse_swallowed(row, delimiter, begins, reader.line_num)
                yield reader.line_num, row
            begins = reader.line_num + 1
    except csv.Error as error:
        raise AnnotationError(f"line {begins}: is not CSV ({error}); check the quotes there") from error


def _refuse_swallowed(row: Sequence[str], delimiter: str, begins: int, ends: int) -> None:
    """A caption may have several lines; one of which a line has as many cells as the row has lost its closing quote."""
    for cell in row:
        for line in cell.splitlines()[1:]:
            if len(row) > 1 and line.count(delimiter) >= len(row) - 1:
                raise AnnotationError(
                    f"line {begins}: a quote is open there until line {ends}, over {line[:_SHOWN]!r}, which looks like "
                    "a row of its own; check the quotes, or write the caption on one line"
                )
