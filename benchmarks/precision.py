"""What TC-MGC's scores lose and gain by fewer bits: float16 and int8 frames, bfloat16 products, and both together.

    python benchmarks/precision.py [--videos 2000] [--queries 500] [--clips FOLDER]

Against float32 frames and float32 products, on the made-up features of ``two_stage.py`` in its easy and its hard
setting (each text asks for the video it was made from, and finds it: there the exact order of the others tells more),
and, with ``--clips``, on real clips with their ``captions.json`` and the offline encoder. The model is TC-MGC near its
identity start. Per option: the largest and the mean error of a logit (logits reach 100), R@1, R@5 and R@10 and their
difference in points, how much of the exact first and first ten is kept, pairs scored a second once videos are ready,
bytes of a stored video, and milliseconds to prepare 200 videos from what is stored. Speeds are the best of several
rounds through all options in one run. ``read_200_ms``: to read 200 of 10,000 such rows at random from a table.

float16 is what a library stores. int8 (a scale for each frame) is not offered: its errors are some 30 times those of
float16 and as large as those of bfloat16 products, it prepares and scores no faster, and half the bytes make reading a
shortlist, where they would count, only so much shorter as ``read_200_ms`` says: a row's own cost is most of it.
``model.similarity.products = "bfloat16"`` is offered, off unless asked.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
import torch
from results import save
from torch import Tensor
from two_stage import FRAMES_A_SCENE, SCENES, WORDS, World, noise, unit

from wordframe.data import match_videos, read_captions
from wordframe.encoders import load_encoder
from wordframe.evaluate import evaluate_logits, gather
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.models import ModelSettings, TextVideoModel

SETTINGS = {"easy": 1.5, "hard": 0.75}
CANDIDATES, ROWS, ROUNDS, TIMED_TEXTS = 200, 10_000, 5, 100


@dataclass(frozen=True)
class Stored:
    """Frames ``(V, F, D)`` as some type keeps them. unpack: float32 frames of some videos; bytes_a_video: on disk."""

    unpack: Callable[[slice], Tensor]
    bytes_a_video: int


def as_float(frames: Tensor, dtype: torch.dtype) -> Stored:
    kept = frames.to(dtype)
    return Stored(lambda rows: kept[rows].float(), kept[0].nbytes)


def as_int8(frames: Tensor) -> Stored:
    """A scale for each frame, so that its largest number is 127."""
    scale = frames.abs().amax(dim=-1, keepdim=True).clamp(min=1e-30) / 127
    kept = (frames / scale).round().to(torch.int8)
    return Stored(lambda rows: kept[rows].float() * scale[rows], kept[0].nbytes + scale[0].nbytes)


STORAGE: dict[str, Callable[[Tensor], Stored]] = {
    "float32": lambda frames: as_float(frames, torch.float32),
    "float16": lambda frames: as_float(frames, torch.float16),
    "int8": as_int8,
}
OPTIONS = [
    ("float32", "float32"),
    ("float16", "float32"),
    ("int8", "float32"),
    ("float16", "bfloat16"),
    ("int8", "bfloat16"),
]
"""Stored frames and products; the first is what the others are compared with, the second what a library does."""


def near_identity(dimension: int) -> TextVideoModel:
    """TC-MGC at its start, all parameters moved by a hundredth of Gaussian noise, as in ``two_stage.py``."""
    settings = ModelSettings(family="tcmgc", sim_header="meanP", keep_rate=0.1)
    model = TextVideoModel(settings=settings, dimension=dimension, trained=True).eval()
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if "logit_scale" not in name:
            parameter += 0.01 * torch.randn(parameter.shape, generator=generator)
    return model


def made_up(count: int, num_queries: int, share: float) -> tuple[TextFeatures, VideoFeatures, Tensor]:
    """Texts, videos, and the video each text was made from."""
    world, chance = World(count, share), np.random.default_rng(2)
    scenes = np.concatenate([world.scenes(start) for start in world.starts()])
    repeated = np.repeat(scenes, FRAMES_A_SCENE, axis=1)
    frames = torch.from_numpy(unit(repeated + 0.5 * noise(chance, *repeated.shape[:2])))
    owners = chance.integers(0, count, num_queries)
    about = scenes[owners, chance.integers(0, SCENES, num_queries)]
    sentence = torch.from_numpy(unit(about + 0.9 * noise(chance, num_queries)))
    words = torch.from_numpy(unit(about[:, None] + 1.5 * noise(chance, num_queries, WORDS)))
    text = TextFeatures(sentence, words, torch.ones(words.shape[:2], dtype=torch.bool))
    return text, VideoFeatures(frames, frames, torch.ones(frames.shape[:2], dtype=torch.bool)), torch.from_numpy(owners)


def real_clips(folder: Path) -> tuple[TextFeatures, VideoFeatures, Tensor]:
    """Captions, clips of 12 frames, and whose caption each is."""
    matched = match_videos(folder, read_captions(folder / "captions.json"))
    gathered = gather(
        matched,
        load_encoder("offline"),
        sampling="uniform",
        num_frames=12,
        num_words=32,
        allow_missing=False,
        on_progress=lambda done: None,
    )
    longest = max(block.words.shape[1] for block in gathered.texts)
    words = [
        torch.nn.functional.pad(block.words, (0, 0, 0, longest - block.words.shape[1])) for block in gathered.texts
    ]
    masks = [torch.nn.functional.pad(block.word_mask, (0, longest - block.words.shape[1])) for block in gathered.texts]
    sentence = torch.cat([block.sentence for block in gathered.texts])
    return TextFeatures(sentence, torch.cat(words), torch.cat(masks)), gathered.videos, gathered.caption_video


def compare(text: TextFeatures, video: VideoFeatures, owners: Tensor) -> dict[str, dict[str, float]]:
    """Each option's figures, by its name."""
    model = near_identity(text.sentence.shape[1])
    stored = {name: store(video.contextual) for name, store in STORAGE.items()}
    some, timed = slice(0, CANDIDATES), text[:TIMED_TEXTS]
    runs: dict[tuple[str, str], dict[str, Callable[[], Any]]] = {}
    logits: dict[tuple[str, str], Tensor] = {}
    for storage, products in OPTIONS:
        model.similarity.products = products
        kept = video.with_contextual(stored[storage].unpack(slice(None)))
        precomputed, of_videos = model.precompute(kept), model.similarity.statistics(kept[some])
        logits[storage, products] = model.score(text, precomputed).logits

        def precompute(storage: str = storage, products: str = products, of_videos: Any = of_videos) -> None:
            model.similarity.products = products
            model.similarity.precompute(video[some].with_contextual(stored[storage].unpack(some)), of_videos)

        score = partial(model.score, timed, precomputed)
        runs[storage, products] = {"score": score, "prepare": precompute}
    statistics_bytes = of_videos[0].nbytes
    best = fastest(runs)
    exact = logits[OPTIONS[0]]
    figures = {}
    for storage, products in OPTIONS:
        error = (logits[storage, products] - exact).abs()
        figures[f"{storage} frames, {products} products"] = {
            "largest_error_in_logits": float(error.max()),
            "mean_error_in_logits": float(error.mean()),
            **shifts(logits[storage, products], exact, owners),
            **kept_of_the_best(logits[storage, products], exact),
            "pairs_per_second": round(len(timed) * len(video) / best[storage, products]["score"]),
            "bytes_a_video": stored[storage].bytes_a_video + statistics_bytes,
            f"prepare_{CANDIDATES}_ms": round(1000 * best[storage, products]["prepare"], 2),
        }
    return figures


