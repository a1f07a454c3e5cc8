"""A library: one folder on disk holding what was computed of a person's videos. ``Library.open`` is the door."""

from wordframe.library.library import Library
from wordframe.library.store import Segment, VideoEntry
from wordframe.library.summary import IndexSummary, Progress

__all__ = ["IndexSummary", "Library", "Progress", "Segment", "VideoEntry"]
