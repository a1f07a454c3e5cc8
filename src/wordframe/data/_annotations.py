"""The annotation files of a benchmark: found by the names they are distributed under, read, and remembered.

Each reader of ``_readers.py`` asks for what one split needs; what was read goes into the report with its hash. Whatever
cannot be understood is refused with the file and the place.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from wordframe.data.captions import parse_json, read_text
from wordframe.errors import AnnotationError, counted

Captions = dict[str, tuple[str, ...]]
"""Each video's captions by its id, in the order of the file."""


class AnnotationFolder:
    """A folder with a benchmark's annotation files.

    Attributes:
        read: the files read so far.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise AnnotationError(f"{folder} is not a folder; give the one that holds the annotation files")
        self.folder = folder
        self.read: list[Path] = []

    def find(self, names: Sequence[str]) -> Path | None:
        """The first file of these names that is there."""
        return next((self.folder / name for name in names if (self.folder / name).is_file()), None)

    def need(self, names: Sequence[str]) -> Path:
        """As ``find``; AnnotationError if there is none."""
        found = self.find(names)
        if found is None:
            raise AnnotationError(f"{self.folder}: there is no {' or '.join(names)}; put the file there")
        return found

    def json(self, names: Sequence[str]) -> Any:
        """The content of a JSON file; a key that stands twice in an object is refused."""
        file, text = self._text(names)
        try:
            return parse_json(text)
        except AnnotationError as error:
            raise AnnotationError(f"{file}: {error}") from error

    def lines(self, names: Sequence[str]) -> list[str]:
        """Ids, one a line; blank lines do not count, an id that stands twice is refused."""
        file, text = self._text(names)
        return _distinct(file, [line.strip() for line in text.splitlines() if line.strip()])

    def rows(self, names: Sequence[str], columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """Cells of the named columns of a CSV file with a header."""
        file, text = self._text(names)
        reader = csv.DictReader(io.StringIO(text, newline=""))
        there = reader.fieldnames or ()
        missing = [repr(column) for column in columns if column not in there]
        if missing:
            raise AnnotationError(
                f"{file}: has no column {' and no column '.join(missing)}; the first line must name "
                f"{', '.join(columns)}, it names {', '.join(there) or 'nothing'}"
            )
        for row in reader:
            cells = tuple(row[column] for column in columns)
            if None in cells:
                raise AnnotationError(f"{file} line {reader.line_num}: has too few cells")
            yield cells

    def ids(self, names: Sequence[str], column: str) -> list[str]:
        """The ids of one column of a CSV file; one that stands twice is refused."""
        return _distinct(self.need(names), [cell.strip() for (cell,) in self.rows(names, [column])])

    def table(self, names: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
        """Line numbers and cells of a file of tabulator-separated values without a header."""
        _, text = self._text(names)
        # no quoting: sentences of films hold quotes of their own
        return ((number, line.split("\t")) for number, line in enumerate(text.split("\n"), 1) if line.strip())

    def gather(self, file: Path, rows: Iterable[tuple[str, str]], only: Sequence[str] | None = None) -> Captions:
        """(video, caption) rows into captions by video, blanks tidied.

        A caption without a word is refused, in every split: left out of test it would change the published number of
        queries, kept in training it would teach that silence means this video.

        Args:
            only: the ids of the split in their order; each must have a caption, others are passed over.
        """
        captions: dict[str, list[str]] = {} if only is None else {video: [] for video in only}
        empty: list[str] = []
        for video, caption in rows:
            if only is not None and video not in captions:
                continue
            tidy = " ".join(caption.split())
            captions.setdefault(video, []).append(tidy)
            empty += [] if tidy else [video]
        if empty:
            raise AnnotationError(
                f"{file}: {counted(len(empty), 'empty caption')}, the first of {empty[0]!r}; "
                "write one or remove the entry"
            )
        without = [video for video, several in captions.items() if not several]
        if without:
            raise AnnotationError(
                f"{file}: no caption for {counted(len(without), 'video')}, the first {without[0]!r}; "
                "take the captions and the list of videos from the same release"
            )
        if not captions:
            raise AnnotationError(f"{file}: there is no captioned video of this split in it; take the whole file")
        return {video: tuple(several) for video, several in captions.items()}

    def _text(self, names: Sequence[str]) -> tuple[Path, str]:
        file = self.need(names)
        if file not in self.read:
            self.read.append(file)
        try:
            return file, read_text(file)
        except AnnotationError as error:
            raise AnnotationError(f"{file}: {error}") from error


def entries(file: Path, content: Any, **fields: type) -> Iterator[tuple[Any, ...]]:
    """The named fields of each object of a JSON list, their types checked.

    >>> list(entries(Path("x.json"), [{"a": 1, "b": "c"}], a=int, b=str))
    [(1, 'c')]
    """
    if not isinstance(content, list):
        raise AnnotationError(f"{file}: must hold a list, got {type(content).__name__}")
    for number, entry in enumerate(content, start=1):
        for name, kind in fields.items():
            if not isinstance(entry, dict) or not isinstance(entry.get(name), kind):
                raise AnnotationError(f"{file}: entry {number} must be an object whose {name!r} is a {kind.__name__}")
        yield tuple(entry[name] for name in fields)


def strings(file: Path, video: str, captions: Any) -> list[str]:
    """A video's captions, which must be a list of strings."""
    if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
        raise AnnotationError(f"{file}: the captions of {video!r} must be a list of strings")
    return captions


def by_video(file: Path, content: Any) -> dict[str, Any]:
    """An object whose keys are videos."""
    if not isinstance(content, dict):
        raise AnnotationError(f"{file}: must hold an object with a key for each video, got {type(content).__name__}")
    return content


def paragraphs(captions: Captions) -> Captions:
    """All captions of a video joined into one, as paragraph-to-video retrieval wants them.

    >>> paragraphs({"v": ("A man runs.", "He falls.")})
    {'v': ('A man runs. He falls.',)}
    """
    return {video: (" ".join(several),) for video, several in captions.items()}


def captions_of_ids(folder: AnnotationFolder, captions: Sequence[str], ids: Sequence[str]) -> Captions:
    """All captions, from an object ``{video: [captions]}``, of the videos on a list: two data sets come so."""
    file = folder.need(captions)
    content = by_video(file, folder.json(captions))
    rows = ((video, caption) for video, several in content.items() for caption in strings(file, video, several))
    return folder.gather(file, rows, only=folder.lines(ids))


def _distinct(file: Path, ids: list[str]) -> list[str]:
    seen: set[str] = set()
    for place, video in enumerate(ids, start=1):
        if video in seen:
            raise AnnotationError(f"{file}: {video!r} stands there twice, the second time as entry {place}; remove one")
        seen.add(video)
    return ids
