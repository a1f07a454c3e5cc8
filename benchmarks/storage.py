"""What a library takes on disk and in memory, and how many requests it makes where it lies on object storage.

    python benchmarks/storage.py FOLDER [--videos 6000]

Counts, not times; ``sizing.py`` reckons with them.

bytes: the videos of FOLDER are indexed; what the library takes, at once and when old versions are gone, its
    thumbnails, and what its rows are by ``SEGMENT_SCHEMA`` (``row_bytes``), which should be near the second.
disk index: bytes a direction of the index on disk, its column left out, as a slope between two sizes.
plan: memory of what planning a run knows of every video, as a slope between two sizes.
requests: made-up videos of one segment of 12 frames on an S3 server on the loopback; by method, a commit of ten videos;
    a run with nothing to read, with and without merging; opening, a first search and a later one, by codes in memory
    and by the index on disk.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import IvfRq
from results import save
from two_stage import NoEncoder

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.object_server import BUCKET, ObjectServer
from wordframe.encoders import Encoder, load_encoder
from wordframe.library import Library, SegmentEntry, VideoEntry
from wordframe.library._place import place_of
from wordframe.library._rows import CENTROIDS, SEGMENT_SCHEMA, segment_rows
from wordframe.library._store import Store
from wordframe.library._vectors import VECTORS, vectors_type
from wordframe.search import SearchEngine

FRAMES = 12
THUMBNAIL = bytes(6000)
COMMITS = 10
SENTENCES = ("a dog runs on the beach", "two people cook in a kitchen")


def row_bytes(rows: pa.Table) -> int:
    """Bytes of the cells of a table in memory, without those that lie beside them: offsets are as wide in Lance."""
    return int(rows.combine_chunks().nbytes)


def made_up(numbers: Iterable[int], dimension: int) -> list[tuple[VideoEntry, list[SegmentEntry]]]:
    """Videos of one segment with three directions, drawn anew for each."""
    videos = []
    for number in numbers:
        frames = np.random.default_rng(number).standard_normal((FRAMES, dimension)).astype(np.float16)
        seconds, directions = np.arange(FRAMES, dtype=np.float32), frames[:CENTROIDS].astype(np.float32)
        segment = SegmentEntry(0.0, float(FRAMES), frames, seconds, directions, THUMBNAIL)
        name = f"{number:032x}"
        entry = VideoEntry(
            name[-12:], f"/archive/{number % 1000}/{name}.mp4", 1, 1, name, 12.0, 640, 360, "h264", "mp4", None, 1
        )
        videos.append((entry, [segment]))
    return videos


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def real_bytes(folder: Path, encoder: Encoder) -> dict[str, float]:
    """What a library of real videos takes."""
    with tempfile.TemporaryDirectory() as place:
        library = Library.open(place, encoder=encoder)
        summary = library.index([folder])
        rows = Store(place_of(place)).open_segments().select(None, SEGMENT_SCHEMA.names)
        at_once = folder_bytes(Path(place))
        tables = lancedb.connect(place_of(place).tables)
        with warnings.catch_warnings(action="ignore"):  # that others may read: none does
            tables.open_table("segments").optimize(cleanup_older_than=timedelta(0))  # as a run an hour later does
        return {
            "dimension": encoder.dimension,
            "videos": len(library.videos()),
            "seconds_of_video": summary.seconds_of_video,
            "segments": rows.num_rows,
            "frames": sum(rows["num_frames"].to_pylist()),
            "thumbnail_bytes": sum(map(len, rows["thumbnail"].to_pylist())) / rows.num_rows,
            "row_bytes": row_bytes(rows),
            "library_bytes_at_once": at_once,
            "library_bytes": folder_bytes(Path(place)),
        }


def disk_index_bytes(count: int, dimension: int) -> int:
    """What the index on disk takes for so many directions, its column left out."""
    with tempfile.TemporaryDirectory() as place:
        table = lancedb.connect(place).create_table("t", schema=pa.schema([(VECTORS, vectors_type(dimension))]))
        directions = np.random.default_rng(0).standard_normal((count, dimension)).astype(np.float16)
        flat = pa.FixedSizeListArray.from_arrays(pa.array(directions.ravel()), dimension)
        ends = pa.array(np.arange(0, count + 1, CENTROIDS, dtype=np.int32))
        table.add(pa.table({VECTORS: pa.ListArray.from_arrays(ends, flat)}))
        table.create_index(VECTORS, config=IvfRq(distance_type="cosine", num_bits=1, num_partitions=1))
        return sum(folder_bytes(found) for found in Path(place).rglob("_indices"))


def plan_bytes(store: Store) -> int:
    """Memory of what planning knows of every video: the indexer's two tables of them."""
    tracemalloc.start()
    known = {entry.path: entry for entry in store.open_segments().videos()}
    ids = {entry.video_id for entry in known.values()}
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(ids) == len(known)
    return held


