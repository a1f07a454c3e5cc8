"""Two-stage search against scoring everything: what the shortlist loses, what a search costs, and how both grow.

    python benchmarks/two_stage.py [--segments 10000 100000 1000000] [--queries 1000] [--share 1.5 0.75] [--keep FOLDER]

Made-up features, seed 0, D = 512: a video has three scenes of four frames; a scene is a unit Gaussian direction plus
``share`` of its video's direction and of that of a topic, one for 100 videos, drawn for each scene; frame = n(scene +
0.5 n(noise)), sentence = n(one scene + 0.9 n(noise)), ten words = n(scene + 1.5 n(noise)). The model is TC-MGC near its
identity start, all parameters moved by a hundredth of Gaussian noise. The library is written, tidied and read by the
store of ``wordframe index``, at 14 GB a million segments; tidying needs as much again.

Per number of segments and setting: recall of the exhaustive top 10 among 200 candidates by one mean vector, by scene
vectors and by the best frame, each compared with every segment in float32; then, for shortlists of several sizes by the
library's index, recall@1 and recall@10 of the exhaustive answer, median and 99th percentile of a search without text
encoding, the median of stage one alone, the bytes of the candidates' frame features, and what a search reads of files
(Linux counts it; the index lies in memory, and so do segments that a query before had among its candidates).

With ``--keep`` libraries and exhaustive answers stay in FOLDER, and a run that was cut short goes on from there. A
setting that is not asked for keeps its figures where this machine found them with as many queries.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from results import load, machine, save
from torch import Tensor

from wordframe.encoders import Encoder
from wordframe.features import TextFeatures
from wordframe.library import PLAIN_BYTES, Library, SegmentEntry, Snapshot, VideoEntry, run_centroids
from wordframe.models import ModelSettings, TextVideoModel
from wordframe.search import SHORTLIST, EncodedQuery, candidates, score_segments

D, SCENES, FRAMES_A_SCENE, WORDS, VIDEOS_A_TOPIC = 512, 3, 4, 10, 100
BLOCK = 2000
SIZES = (100, 200, 300, 400, 500)
TOP = 10
Array = NDArray[np.float32]


class NoEncoder(Encoder):
    """Stands for the encoder of a library whose features nobody encoded."""

    name, fingerprint, dimension, short_side, max_words = "made-up", "made-up", D, 1, WORDS  # type: ignore[assignment]

    def preprocess(self, frames: Any) -> Any:
        raise RuntimeError("made-up features have no pictures")

    encode_pixels = encode_text = preprocess


# What is made up ------------------------------------------------------------------------------------------------------


def unit(x: Array) -> Array:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def noise(chance: np.random.Generator, *shape: int) -> Array:
    return unit(chance.standard_normal((*shape, D), np.float32))


class World:
    """``count`` videos of one setting, made block by block and the same whenever a block is made."""

    def __init__(self, count: int, share: float) -> None:
        self.count, self.share = count, share
        self._topics = noise(np.random.default_rng(0), max(1, count // VIDEOS_A_TOPIC))

    def scenes(self, start: int) -> Array:
        """``(N, 3, D)`` of the block of at most BLOCK videos from number ``start`` on."""
        chance = np.random.default_rng((0, start))
        N = min(BLOCK, self.count - start)
        topics = self._topics[chance.integers(0, len(self._topics), (N, SCENES))]
        return unit(noise(chance, N, SCENES) + self.share * (noise(chance, N, 1) + topics))

    def frames(self, start: int) -> Array:
        """``(N, 12, D)``, as precise as a library stores them."""
        frames = np.repeat(self.scenes(start), FRAMES_A_SCENE, axis=1)
        frames = unit(frames + 0.5 * noise(np.random.default_rng((1, start)), *frames.shape[:2]))
        return frames.astype(np.float16).astype(np.float32)

    def starts(self) -> range:
        return range(0, self.count, BLOCK)

    def queries(self, count: int) -> TextFeatures:
        """``count`` texts, each about one scene of one of the videos."""
        chance = np.random.default_rng(1)
        videos, numbers = chance.integers(0, self.count, count), chance.integers(0, SCENES, count)
        about = np.empty((count, D), np.float32)
        for start in self.starts():
            mine = np.flatnonzero((videos >= start) & (videos < start + BLOCK))
            if len(mine):
                about[mine] = self.scenes(start)[videos[mine] - start, numbers[mine]]
        sentence = unit(about + 0.9 * noise(chance, count))
        words = unit(about[:, None] + 1.5 * noise(chance, count, WORDS))
        mask = torch.ones(count, WORDS, dtype=torch.bool)
        return TextFeatures(torch.from_numpy(sentence), torch.from_numpy(words), mask)


def make_model() -> TextVideoModel:
    settings = ModelSettings(family="tcmgc", sim_header="meanP", keep_rate=0.1)
    model = TextVideoModel(settings=settings, dimension=D, trained=True).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "logit_scale" not in name:
                parameter += 0.01 * torch.randn(parameter.shape, generator=generator)
    return model


def build(folder: Path, world: World) -> Library:
    """The library in ``folder``; what is there already stays. Video ``number`` is named by its number."""
    encoder = NoEncoder()
    library = Library.open(folder, encoder=encoder)
    started = time.perf_counter()
    there = library.snapshot().num_segments if library.exists else 0
    for start in world.starts()[-(-there // BLOCK) :]:
        frames = world.frames(start)
        videos = []
        for number, (vectors, features) in enumerate(zip(run_centroids(frames), frames, strict=True), start):
            entry = VideoEntry(f"{number:09d}", f"/{number}.mp4", 1, 1, "", 12.0, 640, 360, "h264", "mp4", None, 1)
            seconds = np.arange(len(features), dtype=np.float32)
            part = SegmentEntry(0.0, 12.0, features.astype(np.float16), seconds, vectors, b"")
            videos.append((entry, [part]))
        library.add_videos(videos)
    written = time.perf_counter()
    library.tidy()
    print(f"written in {written - started:.0f} s, tidied in {time.perf_counter() - written:.1f} s", flush=True)
    return library


# What is compared -----------------------------------------------------------------------------------------------------


class Best:
    """The columns with the largest scores of each query, over all blocks of columns so far."""

    def __init__(self, queries: int, count: int) -> None:
        self._scores = torch.full((queries, count), -torch.inf)
        self.columns = torch.zeros(queries, count, dtype=torch.long)

    def add(self, scores: Tensor, first: int) -> None:
        """``scores (T, N)`` of the columns ``[first, first + N)``."""
        columns = torch.arange(first, first + scores.shape[1]).expand(len(scores), -1)
        self._scores, order = torch.cat([self._scores, scores], dim=1).topk(self._scores.shape[1], dim=1)
        self.columns = torch.cat([self.columns, columns], dim=1).gather(1, order)


@torch.inference_mode()
def exhaustive(snapshot: Snapshot, queries: TextFeatures) -> tuple[list[list[int]], float]:
    """Numbers of the best videos of each query, all scored; and pairs a second, reading included."""
    row_ids = snapshot.row_ids()
    best = Best(len(queries), TOP)
    numbers: list[int] = []
    started = time.perf_counter()
    for start in range(0, len(row_ids), BLOCK):
        segments = snapshot.segments(row_ids[start : start + BLOCK])
        numbers += [int(fact.video_id) for fact in segments.facts]
        best.add(snapshot.model.score(queries, segments.video).logits, start)
    rate = len(queries) * len(row_ids) / (time.perf_counter() - started)
    return [[numbers[place] for place in places] for places in best.columns.tolist()], rate


def compared_with_all(queries: TextFeatures, truth: Sequence[Sequence[int]], world: World) -> dict[str, float]:
    """Recall of the truth among 200 candidates by one mean vector, scene vectors, and the best frame, without index."""
    best = {name: Best(len(queries), min(200, world.count)) for name in ("mean", "scenes", "frames")}
    for start in world.starts():
        frames = world.frames(start)
        kinds = {"mean": unit(frames.mean(axis=1, keepdims=True)), "scenes": run_centroids(frames), "frames": frames}
        for name, vectors in kinds.items():
            flat = queries.sentence @ torch.from_numpy(vectors).flatten(0, 1).T  # (T, N · K)
            best[name].add(flat.unflatten(1, vectors.shape[:2]).amax(dim=2), start)
    return {name: recall(truth, found.columns.tolist()) for name, found in best.items()}


def recall(truth: Sequence[Sequence[int]], found: Sequence[Sequence[int]]) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(a) for a, b in zip(truth, found, strict=True)]))


def measure(library: Library, queries: TextFeatures, truth: Sequence[Sequence[int]], size: int) -> dict[str, float]:
    """One size of shortlist, by a snapshot that has answered nothing yet."""
    snapshot = library.snapshot(make_model())
    found = []
    whole, first_stage = [], []
    read_before = psutil.Process().io_counters().read_chars
    for number in range(len(truth)):
        query = EncodedQuery(queries[number : number + 1], ())
        started = time.perf_counter()
        listed = candidates(snapshot, query, size)
        first_stage.append(1000 * (time.perf_counter() - started))
        facts, scores = score_segments(snapshot, query, listed)
        whole.append(1000 * (time.perf_counter() - started))
        found.append([int(facts[place].video_id) for place in np.argsort(-scores, kind="stable")[:TOP]])
    return {
        "candidates": size,
        "recall_at_1": float(np.mean([a[0] == b[0] for a, b in zip(truth, found, strict=True)])),
        "recall_at_10": recall(truth, found),
        "median_ms": float(np.median(whole)),
        "p99_ms": float(np.percentile(whole, 99)),
        "stage_one_median_ms": float(np.median(first_stage)),
        "feature_bytes": size * SCENES * FRAMES_A_SCENE * D * 2,
        "bytes_read": (psutil.Process().io_counters().read_chars - read_before) / len(truth),
    }


def setting(folder: Path, world: World, num_queries: int) -> dict[str, Any]:
    """All figures of one library."""
    library = build(folder / "library", world)
    model = make_model()
    started = time.perf_counter()
    library.prepare(model)
    snapshot = library.snapshot(model)
    print(f"prepared for the model in {time.perf_counter() - started:.0f} s", flush=True)
    queries = world.queries(num_queries)
    answers = folder / f"answers_{num_queries}.npz"
    if not answers.exists():
        truth, rate = exhaustive(snapshot, queries)
        recalls = compared_with_all(queries, truth, world)
        np.savez(answers, truth=np.array(truth), rate=rate, **recalls)
    kept = np.load(answers)
    truth, rate = kept["truth"].tolist(), float(kept["rate"])
    recalls = {name: float(kept[name]) for name in ("mean", "scenes", "frames")}
    print(f"\n{world.count} segments, share {world.share:g}; exhaustive: {rate:,.0f} pairs a second")
    print("recall of the top 10 in 200 by " + ", ".join(f"{name} {value:.3f}" for name, value in recalls.items()))
    started = time.perf_counter()
    snapshot.nearest(queries.sentence[0].numpy(), TOP)
    index = {"index_bytes": world.count * SCENES * D, "first_stage_one_seconds": time.perf_counter() - started}
    told = f"read and searched once in {index['first_stage_one_seconds']:.2f} s"
    print(f"index of {index['index_bytes'] / 1e6:,.0f} MB, {told}")
    for _ in range(1 + PLAIN_BYTES // index["index_bytes"]):  # as after a while of serving
        snapshot.nearest(queries.sentence[0].numpy(), TOP)
    measure(library, queries, truth[:5], SHORTLIST)
    rows = [measure(library, queries, truth, size) for size in SIZES if size <= world.count]
    for row in rows:
        print("  " + "  ".join(f"{name} {value:,.4g}" for name, value in row.items()), flush=True)
    return {"share": world.share, "pairs_per_second": rate, "recall_in_200": recalls, **index, "shortlists": rows}


def places(kept: Path | None, names: Sequence[str]) -> Iterator[Path]:
    """A folder for each library: below ``kept``, or one that is gone when the next is asked for."""
    for name in names:
        with contextlib.ExitStack() as stack:
            place = kept / name if kept else Path(stack.enter_context(tempfile.TemporaryDirectory()))
            place.mkdir(parents=True, exist_ok=True)
            yield place


def name_of(count: int) -> str:
    return f"two_stage_{count}"


def others(count: int, num_queries: int, shares: Sequence[float]) -> list[dict[str, Any]]:
    """The figures of settings beside ``shares`` that this machine found before."""
    kept = load(name_of(count))
    if kept is None or (kept["machine"], kept["queries"]) != (machine(), num_queries):
        return []
    return [found for found in kept["settings"] if found["share"] not in shares]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, nargs="+", default=[10_000])
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--share", type=float, nargs="+", default=[1.5, 0.75])
    parser.add_argument("--keep", type=Path)
    wanted = parser.parse_args()
    worlds = [World(count, share) for count in wanted.segments for share in wanted.share]
    figures = {count: others(count, wanted.queries, wanted.share) for count in wanted.segments}
    for world, place in zip(worlds, places(wanted.keep, [f"{w.count}_{w.share:g}" for w in worlds]), strict=True):
        figures[world.count].append(setting(place, world, wanted.queries))
        figures[world.count].sort(key=lambda found: -found["share"])
        save(name_of(world.count), {"queries": wanted.queries, "settings": figures[world.count]})
    print(f"\nhow cost grows, {SHORTLIST} candidates: segments, share, median ms, of it stage one, recall@10")
    for count, settings in figures.items():
        for found in settings:
            row = next(row for row in found["shortlists"] if row["candidates"] == SHORTLIST)
            median, first = row["median_ms"], row["stage_one_median_ms"]
            print(f"{count:>9,} {found['share']:>5g} {median:>7.1f} {first:>7.1f} {row['recall_at_10']:>7.4f}")


if __name__ == "__main__":
    main()
