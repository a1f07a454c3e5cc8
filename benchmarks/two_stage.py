"""Two-stage search against scoring everything: what the shortlist loses, what a search costs, and how both grow.

    python benchmarks/two_stage.py [--segments 10000] [--queries 1000] [--share 1.5 0.75]

Made-up features, seed 0, D = 512: a video has three scenes of four frames; a scene is a unit Gaussian direction plus
``share`` of its video's direction and of that of a topic, one for 100 videos, drawn for each scene; frame = n(scene +
0.5 n(noise)), sentence = n(one scene + 0.9 n(noise)), ten words = n(scene + 1.5 n(noise)). The model is TC-MGC near its
identity start, all parameters moved by a hundredth of Gaussian noise. The library is built by the store that
``wordframe index`` writes with, its index by the same rule.

Per setting: recall of the exhaustive top 10 among 200 candidates by one mean vector, by scene vectors and by the best
frame, each compared with every segment; then, for shortlists of several sizes through the index, recall@1 and recall@10
of the exhaustive answer, median and 99th percentile of a search without text encoding, and the bytes of features read.
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
import torch
from numpy.typing import NDArray
from results import save

from wordframe.encoders import Encoder
from wordframe.features import TextFeatures
from wordframe.library import Library, Segment, VideoEntry
from wordframe.library.manifest import Manifest
from wordframe.library.segmenting import scene_vectors
from wordframe.library.store import segment_rows
from wordframe.models import ModelSettings, TextVideoModel
from wordframe.search import SearchEngine
from wordframe.search.shortlist import candidates

D, SCENES, FRAMES_A_SCENE, WORDS, VIDEOS_A_TOPIC = 512, 3, 4, 10, 100
BLOCK = 2000
SIZES = (100, 200, 300, 500)
Array = NDArray[np.float32]


class NoEncoder(Encoder):
    """Stands for the encoder of a library whose features nobody encoded."""

    name, fingerprint, dimension, short_side, max_words = "made-up", "made-up", D, 1, WORDS  # type: ignore[assignment]

    def preprocess(self, frames: Any) -> Any:
        raise RuntimeError("made-up features have no pictures")

    encode_pixels = encode_text = preprocess


def unit(x: Array) -> Array:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def noise(chance: np.random.Generator, *shape: int) -> Array:
    return unit(chance.standard_normal((*shape, D), np.float32))


def videos(count: int, share: float) -> Iterator[tuple[Array, Array]]:
    """Blocks of scenes ``(N, 3, D)`` and frames ``(N, 12, D)``."""
    chance = np.random.default_rng(0)
    topics = noise(chance, max(1, count // VIDEOS_A_TOPIC))
    for start in range(0, count, BLOCK):
        N = min(BLOCK, count - start)
        common = noise(chance, N, 1) + topics[chance.integers(0, len(topics), (N, SCENES))]
        scenes = unit(noise(chance, N, SCENES) + share * common)
        frames = np.repeat(scenes, FRAMES_A_SCENE, axis=1)
        yield scenes, unit(frames + 0.5 * noise(chance, N, SCENES * FRAMES_A_SCENE))


def make_queries(scenes: Array, count: int) -> TextFeatures:
    """``count`` texts, each about one scene of one of the videos ``(V, 3, D)``."""
    chance = np.random.default_rng(1)
    about = scenes[chance.integers(0, len(scenes), count), chance.integers(0, SCENES, count)]
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


def build(folder: Path, count: int, share: float) -> tuple[Library, Array]:
    """The library and all scenes ``(V, 3, D)``."""
    encoder = NoEncoder()
    Manifest.of(encoder).write(folder)
    library = Library.open(folder, encoder=encoder)
    kept = []
    number = 0
    for scenes, frames in videos(count, share):
        kept.append(scenes.astype(np.float16))
        rows = []
        for vectors, features in zip(scene_vectors(frames), frames.astype(np.float16), strict=True):
            entry = VideoEntry(f"{number:09d}", f"/{number}.mp4", 1, 1, "", 12.0, 640, 360, "h264", "mp4", None, 1)
            seconds = np.arange(len(features), dtype=np.float32)
            rows += segment_rows(entry, [Segment(0.0, 12.0, features, seconds, vectors, b"")])
            number += 1
        library.store.add(rows)
    started = time.perf_counter()
    library.store.tidy()
    print(f"compacted and indexed in {time.perf_counter() - started:.1f} s")
    return library, np.concatenate(kept).astype(np.float32)


@torch.inference_mode()
def exhaustive(engine: SearchEngine, queries: TextFeatures, top: int = 10) -> tuple[list[list[int]], float]:
    """Row ids of the best segments of each query, all scored; and pairs a second, reading included."""
    row_ids = engine.library.store.row_ids()
    best = torch.full((len(queries), top), -torch.inf)
    where = torch.zeros(len(queries), top, dtype=torch.long)
    started = time.perf_counter()
    for start in range(0, len(row_ids), BLOCK):
        block = row_ids[start : start + BLOCK]
        _, video = engine.prepared.features(block, [])
        logits = engine.model.score(queries, video).logits
        scores = torch.cat([best, logits], dim=1)
        places = torch.cat([where, torch.tensor(block).expand(len(queries), -1)], dim=1)
        best, order = scores.topk(top, dim=1)
        where = places.gather(1, order)
    rate = len(queries) * len(row_ids) / (time.perf_counter() - started)
    return where.tolist(), rate


def compared_with_all(
    queries: TextFeatures, truth: Sequence[Sequence[int]], row_ids: Sequence[int], count: int, share: float
) -> dict[str, float]:
    """Recall of the truth among 200 candidates by one mean vector, scene vectors, and the best frame, without index."""
    place = {row_id: number for number, row_id in enumerate(row_ids)}
    right = np.array([[place[row_id] for row_id in rows] for rows in truth])
    q = queries.sentence.numpy()
    scores: dict[str, list[Array]] = {"mean": [], "scenes": [], "frames": []}
    for _, frames in videos(count, share):
        scores["mean"].append(q @ unit(frames.mean(axis=1)).T)
        for name, vectors in (("scenes", scene_vectors(frames)), ("frames", frames)):
            scores[name].append(np.einsum("qd,nkd->qnk", q, vectors, optimize=True).max(axis=2))
    found = {}
    for name, parts in scores.items():
        listed = np.argpartition(-np.concatenate(parts, axis=1), 200, axis=1)[:, :200]
        found[name] = float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(listed, right, strict=True)]))
    return found


def measure(engine: SearchEngine, queries: TextFeatures, truth: Sequence[Sequence[int]], size: int) -> dict[str, float]:
    """One size of shortlist."""
    store = engine.library.store
    first = ten = 0.0
    times = []
    for number, right in enumerate(truth):
        query = queries[number : number + 1]
        started = time.perf_counter()
        rows = engine.score_segments(query, candidates(store, query.sentence[0].numpy(), size=size))
        times.append(1000 * (time.perf_counter() - started))
        got = [row["row_id"] for row in sorted(rows, key=lambda row: -row["score"])[:10]]
        first += got[0] == right[0]
        ten += len(set(got) & set(right)) / len(right)
    return {
        "candidates": size,
        "recall_at_1": first / len(truth),
        "recall_at_10": ten / len(truth),
        "median_ms": float(np.median(times)),
        "p99_ms": float(np.percentile(times, 99)),
        "bytes_read": size * SCENES * FRAMES_A_SCENE * D * 2,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--share", type=float, nargs="+", default=[1.5, 0.75])
    wanted = parser.parse_args()
    figures = []
    for share in wanted.share:
        with contextlib.ExitStack() as stack:
            place = stack.enter_context(tempfile.TemporaryDirectory())
            library, scenes = build(Path(place), wanted.segments, share)
            engine = SearchEngine(library, make_model())
            queries = make_queries(scenes, wanted.queries)
            truth, rate = exhaustive(engine, queries)
            print(f"\n{wanted.segments} segments, share {share:g}; exhaustive: {rate:,.0f} pairs a second")
            recalls = compared_with_all(queries, truth, library.store.row_ids(), wanted.segments, share)
            print("recall of the top 10 in 200 by " + ", ".join(f"{k} {v:.3f}" for k, v in recalls.items()))
            rows = [measure(engine, queries, truth, size) for size in SIZES]
            for row in rows:
                print("  " + "  ".join(f"{name} {value:,.3g}" for name, value in row.items()))
            figures.append({"share": share, "pairs_per_second": rate, "recall_in_200": recalls, "shortlists": rows})
    save(f"two_stage_{wanted.segments}", {"queries": wanted.queries, "settings": figures})


if __name__ == "__main__":
    main()