def fastest(runs: dict[tuple[str, str], dict[str, Callable[[], Any]]]) -> dict[tuple[str, str], dict[str, float]]:
    """Seconds of each piece of work, the best of some rounds through all of them."""
    best = {option: dict.fromkeys(works, float("inf")) for option, works in runs.items()}
    for _ in range(ROUNDS):
        for option, works in runs.items():
            for name, work in works.items():
                started = time.perf_counter()
                work()
                best[option][name] = min(best[option][name], time.perf_counter() - started)
    return best


def shifts(logits: Tensor, exact: Tensor, owners: Tensor) -> dict[str, float]:
    """R@K of text→video in percent, and the points by which it differs from the exact one's."""
    found, right = (evaluate_logits(x, owners, num_videos=x.shape[1]).t2v for x in (logits, exact))
    out = {}
    for k in (1, 5, 10):
        name = f"recall_at_{k}"
        out[name] = round(getattr(found, name), 2)
        out[f"{name}_difference"] = round(getattr(found, name) - getattr(right, name), 2)
    return out


def kept_of_the_best(logits: Tensor, exact: Tensor) -> dict[str, float]:
    """Which share of the exact first 1 and first 10 videos of a text is among its first 1 and 10."""
    found, right = (x.topk(10, dim=1).indices for x in (logits, exact))
    shares = {k: (found[:, :k, None] == right[:, None, :k]).any(dim=1).float().mean() for k in (1, 10)}
    return {f"exact_top_{k}_kept": round(float(share), 4) for k, share in shares.items()}


def reading() -> dict[str, float]:
    """Median milliseconds to read 200 of 10,000 rows at random, by how frames are stored, numbers beside them."""
    frames = torch.randn(1, 12, 512)
    chance = np.random.default_rng(0)
    found = {}
    with tempfile.TemporaryDirectory() as place:
        database = lancedb.connect(place)
        tables = {}
        for name, store in STORAGE.items():
            size = store(frames).bytes_a_video
            cells = [chance.bytes(size) for _ in range(ROWS)]
            kept = pa.table({"frames": pa.array(cells, pa.large_binary()), "numbers": [chance.bytes(1080)] * ROWS})
            tables[name] = database.create_table(name, kept)
        times: dict[str, list[float]] = {name: [] for name in tables}
        for _ in range(40):
            rows = chance.choice(ROWS, CANDIDATES, replace=False).tolist()
            for name, table in tables.items():
                started = time.perf_counter()
                table.take_row_ids(rows).select(["frames", "numbers"]).to_arrow()
                times[name].append(1000 * (time.perf_counter() - started))
        found = {name: round(statistics.median(several), 2) for name, several in times.items()}
    return found


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=2000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--clips", type=Path, help="a folder of videos with captions.json")
    options = parser.parse_args()
    with torch.no_grad():
        figures: dict[str, Any] = {
            "threads": torch.get_num_threads(),
            f"read_{CANDIDATES}_ms": reading(),
            "settings": {
                name: compare(*made_up(options.videos, options.queries, share)) for name, share in SETTINGS.items()
            },
        }
        if options.clips is not None:
            figures["settings"]["clips"] = compare(*real_clips(options.clips))
    print(json.dumps(figures, indent=2))
    save("precision", figures)


if __name__ == "__main__":
    main()
