"""The index on disk of a large library: what it finds, what it costs, and what grows with the library.

    python benchmarks/large_library.py [--segments 1000 1000000] [--queries 100] [--share 0.75] [--keep FOLDER]
    python benchmarks/large_library.py --clips CLIPS --captions MSRVTT_JSFUSION_test.csv ...

The made-up world of ``two_stage.py``, with the three scenes of a segment as its frames and eight or twelve segments a
video, 7.5 GB a million, or 2.9 with ``--scenes 1``; ``--share 0.75`` is the hard one, 1.5 the easy one.
With ``--clips`` and ``--captions`` the picture side of the offline encoder: scenes are mixtures of the frames of real
clips and of drawn classes, and queries are captions that people wrote, of other films. Every library is given the index
on disk, whatever its size. With ``--model`` it is prepared for one with one vector a video, too (``clip4clip-mean``
needs no training).

Printed: how long that took and how large it is; the share of the exact top 10 (every scene compared in float32) within
300 candidates, and the median of a look, for codes alone and with two to sixteen times as many rows compared exactly;
the first answer, the median of a whole search and the memory of a new process; how long each look-up takes, asked of
all libraries in turn, and its ratio between the largest library and the smallest; and what the list of videos costs a
reader after each commit.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import two_stage
from numpy.typing import NDArray
from results import save
from torch.nn import functional as F
from two_stage import BLOCK, SCENES, TOP, Best, NoEncoder, World, places

from wordframe.encoders import Encoder, load_directions, load_encoder
from wordframe.features import TextFeatures
from wordframe.library import Effort, Library, SegmentEntry, SegmentFacts, Snapshot, VideoEntry, _store, ids_clause
from wordframe.models import TextVideoModel, load_model
from wordframe.search import EncodedQuery, search

CANDIDATES = 300
REFINES = (1, 2, 4, 8, 16)
TIMES, COMMITS = 41, 7
A_PAIR = 20
"""Segments of two videos, of which the first has eight: Lance opens a column of one value all over more slowly than any
that occurs."""
SHORTER, SECONDS = 8, 12.0
HEIGHTS = (240, 360, 480, 720, 1080)
CODECS, CONTAINERS = ("h264", "hevc", "vp9", "mpeg2video"), ("mp4", "mkv", "webm", "mpegts")
VIDEOS_A_COMMIT = 2_000
COMMITS_A_MERGE = 50


class MadeUp(World):
    """``two_stage.py``'s, whose encoder encodes nothing."""

    encoder: Encoder = NoEncoder()


class OfflinePictures:
    """``count`` videos as the offline encoder sees them, made block by block, and captions as queries.

    A frame's feature is a mixture of class directions, so a mixture of features is one that another frame may have. A
    video has one real frame in all its scenes and another in each; a tenth of a scene is three classes drawn evenly.

    Args:
        frames: ``(N, D)`` of real clips.
    """

    share = 0.0

    def __init__(self, count: int, frames: NDArray[np.float32], captions: Sequence[str]) -> None:
        self.count, self.encoder = count, load_encoder("offline")
        self._frames, self._captions, self._classes = frames, captions, load_directions().numpy()

    def starts(self) -> range:
        """The first number of each block."""
        return range(0, self.count, BLOCK)

    def scenes(self, start: int) -> NDArray[np.float32]:
        """``(N, 3, D)`` of the block of at most BLOCK videos from number ``start`` on."""
        chance = np.random.default_rng((2, start))
        N = min(BLOCK, self.count - start)
        common, own = (
            chance.integers(0, len(self._frames), (N, 1)),
            chance.integers(0, len(self._frames), (N, two_stage.SCENES)),
        )
        drawn = self._classes[chance.integers(0, len(self._classes), (N, two_stage.SCENES, 3))].mean(axis=2)
        part = chance.uniform(0.0, 0.9, (N, two_stage.SCENES, 1)).astype(np.float32)
        mixed: NDArray[np.float32] = part * self._frames[common] + (0.9 - part) * self._frames[own] + 0.1 * drawn
        return mixed / np.linalg.norm(mixed, axis=-1, keepdims=True)

    def queries(self, count: int) -> TextFeatures:
        """``count`` captions, evenly taken."""
        places = np.linspace(0, len(self._captions) - 1, count).astype(int)
        return self.encoder.encode_text([self._captions[place] for place in places])


