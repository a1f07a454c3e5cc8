"""Sentences and the moments that they speak of: what moment retrieval is measured on.

``load_moments`` reads the two benchmarks by name, as their authors distribute them, ``read_moments`` anybody's own
captions with ``start`` and ``end``:

- ``charades_sta`` (Gao et al., ICCV 2017): ``charades_sta_test.txt``, a line each, ``3MSZA 24.3 30.4##a person …``;
- ``qvhighlights`` (Lei et al., NeurIPS 2021): ``highlight_val_release.jsonl``, objects with ``qid``, ``query``,
  ``vid``, ``duration``, ``relevant_windows``, ``relevant_clip_ids`` and ``saliency_scores``. The moments of its test
  split are not public.

A sentence may have several moments. Times are seconds from the video's start, ``[start, end)``.
Neighbours: ``captions.py`` reads captions of whole videos and finds the files, ``wordframe.evaluate`` measures.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wordframe.data._text_files import csv_table, parse_json, read_text
from wordframe.disk import content_hash
from wordframe.errors import AnnotationError, counted

SALIENCY_CLIP_SECONDS = 2.0
"""QVHighlights rates the saliency of clips of two seconds, counted from the video's start."""
Window = tuple[float, float]

_COLUMNS = {"file": ("file", "video", "path"), "caption": ("caption",), "start": ("start",), "end": ("end",)}
_CHARADES = re.compile(r"(\S+) +(-?[\d.]+) +(-?[\d.]+) *##(.*)", re.ASCII)
_NAMED_AT_MOST = 3


