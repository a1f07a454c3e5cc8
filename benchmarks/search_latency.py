"""How long a search takes in an open process, and where the time goes, on a library of made-up features.

    python benchmarks/search_latency.py [--segments 10000] [--queries 200]

Features: seed 0, a video has ten segments around one unit Gaussian direction, eight frames each. Text encoding is that
of the offline encoder. Printed: median and 99th percentile of the whole search and the medians of its steps.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from results import save

from wordframe.encoders import load_encoder
from wordframe.library import Library, SegmentEntry, VideoEntry, run_centroids
from wordframe.search import SHORTLIST, Query, SearchEngine, candidates, encode, plain_sentences, score_segments

SEGMENTS_A_VIDEO, FRAMES = 10, 8


def made_up_library(folder: Path, segments: int, *, picture: bytes = b"") -> Library:
    """A library on disk whose features nobody decoded; ``picture``: the thumbnail of all segments."""
    encoder = load_encoder("offline")
    library = Library.open(folder, encoder=encoder)
    chance = np.random.default_rng(0)
    videos = []
    for number in range(segments // SEGMENTS_A_VIDEO):
        centre = chance.standard_normal(encoder.dimension)
        video = VideoEntry(
            f"{number:012d}", f"/made/up/{number}.mp4", 1, 1, "", 80.0, 640, 360, "h264", "mp4", None, SEGMENTS_A_VIDEO
        )
        parts = []
        for part in range(SEGMENTS_A_VIDEO):
            frames = (centre + chance.standard_normal((FRAMES, encoder.dimension))).astype(np.float32)
            start = 8.0 * part
            seconds = np.arange(FRAMES, dtype=np.float32) + 8 * part
            parts.append(
                SegmentEntry(
                    start, start + 8, frames.astype(np.float16), seconds, run_centroids(frames[None])[0], picture
                )
            )
        videos.append((video, parts))
        if len(videos) >= 500:
            library.add_videos(videos)
            videos = []
    library.add_videos(videos)
    library.tidy()
    return library


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=200)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        engine = SearchEngine(made_up_library(Path(place), wanted.segments))
        sentences = plain_sentences(wanted.queries)
        for sentence in sentences[:5]:
            engine.search(sentence)
        whole, encoding, listing, scoring = [], [], [], []
        for sentence in sentences:
            t0 = time.perf_counter()
            engine.search(sentence)
            t1 = time.perf_counter()
            snapshot = engine.snapshot()
            query = encode(snapshot, Query(text=sentence))
            t2 = time.perf_counter()
            listed = candidates(snapshot, query, SHORTLIST)
            t3 = time.perf_counter()
            score_segments(snapshot, query, listed)
            t4 = time.perf_counter()
            for times, seconds in zip((whole, encoding, listing, scoring), np.diff([t0, t1, t2, t3, t4]), strict=True):
                times.append(1000 * seconds)
    median, p99 = np.median(whole), np.percentile(whole, 99)
    print(f"{wanted.segments} segments, {wanted.queries} queries: median {median:.1f} ms, p99 {p99:.1f} ms")
    print(
        f"medians of the steps: text encoding {np.median(encoding):.1f} ms, shortlist {np.median(listing):.1f} ms, "
        f"reading and scoring {np.median(scoring):.1f} ms"
    )
    save(
        f"search_latency_{wanted.segments}",
        {
            "segments": wanted.segments,
            "median_ms": median,
            "p99_ms": p99,
            "text_encoding_ms": np.median(encoding),
            "shortlist_ms": np.median(listing),
            "reading_and_scoring_ms": np.median(scoring),
        },
    )


if __name__ == "__main__":
    main()