def frames_of(clips: Path) -> NDArray[np.float32]:
    """All frames of real clips, as the offline encoder sees them, ``(N, D)``."""
    with tempfile.TemporaryDirectory() as place:
        library = Library.open(Path(place), encoder="offline")
        library.index([clips])
        snapshot = library.snapshot()
        video = snapshot.frames(snapshot.row_ids())
        return F.normalize(video.frames[video.frame_mask], dim=-1).numpy()


def build(folder: Path, world: MadeUp | OfflinePictures, num_queries: int) -> tuple[Library, Any, Any]:
    """The library, queries ``(T, D)`` and numbers of the exact best segments ``(T, 10)``; what is there stays."""
    library = Library.open(folder / "library", encoder=world.encoder)
    answers = folder / "truth.npz"
    if not answers.exists():
        sentence = F.normalize(world.queries(num_queries).sentence, dim=-1)
        best = Best(num_queries, TOP)
        waiting: list[tuple[VideoEntry, list[SegmentEntry]]] = []
        commits = 0
        for start in world.starts():
            scenes = world.scenes(start)
            flat = sentence @ F.normalize(torch.from_numpy(scenes).flatten(0, 1), dim=-1).T
            best.add(flat.unflatten(1, scenes.shape[:2]).amax(dim=2), start)
            waiting += videos_of(scenes, start)
            if len(waiting) >= VIDEOS_A_COMMIT or start + BLOCK >= world.count:
                library.add_videos(waiting)
                waiting, commits = [], commits + 1
                if commits % COMMITS_A_MERGE == 0:  # a million segments, so that merging never writes all anew
                    library.tidy(large_from=world.count + 1)
        np.savez(answers, truth=best.columns.numpy(), sentence=sentence.numpy())
    kept = np.load(answers)
    return library, kept["sentence"], kept["truth"]


