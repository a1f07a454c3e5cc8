"""What a library knows of a video and of each of its segments, and the rows of the table ``segments`` that hold it.

Neighbours: ``_store.py`` writes and reads the rows, ``_segmenting.py`` makes segments.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wordframe.disk import display_path
from wordframe.library._vector_index import to_codes

CENTROIDS = 3
"""Directions a segment, at most: one alone would hide a short scene (``benchmarks/two_stage.py`` compares)."""
_VIDEO_COLUMNS = [
    ("video_id", pa.string()),
    ("path", pa.string()),
    ("path_bytes", pa.binary()),
    ("size", pa.int64()),
    ("modified_ns", pa.int64()),
    ("content_hash", pa.string()),
    ("duration_seconds", pa.float64()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("codec", pa.string()),
    ("container", pa.string()),
    ("problem", pa.string()),
    ("num_segments", pa.int32()),
]
VIDEO_NAMES = [name for name, _ in _VIDEO_COLUMNS]
SEGMENT_SCHEMA = pa.schema(
    [
        ("segment_id", pa.string()),
        *_VIDEO_COLUMNS,
        ("segment_index", pa.int32()),
        ("start_seconds", pa.float64()),
        ("end_seconds", pa.float64()),
        ("num_frames", pa.int32()),
        ("frames", pa.large_binary()),
        ("seconds", pa.list_(pa.float32())),
        ("centroids", pa.binary()),
        ("thumbnail", pa.binary()),
    ]
)


@dataclass(frozen=True)
class VideoEntry:
    """One indexed file. ``path`` is absolute; ``problem`` says why it was read only in part, if so."""

    video_id: str
    path: str
    size: int
    modified_ns: int
    content_hash: str
    duration_seconds: float
    width: int
    height: int
    codec: str
    container: str
    problem: str | None
    num_segments: int

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> VideoEntry:
        """From the cells of a segment's row; the path from its bytes, which a file name may need."""
        return cls(
            **{item.name: row[item.name] for item in fields(cls) if item.name != "path"},
            path=os.fsdecode(row["path_bytes"]),
        )


@dataclass(frozen=True)
class SegmentEntry:
    """A part ``[start_seconds, end_seconds)`` of a video with its frames, as it is stored.

    frames: ``(F, D)`` float16, raw; seconds: ``(F,)``; centroids: ``(K, D)``, directions for the vector index, at least
    one; thumbnail: JPEG.
    """

    start_seconds: float
    end_seconds: float
    frames: NDArray[np.float16]
    seconds: NDArray[np.float32]
    centroids: NDArray[np.float32]
    thumbnail: bytes


def segment_rows(video: VideoEntry, segments: Sequence[SegmentEntry]) -> list[dict[str, Any]]:
    """The rows of one video."""
    return [
        video_cells(video)
        | {
            "segment_id": segment_id(video.video_id, index),
            "segment_index": index,
            "start_seconds": segment.start_seconds,
            "end_seconds": segment.end_seconds,
            "num_frames": len(segment.frames),
            "frames": segment.frames.astype(np.float16).tobytes(),
            "seconds": segment.seconds.astype(np.float32),
            "centroids": to_codes(segment.centroids).tobytes(),
            "thumbnail": segment.thumbnail,
        }
        for index, segment in enumerate(segments)
    ]


def video_cells(video: VideoEntry) -> dict[str, Any]:
    """What stands of a video in each of its rows."""
    return asdict(video) | {"path": display_path(video.path), "path_bytes": os.fsencode(video.path)}


def segment_id(video_id: str, index: int) -> str:
    """The id of a video's segment.

    >>> segment_id("a1", 7)
    'a1-00007'
    """
    return f"{video_id}-{index:05d}"