@dataclass(frozen=True, kw_only=True)
class MomentQuery:
    """A sentence about a part of a video, or several parts.

    query_id: as the file names it, or its number; video: as the file names it; windows: ``[start, end)`` in seconds;
    saliency: of QVHighlights alone, for each rated clip of two seconds what its raters said (0 very bad to 4 very
    good); clips that are not in it have nothing to do with the sentence.
    """

    query_id: str
    video: str
    text: str
    windows: tuple[Window, ...]
    saliency: Mapping[int, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class MomentSet:
    """All sentences of a split or of a file. problems: what is odd in the file; annotations: its SHA-256 by name."""

    name: str
    queries: tuple[MomentQuery, ...]
    split: str = ""
    problems: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def captions(self) -> dict[str, list[str]]:
        """The sentences of each video, for ``match_videos``."""
        found: dict[str, list[str]] = {}
        for query in self.queries:
            found.setdefault(query.video, []).append(query.text)
        return found


@dataclass(frozen=True, kw_only=True)
class MomentBenchmark:
    """A benchmark of moments. files, counts: name of the file and published number of sentences, by split."""

    title: str
    files: Mapping[str, str]
    counts: Mapping[str, int]
    read: Callable[[str], tuple[list[MomentQuery], list[str]]]


def _charades(text: str) -> tuple[list[MomentQuery], list[str]]:
    queries, empty = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        found = _CHARADES.fullmatch(line.strip())
        if found is None:
            raise AnnotationError(f"line {number}: must be VIDEO START END##SENTENCE, got {line[:60]!r}")
        video, start, end, sentence = found.groups()
        window = _window(start, end, f"line {number}", refuse_empty=False)
        if window is None:
            empty.append(f"line {number}")
            continue
        queries.append(
            MomentQuery(
                query_id=str(number), video=video, text=_sentence(sentence, f"line {number}"), windows=(window,)
            )
        )
    return queries, _left_out(empty, "moment that ends before it begins")


def _qvhighlights(text: str) -> tuple[list[MomentQuery], list[str]]:
    queries: list[MomentQuery] = []
    for number, entry in _json_lines(text):
        place = f"line {number}"
        qid, query, video, given = (_need(entry, key, place) for key in ("qid", "query", "vid", "relevant_windows"))
        windows = tuple(_window(*_pair(each, place), place) for each in _list(given, place))
        if not windows:
            raise AnnotationError(f"{place}: relevant_windows is empty; name at least one moment or remove the line")
        clips = _list(_need(entry, "relevant_clip_ids", place), place)
        scores = _list(_need(entry, "saliency_scores", place), place)
        if len(clips) != len(scores):
            raise AnnotationError(f"{place}: {len(clips)} relevant_clip_ids, {len(scores)} saliency_scores; one each")
        queries.append(
            MomentQuery(
                query_id=_query_id(qid, place),
                video=_video(video, place),
                text=_sentence(query, place),
                windows=tuple(window for window in windows if window is not None),
                saliency={
                    _whole(clip, "relevant_clip_ids", place): tuple(
                        _whole(score, "saliency_scores", place) for score in _list(each, place)
                    )
                    for clip, each in zip(clips, scores, strict=True)
                },
            )
        )
    return queries, []


MOMENT_BENCHMARKS: dict[str, MomentBenchmark] = {
    "charades_sta": MomentBenchmark(
        title="Charades-STA, a sentence and its moment in a video of half a minute",
        files={"train": "charades_sta_train.txt", "test": "charades_sta_test.txt"},
        counts={"train": 12_408, "test": 3_720},
        read=_charades,
    ),
    "qvhighlights": MomentBenchmark(
        title="QVHighlights, sentences with one or several moments in videos of 150 s, and the saliency of clips",
        files={"train": "highlight_train_release.jsonl", "val": "highlight_val_release.jsonl"},
        counts={"train": 7_218, "val": 1_550},
        read=_qvhighlights,
    ),
}


def load_moments(name: str, folder: str | os.PathLike[str], split: str) -> MomentSet:
    """A split of a benchmark of moments.

    Raises:
        AnnotationError: there is no such benchmark, split or file, or the file cannot be understood.
    """
    if name not in MOMENT_BENCHMARKS:
        raise AnnotationError(f"{name!r} is no benchmark of moments; use one of {', '.join(MOMENT_BENCHMARKS)}")
    benchmark = MOMENT_BENCHMARKS[name]
    if split not in benchmark.files:
        raise AnnotationError(f"the moments of {name} {split} are not public; use {' or '.join(benchmark.files)}")
    file = Path(folder) / benchmark.files[split]
    if not file.is_file():
        raise AnnotationError(f"{Path(folder)}: there is no {file.name}; put the file there")
    queries, problems = _reading(file, benchmark.read)
    published = benchmark.counts[split]
    if len(queries) != published:
        problems.append(f"{name} {split} has {len(queries):,} sentences here, the published one {published:,}")
    return MomentSet(name, tuple(queries), split, tuple(problems), {file.name: content_hash(file)})


def read_moments(captions_file: str | os.PathLike[str]) -> MomentSet:
    """One's own captions with moments, UTF-8; the ending says the format:

    - ``.csv``: a header with the columns ``file,caption,start,end``;
    - ``.jsonl``: on each line ``{"file": "cat.mp4", "caption": "a cat", "start": 1.5, "end": 4}``;
    - ``.json``: ``{"cat.mp4": [{"caption": "a cat", "start": 1.5, "end": 4}]}``.

    ``video`` and ``path`` do for ``file``. The same caption of the same video with other times is one query with
    several moments.

    Raises:
        AnnotationError: names the file, the place and what to do.
    """
    file = Path(captions_file)
    readers = {".csv": _csv_entries, ".jsonl": _jsonl_entries, ".json": _json_entries}
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise AnnotationError(f"{file}: moments are read from .json, .jsonl or .csv; save the file as one of them")

    def read(text: str) -> tuple[list[MomentQuery], list[str]]:
        windows: dict[tuple[str, str], list[Window]] = {}
        for place, entry in reader(text):
            video = _video(entry["file"], place)
            window = _window(entry["start"], entry["end"], place)
            assert window is not None
            windows.setdefault((video, _sentence(entry["caption"], place)), []).append(window)
        return [
            MomentQuery(query_id=str(number), video=video, text=text, windows=tuple(several))
            for number, ((video, text), several) in enumerate(windows.items(), start=1)
        ], []

    queries, problems = _reading(file, read)
    return MomentSet("folder", tuple(queries), "", tuple(problems), {file.name: content_hash(file)})


def _reading(
    file: Path, read: Callable[[str], tuple[list[MomentQuery], list[str]]]
) -> tuple[list[MomentQuery], list[str]]:
    try:
        queries, problems = read(read_text(file))
    except AnnotationError as error:
        raise AnnotationError(f"{file}: {error}") from error
    if not queries:
        raise AnnotationError(f"{file}: there is no moment in it; add at least one caption with its start and end")
    return queries, problems


def _csv_entries(text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)  # a spreadsheet of a country with decimal commas separates by semicolons
    table = csv_table(text, delimiter)
    names = [cell.lower() for cell in table.header]
    places = {
        key: next((place for name in known if (place := table.column(name)) is not None), None)
        for key, known in _COLUMNS.items()
    }
    missing = [key for key, place in places.items() if place is None]
    if missing:
        raise AnnotationError(_missing_message(f"line {table.line}", missing, names))
    for line, row in table.rows:
        yield f"line {line}", {key: row[place] for key, place in places.items() if place is not None}


def _missing_message(place: str, missing: Sequence[str], names: Sequence[str]) -> str:
    return (
        f"{place}: lacks {', '.join(map(repr, missing))}; a moment needs file, caption, start and end, "
        f"it has {', '.join(map(repr, names)) or 'nothing'}"
    )


def _jsonl_entries(text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, entry in _json_lines(text):
        yield f"line {number}", _known_keys(entry, f"line {number}")


def _json_entries(text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    content = parse_json(text)
    if not isinstance(content, dict):
        raise AnnotationError('must be an object {"file": [{"caption": …, "start": …, "end": …}, …]}')
    for video, given in content.items():
        for entry in given if isinstance(given, list) else [given]:
            if not isinstance(entry, dict):
                raise AnnotationError(f"{video!r}: a moment must be an object with caption, start and end")
            yield repr(video), _known_keys({"file": video, **entry}, repr(video))


def _known_keys(entry: Mapping[str, Any], place: str) -> dict[str, Any]:
    found = {key: next((entry[name] for name in known if name in entry), None) for key, known in _COLUMNS.items()}
    missing = [key for key, value in found.items() if value is None]
    if missing:
        raise AnnotationError(_missing_message(place, missing, list(entry)))
    return found


def _json_lines(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    # not splitlines(): JSON strings may hold U+2028 and other ends of line that are none in JSON lines
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        entry = parse_json(line, number)
        if not isinstance(entry, dict):
            raise AnnotationError(f"line {number}: must be an object on a line of its own")
        yield number, entry


def _need(entry: Mapping[str, Any], key: str, place: str) -> Any:
    if key not in entry:
        raise AnnotationError(f"{place}: has no {key!r}; it has {', '.join(map(repr, entry)) or 'nothing'}")
    return entry[key]


def _list(given: Any, place: str) -> list[Any]:
    if not isinstance(given, list):
        raise AnnotationError(f"{place}: must be a list, got {given!r:.40}")
    return given


def _pair(given: Any, place: str) -> tuple[Any, Any]:
    if not isinstance(given, list) or len(given) != 2:
        raise AnnotationError(f"{place}: a window must be [start, end], got {given!r:.40}")
    return given[0], given[1]


def _window(start: Any, end: Any, place: str, *, refuse_empty: bool = True) -> Window | None:
    """The moment in seconds; None where it ends before it begins and that is not refused."""
    try:
        if isinstance(start, bool) or isinstance(end, bool):  # JSON's true is no second
            raise TypeError
        window = float(start), float(end)
    except (TypeError, ValueError, OverflowError):
        raise AnnotationError(f"{place}: start and end must be seconds, got {start!r} and {end!r}") from None
    if not (math.isfinite(window[0]) and math.isfinite(window[1]) and window[0] >= 0):
        raise AnnotationError(f"{place}: start and end must be seconds from 0 on, got {start!r} and {end!r}")
    if window[0] < window[1]:
        return window
    if refuse_empty:
        raise AnnotationError(f"{place}: the moment ends at {end!r}, before it begins at {start!r}; mend its times")
    return None


def _video(given: Any, place: str) -> str:
    if not isinstance(given, str):
        raise AnnotationError(f"{place}: the video's name must be a string, got {given!r:.40}")
    if not given.strip():
        raise AnnotationError(f"{place}: the video's name is empty; name the video or remove the entry")
    return given.strip()


def _query_id(given: Any, place: str) -> str:
    if isinstance(given, bool) or not isinstance(given, int | str) or not str(given).strip():
        raise AnnotationError(f"{place}: qid must be a number or a name, got {given!r:.40}")
    return str(given)


def _whole(given: Any, key: str, place: str) -> int:
    if isinstance(given, bool) or not isinstance(given, int | float) or given != given // 1:
        raise AnnotationError(f"{place}: {key} must hold whole numbers, got {given!r:.40}")
    return int(given)


def _sentence(given: Any, place: str) -> str:
    if not isinstance(given, str) or not given.strip():
        raise AnnotationError(f"{place}: the caption is empty; write one or remove the entry")
    return given.strip()


def _left_out(places: Sequence[str], what: str) -> list[str]:
    if not places:
        return []
    more = f" and {len(places) - _NAMED_AT_MOST} more" if len(places) > _NAMED_AT_MOST else ""
    return [f"left out: {counted(len(places), what)} ({', '.join(places[:_NAMED_AT_MOST])}{more})"]