def videos_of(scenes: NDArray[np.float32], start: int) -> list[tuple[VideoEntry, list[SegmentEntry]]]:
    """Whole videos of the segments from number ``start`` on, a multiple of A_PAIR."""
    numbers = range(2 * start // A_PAIR, 2 * (start + len(scenes)) // A_PAIR)
    bounds = [first_of(number) - start for number in (*numbers, numbers.stop)]
    return [video(number, scenes[bounds[i] : bounds[i + 1]]) for i, number in enumerate(numbers)]


def first_of(number: int) -> int:
    """The number of the first segment of a video."""
    return number // 2 * A_PAIR + number % 2 * SHORTER


def video(number: int, scenes: NDArray[np.float32]) -> tuple[VideoEntry, list[SegmentEntry]]:
    """One of about two minutes, ``scenes (N, 3, D)``."""
    chance = np.random.default_rng((3, number))
    path, size, modified = f"/{number % 1000}/{number}.mp4", chance.integers(1 << 20, 1 << 32), chance.integers(1 << 60)
    end = SECONDS * len(scenes) - chance.uniform(0, SECONDS)
    entry = VideoEntry(
        f"{number:09d}",
        path,
        int(size),
        int(modified),
        content_of(number),
        float(end),
        640 + 2 * int(chance.integers(640)),
        int(chance.choice(HEIGHTS)),
        str(chance.choice(CODECS)),
        str(chance.choice(CONTAINERS)),
        None,
        len(scenes),
    )
    times = np.arange(two_stage.SCENES, dtype=np.float32)
    return entry, [
        SegmentEntry(SECONDS * n, min(SECONDS * (n + 1), end), each.astype(np.float16), SECONDS * n + times, each, b"")
        for n, each in enumerate(scenes)
    ]


def content_of(number: int) -> str:
    """The hash of a video's content."""
    return hashlib.sha256(str(number).encode()).hexdigest()[:32]


def number_of(fact: SegmentFacts) -> int:
    """The number of a segment in its world."""
    return first_of(int(fact.video_id)) + fact.segment_index


def found_by(snapshot: Snapshot, queries: Any, truth: Any) -> list[dict[str, float]]:
    """Share found and median of a look, for each number of rows compared exactly."""
    index = snapshot.disk_index
    assert index is not None
    rows = []
    for refine in REFINES:
        shares, times = [], []
        for query, exact in zip(queries, truth, strict=True):
            started = time.perf_counter()
            listed = index.by(Effort(refine=refine)).nearest(query, CANDIDATES)
            times.append(1000 * (time.perf_counter() - started))
            numbers = [number_of(fact) for fact in snapshot.facts(listed)]
            shares.append(np.isin(exact, numbers).mean())
        row = {"refine": refine, "share": float(np.mean(shares)), "first_ms": times[0]}
        rows.append(row | {"median_ms": float(np.median(times))})
        print("  " + "  ".join(f"{name} {value:,.4g}" for name, value in rows[-1].items()), flush=True)
    return rows


def look_ups(folder: Path, snapshot: Snapshot, model: TextVideoModel | None) -> dict[str, Callable[[], object]]:
    """What requests ask for beside the scan."""
    middle = snapshot.num_videos // 2
    name = f"{middle:09d}"
    content = ids_clause("content_hash", [content_of(middle)])
    row_id = snapshot.segment_row(f"{name}-00000")
    asked: dict[str, Callable[[], object]] = {
        "a segment by id": lambda: snapshot.segment_row(f"{name}-00000"),
        "a video by id": lambda: snapshot.video(name),
        "twenty videos from the middle": lambda: snapshot.video_page(None, middle, 20),
        "rows of a video": lambda: snapshot.video_rows(name),
        "copies of a file": lambda: snapshot.videos(content),
        "neighbours": lambda: snapshot.around([row_id], 2),
        "a new version": lambda: Library.open(folder, encoder=snapshot.encoder).snapshot().num_segments,
    }
    if model is not None:
        query = np.random.default_rng(4).standard_normal(model.dimension).astype(np.float32)
        library = Library.open(folder, encoder=snapshot.encoder)
        asked["a look by the model's vectors"] = lambda: library.snapshot(model).candidates(query, CANDIDATES)
        asked["the first in a new state"] = lambda: (
            Library.open(folder, encoder=snapshot.encoder).snapshot(model).candidates(query, CANDIDATES)
        )
    return asked


def after_a_commit(library: Library, world: MadeUp | OfflinePictures) -> dict[str, float]:
    """Medians of what a reader asks of a state with ten videos more than the one that it knew, and of one with none."""
    more = [
        (replace(entry, video_id=f"more-{entry.video_id}", path=f"/more{entry.path}"), segments)
        for entry, segments in videos_of(world.scenes(0)[: 5 * A_PAIR], 0)
    ]
    store = _store.Store(library.place)
    reader = Library.open(library.place, encoder=library.encoder)
    asked: dict[str, Callable[[], object]] = {
        "twenty videos from the middle": lambda: reader.snapshot().video_page(
            None, reader.snapshot().num_videos // 2, 20
        ),
        "folders": lambda: reader.snapshot().folders,
    }
    times: dict[str, list[float]] = {name: [] for name in asked}
    for number in range(COMMITS + 1):
        if number:
            library.add_videos(more)
        for name, ask in asked.items():
            started = time.perf_counter()
            ask()
            times[name].append(1000 * (time.perf_counter() - started))
        store.delete([entry.video_id for entry, _ in more])
        for ask in asked.values():
            ask()
    found = {name: float(np.median(each[1:])) for name, each in times.items()}
    for name, median in found.items():
        print(f"  {name}: {times[name][0]:.0f} ms first, {median:.1f} ms in a state that follows", flush=True)
    return found


def medians_ms(asked: Sequence[Callable[[], object]]) -> list[float]:
    """Of the same question to several libraries, asked in turn, so that what else the machine does meets all alike."""
    times = np.empty((TIMES, len(asked)))
    for round_times in times:
        for i, ask in enumerate(asked):
            started = time.perf_counter()
            ask()
            round_times[i] = 1000 * (time.perf_counter() - started)
    found: list[float] = np.median(times, axis=0).tolist()
    return found


def ask_once(folder: Path) -> None:
    """In a process of its own: open the library, search with each query, and print what that took."""
    with np.load(folder / "truth.npz") as kept:
        sentences = torch.from_numpy(kept["sentence"])
    before = psutil.Process().memory_info().rss
    library = Library.open(folder / "library", encoder="offline" if "offline" in folder.name else NoEncoder())
    snapshot = library.snapshot()
    times = []
    mask = torch.ones(1, 1, dtype=torch.bool)
    for sentence in sentences:
        text = TextFeatures(sentence[None], sentence[None, None], mask)
        started = time.perf_counter()
        search(snapshot, EncodedQuery(text, ("all",)))
        times.append(1000 * (time.perf_counter() - started))
        if len(times) == 1:
            first = time.time() - psutil.Process().create_time()
    more = (psutil.Process().memory_info().rss - before) / 1e6
    print(json.dumps({"first_answer_s": first, "median_ms": float(np.median(times)), "memory_mb": more}))


def asked_in_a_new_process(folder: Path) -> dict[str, float]:
    """Seconds from the start of a process to its first answer, the median of a search, memory beyond the imports'."""
    told = subprocess.run([sys.executable, __file__, "--ask", str(folder)], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(told.stdout)
    print(
        f"  a new process: first answer after {found['first_answer_s']:.1f} s, then {found['median_ms']:.0f} ms a "
        f"search, {found['memory_mb']:,.0f} MB more memory than its imports",
        flush=True,
    )
    return found


def measured(
    folder: Path, world: MadeUp | OfflinePictures, num_queries: int, model: TextVideoModel | None
) -> tuple[dict[str, Any], dict[str, Callable[[], object]]]:
    """What is measured of one library, and what is to be asked of all."""
    library, queries, truth = build(folder, world, num_queries)
    started = time.perf_counter()
    library.tidy(large_from=1)
    made = time.perf_counter() - started
    print(f"\n{world.count:,} segments: the index was made in {made:.0f} s", flush=True)
    figures: dict[str, Any] = {"segments": world.count, "made_s": made}
    if model is not None:
        started = time.perf_counter()
        library.prepare(model)
        figures["prepared_s"] = time.perf_counter() - started
        print(f"  prepared for the model in {figures['prepared_s']:.0f} s", flush=True)
    snapshot = library.snapshot()
    figures["found"] = found_by(snapshot, queries, truth)
    figures["new_process"] = asked_in_a_new_process(folder)
    figures["ms_after_a_commit"] = after_a_commit(library, world)
    snapshot = library.snapshot()
    return figures, look_ups(library.folder, snapshot, model)


def worlds_of(wanted: argparse.Namespace) -> list[MadeUp | OfflinePictures]:
    if wanted.clips is None:
        return [MadeUp(count, wanted.share) for count in wanted.segments]
    with wanted.captions.open(newline="", encoding="utf-8") as file:
        captions = [row["sentence"] for row in csv.DictReader(file)]
    frames = frames_of(wanted.clips)
    return [OfflinePictures(count, frames, captions) for count in wanted.segments]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, nargs="+", default=[1000, 1_000_000])
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--share", type=float, default=0.75)
    parser.add_argument("--scenes", type=int, default=SCENES, help="of a segment: its frames, and its directions")
    parser.add_argument("--clips", type=Path, help="real clips, for the picture side of the offline encoder")
    parser.add_argument("--captions", type=Path, help="a CSV of captions (column sentence), the queries with --clips")
    parser.add_argument("--model", help="a preset with one vector a video, for which the libraries are prepared, too")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--ask", type=Path, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    two_stage.SCENES = wanted.scenes
    _store._KEPT_VERSIONS = datetime.timedelta(0)  # nobody reads an earlier state, and twice the disk is much
    if wanted.ask is not None:
        return ask_once(wanted.ask)
    if (wanted.clips is None) != (wanted.captions is None):
        parser.error("--clips and --captions go together")
    worlds = worlds_of(wanted)
    name = f"large_library_{wanted.share:g}" if wanted.clips is None else "large_library_offline"
    name += "" if wanted.model is None else f"_{wanted.model}"
    name += "" if wanted.scenes == SCENES else f"_{wanted.scenes}_scene"
    model = None if wanted.model is None else load_model(wanted.model, dimension=worlds[0].encoder.dimension)
    with tempfile.TemporaryDirectory() as temporary:  # all at once: the same is asked of all in turn
        folders = places(wanted.keep or Path(temporary), [f"{name}_{world.count}" for world in worlds])
        found = [measured(place, world, wanted.queries, model) for place, world in zip(folders, worlds, strict=True)]
        figures = compared(found)
    save(name, {"dimension": worlds[0].encoder.dimension, "share": worlds[0].share, "libraries": figures})


def compared(found: Sequence[tuple[dict[str, Any], dict[str, Callable[[], object]]]]) -> list[dict[str, Any]]:
    """The figures of all libraries, with how long each look-up takes in each."""
    figures = [each for each, _ in found]
    print("\nms in each, and the last by the first")
    for name_of_look in found[0][1]:
        times = medians_ms([asked[name_of_look] for _, asked in found])
        for each, value in zip(figures, times, strict=True):
            each.setdefault("ms", {})[name_of_look] = value
        row = "  ".join(f"{value:8.1f}" for value in times)
        print(f"{name_of_look:>30} {row}  {times[-1] / times[0]:6.2f}")
    return figures


if __name__ == "__main__":
    main()
