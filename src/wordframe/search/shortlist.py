"""Stage one of a search: which segments are worth an exact score.

The segments with the scenes nearest to where the model says that a query points (``TextVideoModel.search_vectors``),
among those that the filters let through; a segment has up to three scenes (``library/vector_index.py``). While a
library is not larger than the shortlist, all of it is taken.
"""

from __future__ import annotations

import datetime
import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wordframe.library import Store, VideoEntry, ids_clause

DEFAULT_SIZE = 300
"""What keeps over 99 % of the exact top 10 of 100,000 segments whose scenes differ (``benchmarks/two_stage.py``)."""


@dataclass(frozen=True)
class Filters:
    """Which videos a search may look at.

    folder: a folder, absolute, with all below it; path: a glob, matched against the whole path, or against its end if
    it starts with neither ``/`` nor ``*``; ``*`` crosses folders. min_seconds, max_seconds: length of the video. after,
    before: date of the file, ``[after, before)`` in local time.
    """

    folder: str | None = None
    path: str | None = None
    min_seconds: float | None = None
    max_seconds: float | None = None
    after: datetime.date | None = None
    before: datetime.date | None = None

    def passes(self, video: VideoEntry) -> bool:
        """Whether a video may be looked at."""
        length, modified = video.duration_seconds, video.modified_ns
        return (
            self._passes_path(video.path)
            and (self.min_seconds is None or length >= self.min_seconds)
            and (self.max_seconds is None or length <= self.max_seconds)
            and (self.after is None or modified >= _nanoseconds(self.after))
            and (self.before is None or modified < _nanoseconds(self.before))
        )

    def _passes_path(self, path: str) -> bool:
        return (self.folder is None or path.startswith(self.folder.rstrip("/") + "/")) and (
            self.path is None or fnmatch.fnmatchcase(path, _whole(self.path))
        )

    def where(self, store: Store) -> str | None:
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
        if self.folder is not None or self.path is not None:
            passing = [video_id for video_id, path in store.paths().items() if self._passes_path(path)]
            clauses.append(ids_clause("video_id", passing))
        return " AND ".join(clauses) or None


def _whole(pattern: str) -> str:
    return pattern if pattern.startswith(("/", "*")) else f"*/{pattern}"


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


def candidates(store: Store, vector: NDArray[np.float32], *, size: int, where: str | None = None) -> Sequence[int]:
    """Row ids of at most ``size`` segments, the nearest to the query vector ``(D,)``."""
    if store.count(where) <= size:
        return store.row_ids(where)
    return store.nearest(vector, size, where)
