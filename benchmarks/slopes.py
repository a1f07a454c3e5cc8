"""What one more hour, frame, segment or video costs, each figure from where it was measured or counted.

Read from ``results/NAME.json``, which other benchmarks wrote, or counted from the code; where no file holds a figure it
is None, and never a guess. Neighbour: ``sizing.py`` reckons with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from results import load

from wordframe.library import SegmentEntry, VideoEntry
from wordframe.library._rows import CENTROIDS, SEGMENT_SCHEMA, segment_rows

DIMENSIONS = {"offline": 384, "clip-b32": 512, "clip-b16": 512}
DECODING = ("decoder", "reading", "scale", "compare", "thumbnail", "prepare", "commit")
PATH_LETTERS = 60
WRITES, READS = ("PUT", "POST"), ("GET", "HEAD")


@dataclass(frozen=True)
class Slope:
    """What one more of something costs; ``value`` is None where no file holds it. source: where it is from."""

    value: float | None
    unit: str
    source: str


def read(unit: str, name: str, *keys: str | int, by: Callable[[Any], float] = float) -> Slope:
    """What ``results/NAME.json`` holds under ``keys``, taken ``by`` a function of it."""
    source = f"{name}.json: " + " / ".join(map(str, keys))
    found: Any = load(name)
    try:
        for key in keys:
            found = found[key]
        return Slope(by(found), unit, source)
    except (KeyError, IndexError, TypeError):
        return Slope(None, unit, source)


def between(unit: str, points: Mapping[float, Slope]) -> Slope:
    """The growth from the smallest of some sizes to the largest, a unit of size."""
    (low, first), (high, last) = min(points.items()), max(points.items())
    source = f"{last.source}, less {first.source}"
    if first.value is None or last.value is None:
        return Slope(None, unit, source)
    return Slope((last.value - first.value) / (high - low), unit, source)


def row_bytes() -> float:
    """Bytes of a segment's row without its frames, directions and thumbnail, by the table's schema."""
    entry = VideoEntry("0" * 12, "/" * PATH_LETTERS, 1, 1, "0" * 32, 1.0, 1, 1, "h264", "mp4", None, 1)
    nothing = np.empty((0, 1), np.float16)
    segment = SegmentEntry(0.0, 1.0, nothing, np.empty(0, np.float32), np.empty((0, 1), np.float32), b"")
    rows = segment_rows(entry, [segment] * 1000)
    return float(pa.Table.from_pylist(rows, schema=SEGMENT_SCHEMA).nbytes) / len(rows)


def growth(libraries: Sequence[Mapping[str, Any]], of: Callable[[Mapping[str, Any]], float]) -> float:
    """From the smallest library that ``large_library.py`` measured to the largest, a segment."""
    first, last = (pick(libraries, key=lambda each: each["segments"]) for pick in (min, max))
    return (of(last) - of(first)) / (last["segments"] - first["segments"])


def slopes(film: str, encoder: str, runtime: str) -> dict[str, Slope]:
    """All that the tables are reckoned from."""
    dimension = DIMENSIONS[encoder]
    scan = ("settings", 1, "shortlists", 2, "stage_one_median_ms")
    large = ("large_library_0.75", "libraries")

    def asked(what: str, methods: Sequence[str]) -> Slope:
        def count(found: Mapping[str, float]) -> float:
            return sum(found.get(method, 0.0) for method in methods)

        return read("requests", "storage", "requests", what, by=count)

    def refined(library: Mapping[str, Any]) -> float:
        return float(next(each["median_ms"] for each in library["found"] if each["refine"] == 2)) / 1000

    commits = {size: read("s", "scale", "commit_seconds", str(size), "fragments") for size in (1_000, 100_000)}
    return {
        "frames": read(
            "an hour", "keyframes", "samplings", "seconds", "seconds apart", by=lambda apart: 3600 / float(apart)
        ),
        "segments": read(
            "an hour", "keyframes", "samplings", "seconds", "segments/min", by=lambda count: 60 * float(count)
        ),
        "decoding": read("core-ms a frame", "frame_costs", film, by=lambda row: sum(row[step] for step in DECODING)),
        "encoding": read("core-ms a frame", "runtime", "towers", encoder, "milliseconds_a_frame", runtime),
        "encoding by GPU": read("GPU-ms a frame", "runtime", "towers", encoder, "milliseconds_a_frame", "cuda"),
        "row": Slope(row_bytes(), "bytes a segment", f"SEGMENT_SCHEMA, paths of {PATH_LETTERS} letters"),
        "frame": Slope(2.0 * dimension + 4, "bytes a frame", "SEGMENT_SCHEMA: float16 features, float32 second"),
        "directions": Slope(float(CENTROIDS * dimension), "bytes a segment", "SEGMENT_SCHEMA: int8 codes"),
        "thumbnail": read("bytes a segment", "storage", "bytes", "thumbnail_bytes"),
        "codes in memory": read(
            "bytes a segment",
            "two_stage_1000000",
            "settings",
            0,
            "index_bytes",
            by=lambda held: float(held) / 1e6 * dimension / 512,
        ),
        "column of the disk index": Slope(2.0 * CENTROIDS * dimension, "bytes a segment", "vectors_type: float16"),
        "disk index": read(
            "bytes a segment",
            "storage",
            "disk_index_bytes_a_direction",
            str(dimension),
            by=lambda each: CENTROIDS * float(each),
        ),
        "memory of the disk index": read(
            "bytes a segment",
            *large,
            by=lambda all_: growth(all_, lambda one: 1e6 * float(one["new_process"]["memory_mb"])),
        ),
        "scan of codes": between(
            "s a segment",
            {size: read("ms", f"two_stage_{size}", *scan, by=lambda ms: float(ms) / 1000) for size in (10_000, 10**6)},
        ),
        "scan of the disk index": read("s a segment", *large, by=lambda all_: growth(all_, refined)),
        "planning": read("bytes a video", "storage", "plan_bytes_a_video"),
        "commit": between("s a video held", commits),
        "PUTs of a commit": asked("commit of ten videos", WRITES),
        "GETs of a commit": asked("commit of ten videos", READS),
        "PUTs of a run": asked("end of a run that merges", WRITES),
        "GETs of a run": asked("end of a run that merges", READS),
        "GETs of a first search": asked("first search", READS),
        "GETs of a later search": asked("later search", READS),
        "GETs of a first search, index on disk": asked("first search, index on disk", READS),
        "GETs of a later search, index on disk": asked("later search, index on disk", READS),
    }
