"""Captions as people have them: JSON, JSON lines or CSV, into the captions of each video.

Nothing is dropped in silence: what cannot be understood is refused with its place. The same caption given twice stays
two queries, as in MSVD, where several people said the same of a video.
Neighbour: ``folder.py`` finds the videos.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from wordframe.errors import AnnotationError
from wordframe.video import VIDEO_SUFFIXES

_FILE_KEYS = ("file", "video", "path")
_CAPTION_KEYS = ("caption", "captions")

Row = tuple[str, str, str]
"""Where it stands (``line 3``, ``"cat.mp4"``), the video's name, one caption."""


def read_captions(captions_file: str | os.PathLike[str]) -> dict[str, list[str]]:
    """The captions of each video, in the file's order, by the name the file gives the video.

    UTF-8, with or without a byte order mark; the ending says the format:

    - ``.json``: ``{"cat.mp4": "a cat", "dog.mp4": ["a dog", "a brown dog"]}``;
    - ``.jsonl``: on each line ``{"file": "cat.mp4", "caption": "a cat"}`` or ``"captions": [...]``;
    - ``.csv``: a header with the columns ``file`` and ``caption``, one caption a row, any other columns. Commas,
      semicolons or tabs. Without a header: exactly two columns, and the first row must name a video by its ending.

    ``video`` and ``path`` do for ``file``.

    Raises:
        AnnotationError: names the file, the place and what to do.
    """
    file = Path(captions_file)
    readers: dict[str, Callable[[str], Iterator[Row]]] = {".json": _json_rows, ".jsonl": _jsonl_rows, ".csv": _csv_rows}
    if file.suffix.lower() not in readers:
        raise AnnotationError(f"{file}: captions are read from .json, .jsonl or .csv; save the file as one of them")
    captions: dict[str, list[str]] = {}
    try:
        for place, video, caption in readers[file.suffix.lower()](read_text(file)):
            if not video.strip():
                raise AnnotationError(f"{place}: the video's name is empty; name the video or remove the entry")
            if not caption.strip():
                raise AnnotationError(f"{place}: the caption of {video!r} is empty; write one or remove the entry")
            captions.setdefault(video, []).append(caption.strip())
    except AnnotationError as error:
        raise AnnotationError(f"{file}: {error}") from error
    if not captions:
        raise AnnotationError(f"{file}: there is no caption in it; add at least one video with its caption")
    return captions


def read_text(file: Path) -> str:
    """The text of a UTF-8 file, with or without a byte order mark."""
    try:
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise AnnotationError(f"cannot be read: {error.strerror}; check the path and its permissions") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(f"is not UTF-8 (byte {error.start}); save it as UTF-8") from error


def parse_json(text: str, line: int = 1) -> Any:
    """JSON in which no key stands twice: a plain parser would keep the last and lose the others."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise AnnotationError(f"{key!r} stands there twice; put all its captions into one list")
            found[key] = value
        return found

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        where = f"line {line + error.lineno - 1}, column {error.colno}"
        raise AnnotationError(f"{where}: is not JSON ({error.msg}); mend it there") from error
    except (RecursionError, ValueError) as error:  # nested too deep, or a number of thousands of digits
        raise AnnotationError(f"line {line}: holds something no caption file needs ({error}); remove it") from error


def _json_rows(text: str) -> Iterator[Row]:
    content = parse_json(text)
    if not isinstance(content, dict):
        raise AnnotationError(
            f'must be an object {{"file": "caption"}} or {{"file": ["caption", …]}}, got a {_kind(content)}; '
            "objects on lines of their own belong into a .jsonl file"
        )
    for video, given in content.items():
        for caption in _captions_of(given, place=repr(video)):
            yield repr(video), video, caption


def _jsonl_rows(text: str) -> Iterator[Row]:
    # not splitlines(): JSON strings may hold U+2028 and other ends of line that are none in JSON lines
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = f"line {number}"
        entry = parse_json(line, number)
        if not isinstance(entry, dict):
            raise AnnotationError(f"{place}: must be an object with 'file' and 'caption', got a {_kind(entry)}")
        video = _only(entry, _FILE_KEYS, place)
        if not isinstance(video, str):
            raise AnnotationError(f"{place}: the video's name must be a string, got a {_kind(video)}")
        for caption in _captions_of(_only(entry, _CAPTION_KEYS, place), place=place):
            yield place, video, caption


def _only(entry: dict[str, Any], keys: tuple[str, ...], place: str) -> Any:
    """The value of the one key of ``keys`` that ``entry`` has."""
    present = [key for key in keys if key in entry]
    if len(present) != 1:
        got = ", ".join(map(repr, present)) if present else f"only {', '.join(map(repr, entry)) or 'an empty object'}"
        raise AnnotationError(f"{place}: needs exactly one of {', '.join(map(repr, keys))}, got {got}")
    return entry[present[0]]


def _captions_of(given: Any, *, place: str) -> list[str]:
    """One caption or a list of them, as a list."""
    captions = given if isinstance(given, list) else [given]
    strangers = [caption for caption in captions if not isinstance(caption, str)]
    if strangers:
        raise AnnotationError(f"{place}: captions must be a string or a list of strings, found a {_kind(strangers[0])}")
    if not captions:
        raise AnnotationError(f"{place}: the list of captions is empty; write one or remove the entry")
    return captions


def _kind(value: Any) -> str:
    names = {dict: "object", list: "list", str: "string", bool: "truth value", int: "number", float: "number"}
    return names.get(type(value), "null")


def _csv_rows(text: str) -> Iterator[Row]:
    first = text.partition("\n")[0]
    # a spreadsheet of a country with decimal commas separates by semicolons
    header_delimiter = next((d for d in ",;\t" if _is_header(first.rstrip("\r").split(d))), None)
    rows = _csv_lines(text, header_delimiter or ",")
    if header_delimiter is None:
        return _headerless_rows(list(rows))
    return _header_rows(rows)


def _csv_lines(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not blank, with the line it ends on."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise AnnotationError(f"line {reader.line_num}: is not CSV ({error}); check the quotes there") from error


def _names(row: Iterable[str]) -> list[str]:
    return [cell.strip().strip('"').lower() for cell in row]


def _is_header(row: list[str]) -> bool:
    return any(key in _names(row) for key in _FILE_KEYS) and any(key in _names(row) for key in _CAPTION_KEYS)


def _header_rows(rows: Iterator[tuple[int, list[str]]]) -> Iterator[Row]:
    line, header = next(rows)
    columns = {name: index for index, name in enumerate(_names(header))}
    video = _only(columns, _FILE_KEYS, f"line {line}")
    caption = _only(columns, _CAPTION_KEYS, f"line {line}")
    for line, row in rows:
        if len(row) != len(header):
            raise AnnotationError(
                f"line {line}: has {len(row)} cells, the header {len(header)}; quote a caption that holds the separator"
            )
        yield f"line {line}", row[video].strip(), row[caption]


def _headerless_rows(rows: list[tuple[int, list[str]]]) -> Iterator[Row]:
    if rows and Path(rows[0][1][0].strip()).suffix.lower() not in VIDEO_SUFFIXES:
        raise AnnotationError(
            f"line {rows[0][0]}: is neither a header with the columns 'file' and 'caption' nor a video's file name "
            "and its caption; add the line file,caption at the top"
        )
    for line, row in rows:
        if len(row) != 2:
            raise AnnotationError(
                f"line {line}: has {len(row)} cells; without a header there are two, the file and its caption; "
                "quote a caption that holds a comma"
            )
        yield f"line {line}", row[0].strip(), row[1]
