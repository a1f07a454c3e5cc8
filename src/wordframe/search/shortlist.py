"""Stage one of a search: which segments are worth an exact score.

The segments with the vectors nearest to the query's, among those that the filters let through; a segment has up to
three, one a scene. While a library is not larger than the shortlist, all of it is taken.
"""

from __future__ import annotations

import datetime
import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wordframe.library import VideoEntry
from wordframe.library.store import Store, ids_clause

DEFAULT_SIZE = 300
"""What keeps 99 % of the exact top 10 where scenes of one video differ (``benchmarks/two_stage.py``)."""


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
            (self.folder is None or video.path.startswith(self.folder.rstrip("/") + "/"))
            and (self.path is None or fnmatch.fnmatchcase(video.path, _whole(self.path)))
            and (self.min_seconds is None or length >= self.min_seconds)
            and (self.max_seconds is None or length <= self.max_seconds)
            and (self.after is None or modified >= _nanoseconds(self.after))
            and (self.before is None or modified < _nanoseconds(self.before))
        )

    def where(self, store: Store) -> str | None:
        """The SQL condition on segments; None if nothing is filtered."""
        if self == Filters():
            return None
        return ids_clause("video_id", [video.video_id for video in store.videos() if self.passes(video)])


def _whole(pattern: str) -> str:
    return pattern if pattern.startswith(("/", "*")) else f"*/{pattern}"


def _nanoseconds(day: datetime.date) -> int:
    moment = day if isinstance(day, datetime.datetime) else datetime.datetime.combine(day, datetime.time())
    return int(moment.timestamp() * 1e9)


def candidates(store: Store, vector: NDArray[np.float32], *, size: int, where: str | None = None) -> Sequence[int]:
    """Row ids of at most ``size`` segments, the nearest to the query vector ``(D,)``."""
    if store.count(where) <= size:
        return store.row_ids(where)
    return store.nearest(vector, size, where)