def plan_bytes_a_video(count: int, encoder: NoEncoder) -> float:
    """By the slope between half of ``count`` videos and all of them."""
    with tempfile.TemporaryDirectory() as place:
        library = Library.open(place, encoder=encoder)
        held = []
        for numbers in (range(count // 2), range(count // 2, count)):
            library.add_videos(made_up(numbers, encoder.dimension))
            held.append(plan_bytes(Store(place_of(place))))
    return (held[1] - held[0]) / (count - count // 2)


def by_method(server: ObjectServer, work: Callable[[], object]) -> dict[str, float]:
    """Requests of some work, and the bytes that came with them."""
    sent = server.bytes_sent
    with server.counted() as requests:
        work()
    counts = Counter(method for method, _ in requests)
    return dict(sorted(counts.items())) | {"bytes_read": server.bytes_sent - sent}


def searches(server: ObjectServer, address: str, encoder: Encoder, way: str) -> dict[str, dict[str, float]]:
    """Of what has opened the library anew: opening, a first search and a later one."""
    engines: list[SearchEngine] = []
    opening = by_method(server, lambda: engines.append(SearchEngine(Library.open(address, encoder=encoder))))
    first, later = (by_method(server, lambda said=said: engines[0].search(said)) for said in SENTENCES)
    return {f"opening{way}": opening, f"first search{way}": first, f"later search{way}": later}


def requests(count: int, encoder: Encoder) -> dict[str, dict[str, float]]:
    """What is asked of object storage, by what is done."""
    server = ObjectServer()
    os.environ.update(server.environment)
    address = f"s3://{BUCKET}/library"
    try:
        with tempfile.TemporaryDirectory() as empty:
            library = Library.open(address, encoder=encoder)
            library.add_videos(made_up(range(count - 10 * COMMITS), encoder.dimension))
            store, found = Store(library.place), {}

            def commits() -> None:
                for first in range(count - 10 * COMMITS, count, 10):
                    videos = made_up(range(first, first + 10), encoder.dimension)
                    store.add([row for entry, segments in videos for row in segment_rows(entry, segments)])

            with library.locked():  # one lease for all, as in a run
                counted = by_method(server, commits)
            found["commit of ten videos"] = {name: each / COMMITS for name, each in counted.items()}
            found["end of a run that merges"] = by_method(server, lambda: library.index([empty]))
            found["run that finds nothing new"] = by_method(server, lambda: library.index([empty]))
        found |= searches(server, address, encoder, "")
        library.tidy(large_from=1)
        found |= searches(server, address, encoder, ", index on disk")
    finally:
        server.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--videos", type=int, default=6000)
    wanted = parser.parse_args()
    encoder = load_encoder("offline")
    figures: dict[str, Any] = {"made_up_videos": wanted.videos, "bytes": real_bytes(wanted.folder, encoder)}
    sizes = (3_000, 12_000)
    figures["disk_index_bytes_a_direction"] = {
        str(dimension): (disk_index_bytes(sizes[1], dimension) - disk_index_bytes(sizes[0], dimension))
        / (sizes[1] - sizes[0])
        for dimension in (384, 512)
    }
    figures["plan_bytes_a_video"] = plan_bytes_a_video(wanted.videos, NoEncoder())
    figures["requests"] = requests(wanted.videos, encoder)
    print(json.dumps(figures, indent=2))
    save("storage", figures)


if __name__ == "__main__":
    main()
