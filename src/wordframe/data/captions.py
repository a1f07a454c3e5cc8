"""Captions as people have them (JSON, JSON lines or CSV) and the videos they speak of: anybody's own benchmark.

``read_captions`` gives the captions of each video, ``match_videos`` finds the videos in a folder. Nothing is dropped in
silence: what cannot be understood is refused with its place, and so is a caption without a word; a caption whose video
is not there is listed, and so is a video without a caption; a name that could mean two videos is refused. The same
caption given twice stays two queries, as in MSVD, where several people said the same of a video.
Neighbours: ``_text_files.py`` reads JSON and CSV, ``benchmarks.py`` makes splits of them and of the published files,
``check.py`` looks at the videos.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from wordframe.addresses import parse_address
from wordframe.data._text_files import CsvTable, csv_lines, csv_table, parse_json, read_text
from wordframe.disk import in_utf8
from wordframe.errors import AnnotationError, counted
from wordframe.video import VIDEO_SUFFIXES

_FILE_KEYS = ("file", "video", "path")
_CAPTION_KEYS = ("caption", "captions")
_NAMED_AT_MOST = 5
_ACTIVITYNET_ID = re.compile(r"v_([\w-]{11})", re.ASCII)
"""An id of YouTube as ActivityNet writes it; its files go around with the ``v_`` and without."""
_END_OF_LINE = re.compile("[\r\n]")
"""Of CSV; a lone carriage return ends the lines of spreadsheets that save for the old Macintosh."""

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
            if all(unicodedata.category(character)[0] in "PZC" for character in caption):
                raise AnnotationError(
                    f"{place}: the caption of {video!r} is punctuation alone; write words or remove the entry"
                )
            captions.setdefault(video, []).append(caption.strip())
    except AnnotationError as error:
        raise AnnotationError(f"{file}: {error}") from error
    if not captions:
        raise AnnotationError(f"{file}: there is no caption in it; add at least one video with its caption")
    return captions


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
    first = _END_OF_LINE.split(text.lstrip("\r\n"), maxsplit=1)[0]
    # a spreadsheet of a country with decimal commas separates by semicolons
    header_delimiter = next((d for d in ",;\t" if _is_header(first.split(d))), None)
    if header_delimiter is None:
        delimiter = next((d for d in ",;\t" if _is_video(Path(first.split(d)[0].strip(' "')))), ",")
        return _headerless_rows(list(csv_lines(text, delimiter)))
    return _header_rows(csv_table(text, header_delimiter))


def _names(row: Iterable[str]) -> list[str]:
    return [cell.strip().strip('"').lower() for cell in row]


def _is_header(row: list[str]) -> bool:
    return any(key in _names(row) for key in _FILE_KEYS) and any(key in _names(row) for key in _CAPTION_KEYS)


def _header_rows(table: CsvTable) -> Iterator[Row]:
    names = (*_FILE_KEYS, *_CAPTION_KEYS)
    columns = {name: place for name in names if (place := table.column(name)) is not None}
    video = _only(columns, _FILE_KEYS, f"line {table.line}")
    caption = _only(columns, _CAPTION_KEYS, f"line {table.line}")
    for line, row in table.rows:
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
                "quote a caption that holds the separator"
            )
        yield f"line {line}", row[0].strip(), row[1]


@dataclass(frozen=True)
class CaptionedVideo:
    """A video that is there, the name its captions gave it, and the captions."""

    path: Path
    name: str
    captions: tuple[str, ...]


@dataclass(frozen=True)
class MatchedVideos:
    """What came of bringing a folder and its captions together.

    Attributes:
        pairs: the videos to evaluate, in the order of the captions.
        missing: names of which the folder has no file. Leaving them out makes the gallery smaller and the task easier.
        without_caption: videos of the folder nobody speaks of. They are not in the gallery.
    """

    pairs: tuple[CaptionedVideo, ...]
    missing: tuple[str, ...]
    without_caption: tuple[Path, ...]

    def queries(self) -> tuple[list[str], list[int]]:
        """Every caption, and the place in ``pairs`` of the video it was written for."""
        queries = [(caption, video) for video, pair in enumerate(self.pairs) for caption in pair.captions]
        return [caption for caption, _ in queries], [video for _, video in queries]

    def refuse_missing(self) -> None:
        """Raise AnnotationError if a captioned video is not there."""
        if self.missing:
            total = len(self.missing) + len(self.pairs)
            raise AnnotationError(
                f"{len(self.missing)} of {counted(total, 'captioned video')} {'is' if total == 1 else 'are'} "
                f"not in the folder: {_listed(self.missing)}{self._in_other_capitals()}; "
                "without them the gallery is smaller and the numbers look better. "
                "Add the videos, or say --allow-missing to evaluate the others"
            )

    def _in_other_capitals(self) -> str:
        there = {name.lower(): path.name for path in self.without_caption for name in (path.name, path.stem)}
        found = ((name, there.get(PurePosixPath(name.replace("\\", "/")).name.lower())) for name in self.missing)
        alike = next(((name, file) for name, file in found if file is not None), None)
        return "" if alike is None else f" ({alike[0]!r} is there as {alike[1]!r}: capitals must agree, too)"


def match_videos(folder: str | os.PathLike[str], captions: Mapping[str, Sequence[str]]) -> MatchedVideos:
    """Find the video of each captioned name in ``folder`` and the folders below it, hidden ones left out.

    A name is first a path relative to ``folder``; else a file name; else a file name without its ending (``video7``
    finds ``video7.mp4``, and so does ``video7.avi``), and ``v_`` with an id of YouTube finds the id alone, since
    ActivityNet's files go around both ways. A file that one name gives as a path is taken from the others. Accents may
    be stored composed or not, on either side: a folder copied from macOS has its own way.

    Raises:
        AnnotationError: the folder is not there; a name fits several files; several names fit one file.
    """
    root = Path(folder)
    if (address := parse_address(root, "videos lie in a folder", AnnotationError, is_any_key=True)) is not None:
        raise AnnotationError(f"{address}: captioned videos are read from a folder; copy them into one and name that")
    if not root.is_dir():
        raise AnnotationError(f"{root} is not a folder; give the folder that holds the videos")
    files = sorted(_files(root))  # a folder lists its files in any order, and what is refused should be told alike
    by_path = {_composed(path.as_posix()): path for path in files} | {path.as_posix(): path for path in files}
    found: dict[str, Path] = {}
    for name in captions:
        relative = name if name in by_path else _relative(name, root.absolute())
        if (path := by_path.get(relative) or by_path.get(_composed(relative))) is not None:
            found[name] = path
    exact = set(found.values())
    rest = [path for path in files if path not in exact]
    found |= _by_name(rest, [name for name in captions if name not in found])
    _refuse_shared(found)
    taken = set(found.values())
    return MatchedVideos(
        pairs=tuple(
            CaptionedVideo(path=root / found[name], name=name, captions=tuple(captions[name]))
            for name in captions
            if name in found
        ),
        missing=tuple(name for name in captions if name not in found),
        without_caption=tuple(root / path for path in files if _is_video(path) and path not in taken),
    )


def _files(root: Path) -> Iterator[Path]:
    """Paths of all files relative to ``root``; links to folders are not followed, so a loop of them does no harm."""
    for parent, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name).relative_to(root) for name in names if not name.startswith("."))


def _relative(name: str, root: Path) -> str:
    """A captioned name as a path under ``root``, with forward slashes."""
    path = Path(os.path.normpath(name.replace("\\", "/")))
    return path.relative_to(root).as_posix() if path.is_absolute() and path.is_relative_to(root) else path.as_posix()


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", in_utf8(name))


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _by_name(files: list[Path], names: list[str]) -> dict[str, Path]:
    """The file of each name by file name, else by stem, where there is exactly one."""
    by_name, by_stem = defaultdict(list), defaultdict(list)
    for path in files:
        by_name[_composed(path.name)].append(path)
        if _is_video(path):
            by_stem[_composed(path.stem)].append(path)
    found: dict[str, Path] = {}
    several: list[str] = []
    for name in names:
        last = PurePosixPath(_composed(name.replace("\\", "/")))
        stem = last.stem if last.suffix.lower() in VIDEO_SUFFIXES else last.name
        stems = (stem, last.name, _without_prefix(stem))  # the second: cat.avi.mp4, named without its ending
        fitting = by_name.get(last.name) or next(filter(None, map(by_stem.get, stems)), [])
        if len(fitting) > 1:
            several.append(f"{name!r} could be {_listed(path.as_posix() for path in fitting)}")
        elif fitting:
            found[name] = fitting[0]
    if several:
        raise AnnotationError(
            f"{counted(len(several), 'ambiguous name')}: {'; '.join(several[:_NAMED_AT_MOST])}; "
            "name each video by its path relative to the folder"
        )
    return found


def _without_prefix(stem: str) -> str:
    """
    >>> _without_prefix("v_uqiMw7tQ1Cc"), _without_prefix("v_holiday")
    ('uqiMw7tQ1Cc', 'v_holiday')
    """
    found = _ACTIVITYNET_ID.fullmatch(stem)
    return stem if found is None else found[1]


def _refuse_shared(found: dict[str, Path]) -> None:
    """Two names for one video would make it two candidates with the same frames."""
    names: dict[Path, list[str]] = defaultdict(list)
    for name, path in found.items():
        names[path].append(name)
    shared = [
        f"{path.as_posix()!r} is meant by {_listed(several)}" for path, several in names.items() if len(several) > 1
    ]
    if shared:
        raise AnnotationError(
            f"{counted(len(shared), 'video')} named in several ways: {'; '.join(shared[:_NAMED_AT_MOST])}; "
            "give all captions of a video under one name"
        )


def _listed(names: Iterable[str]) -> str:
    listed = [repr(name) for name in names]
    more = len(listed) - _NAMED_AT_MOST
    return ", ".join(listed[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
