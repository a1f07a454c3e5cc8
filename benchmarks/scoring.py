"""Text-conditioned scoring on CPU against the plain published order: padded work, captions, reranking, other heads.

Every baseline is measured in the same run. The plain order (``method="plain"``, language-video attention computed once,
in blocks that fit memory) is timed on a subset of the texts against all videos and stated in pairs a second. The limit
is what the two products of a pair cost at the measured rates of a product: that of ``torch.mm``, by which the goals
were set, and that of the product the scoring uses. ``bfloat16_…``: the same with ``products = "bfloat16"``, off unless
asked.

Reranking 200 candidates for a query of ten words: with videos precomputed; from their frames and the statistics that
a library keeps beside them; from frames alone; and what a search engine takes for it, its candidates read from disk
(through the system's memory) or kept from earlier searches.

    python benchmarks/scoring.py --captions MSRVTT_JSFUSION_test.csv

Features are random; captions give lengths only: words and punctuation marks, and the two ends (a stand-in for CLIP's
byte-pair tokens, of which there are slightly more).
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from results import save
from two_stage import World, build, make_model

from wordframe.features import TextFeatures, VideoFeatures
from wordframe.heads import in_threads, product
from wordframe.library import MOST_KEPT_AT_ONCE
from wordframe.models import ModelSettings, TextVideoModel
from wordframe.search import EncodedQuery, score_segments

WORDS, FRAMES, DIMENSION = 32, 12, 512
LIBRARY_SEGMENTS = 10_000
"""So many that candidates drawn at random are seldom those of an earlier draw."""
OTHERS = {"xclip": 10, "xpool": 4, "wti": 10, "tmass": 0.5}
"""Other heads, and on how many times as many texts as TC-MGC their plain order is timed: they cost that much less."""
FLOPS_PER_WORD_PAIR = 1.35e6 / WORDS
"""Of a pair of TC-MGC, by word: 1.35 MFLOP at W = 32, F = 12, D = 512."""


def caption_lengths(path: Path, most: int = WORDS) -> list[int]:
    """Token positions of each caption: words and punctuation marks, and the two ends; at most ``most``."""
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            captions = [row["sentence"] for row in csv.DictReader(file)]
    else:
        videos = json.loads(path.read_text(encoding="utf-8"))
        captions = [caption for video in videos for caption in video["caption"]]
    return [min(len(re.findall(r"\w+|[^\w\s]", caption)) + 2, most) for caption in captions]


def random_texts(lengths: list[int], *, num_words: int = WORDS, seed: int = 0) -> TextFeatures:
    """Random features of texts of these lengths, padded to ``num_words``."""
    words = torch.randn(len(lengths), num_words, DIMENSION, generator=torch.Generator().manual_seed(seed))
    mask = torch.arange(num_words) < torch.tensor(lengths)[:, None]
    return TextFeatures(words.mean(dim=1), words, mask)


def random_videos(count: int) -> VideoFeatures:
    """Random features of videos of ``FRAMES`` frames."""
    frames = torch.randn(count, FRAMES, DIMENSION, generator=torch.Generator().manual_seed(1))
    return VideoFeatures(frames, frames, torch.ones(count, FRAMES, dtype=torch.bool))


def model_of(family: str, keep_rate: float | None = None) -> TextVideoModel:
    """A model near its identity start, with small random perturbations."""
    torch.manual_seed(0)
    model = TextVideoModel(
        settings=ModelSettings.from_dict({"family": family, "keep_rate": keep_rate}), dimension=DIMENSION
    ).eval()
    for name, parameter in model.named_parameters():
        if name != "similarity.logit_scale":
            parameter.add_(torch.randn_like(parameter) * (0.02 if parameter.dim() == 2 else 0.05))
    return model


def seconds(work: Callable[[], Any], times: int = 3) -> float:
    """The best of some runs, after one that does not count."""
    work()
    return min(_timed(work) for _ in range(times))


def _timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def peak_mb() -> float:
    """Most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def product_rates() -> dict[str, float]:
    """GFLOP/s of float32 products of the scoring's sizes on all cores: torch's own, and the scoring's, one a core."""
    cores = torch.get_num_threads()
    left, right = torch.randn(512 * cores, DIMENSION), torch.randn(384, DIMENSION)
    flops = 2.0 * left.shape[0] * right.shape[0] * DIMENSION
    out = torch.empty(len(left), len(right))
    rates = {"torch_mm": flops / seconds(lambda: torch.mm(left, right.T, out=out), 30)}
    one_core, repeats = left[:512], 100
    taken = seconds(lambda: in_threads(lambda _: product(one_core, right), range(repeats * cores)), 5)
    rates["scoring"] = repeats * flops / taken
    halves = one_core.bfloat16(), right.bfloat16()
    taken = seconds(lambda: in_threads(lambda _: product(*halves), range(repeats * cores)), 5)
    rates["scoring_bfloat16"] = repeats * flops / taken
    return {name: round(rate / 1e9, 1) for name, rate in rates.items()}


def compare(
    model: TextVideoModel, text: TextFeatures, video: VideoFeatures, *, plain_texts: int, plain_text: TextFeatures
) -> dict[str, float]:
    """Pairs a second of both methods, preparation of the videos counted in, and how far their logits differ.

    plain_text: what the plain order is timed on: the same texts, or the same with the padding taking part.
    """
    pairs = len(text) * len(video)
    fast = seconds(lambda: model.score(text, video), 2)
    some = plain_text[torch.linspace(0, len(text) - 1, plain_texts).long()]
    plain = seconds(lambda: model.score(some, video, method="plain"), 1)
    exact = text[:plain_texts]
    error = model.score(exact, video).logits - model.score(exact, video, method="plain").logits
    fast_rate, plain_rate = pairs / fast, plain_texts * len(video) / plain
    reduced = "bfloat16" in model.similarity.kinds_of_products
    return (with_bfloat16(model, text, video, plain_rate) if reduced else {}) | {
        "seconds": round(fast, 3),
        "pairs_per_second": round(fast_rate),
        "plain_pairs_per_second": round(plain_rate),
        "plain_texts": plain_texts,
        "times_faster": round(fast_rate / plain_rate, 1),
        "largest_error_in_logits": float(error.abs().max()),
    }


def with_bfloat16(
    model: TextVideoModel, text: TextFeatures, video: VideoFeatures, plain_rate: float
) -> dict[str, float]:
    """What bfloat16 products bring and cost."""
    exact = model.score(text, video).logits
    model.similarity.products = "bfloat16"
    rate = exact.numel() / seconds(lambda: model.score(text, video), 2)
    error = (model.score(text, video).logits - exact).abs()
    model.similarity.products = "float32"
    return {
        "bfloat16_pairs_per_second": round(rate),
        "bfloat16_times_faster": round(rate / plain_rate, 1),
        "bfloat16_largest_error_in_logits": float(error.max()),
        "bfloat16_mean_error_in_logits": float(error.mean()),
    }


def with_limits(figures: dict[str, float], positions: float, rates: dict[str, float]) -> dict[str, float]:
    """Add the share of each limit; ``positions``: token positions of a text, on average."""
    shares = {}
    for name, rate in rates.items():
        made = "bfloat16_pairs_per_second" if name.endswith("bfloat16") else "pairs_per_second"
        gflops = figures[made] * FLOPS_PER_WORD_PAIR * positions / 1e9
        shares[f"share_of_limit_{name}"] = round(gflops / rate, 2)
    return figures | shares


def rerank(model: TextVideoModel, video: VideoFeatures, positions: int = 12) -> dict[str, float]:
    """Milliseconds to score a query of ten words (and its two ends) against some candidates."""
    query = random_texts([positions], num_words=positions)
    similarity = model.similarity
    precomputed, kept = similarity.precompute(video), similarity.statistics(video)
    return {
        "candidates": len(video),
        "prepared_ms": median_ms(lambda: similarity(query, precomputed)),
        "preparation_with_numbers_ms": median_ms(lambda: similarity.precompute(video, kept)),
        "together_with_numbers_ms": median_ms(lambda: similarity(query, similarity.precompute(video, kept))),
        "preparation_ms": median_ms(lambda: similarity.precompute(video)),
        "together_ms": median_ms(lambda: model.score(query, video)),
        "plain_ms": median_ms(lambda: model.score(query, video, method="plain")),
    }


def median_ms(work: Callable[[], Any], times: int = 50) -> float:
    """The median of some runs, after one that does not count."""
    work()
    return round(1000 * statistics.median(_timed(work) for _ in range(times)), 2)


def rerank_in_library(segments: int, candidates: int = 200) -> dict[str, float]:
    """Milliseconds for which a search engine scores candidates of a library of made-up features (``two_stage.py``)."""
    world = World(segments, 0.75)
    with tempfile.TemporaryDirectory() as place:
        library = build(Path(place), world)
        model = make_model()
        library.prepare(model)
        snapshot, query = library.snapshot(model), EncodedQuery(world.queries(1), ())
        row_ids = torch.tensor(snapshot.row_ids())
        score_segments(snapshot, query, row_ids[: 2 * MOST_KEPT_AT_ONCE].tolist())  # so many are not kept in memory
        lists = [row_ids[torch.randperm(segments)[:candidates]].tolist() for _ in range(20)]
        figures: dict[str, float] = {"segments": segments, "candidates": candidates}
        for name in ("from_disk_ms", "from_memory_ms"):  # the second round finds what the first one kept
            times = [_timed(partial(score_segments, snapshot, query, rows)) for rows in lists]
            figures[name] = round(1000 * statistics.median(times), 2)
    return figures


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=Path, help="a file of captions, for their lengths")
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--videos", type=int, default=1000)
    parser.add_argument("--plain-texts", type=int, default=40, help="texts that the plain order is timed on")
    options = parser.parse_args()
    with torch.inference_mode():
        figures = measure(options.captions, options.texts, options.videos, options.plain_texts)
    print(json.dumps(figures, indent=2))
    save("scoring", figures)


def measure(captions: Path | None, num_texts: int, num_videos: int, plain_texts: int) -> dict[str, Any]:
    """All figures of one run."""
    rates = product_rates()
    video, padded = random_videos(num_videos), random_texts([WORDS] * num_texts)
    figures: dict[str, Any] = {
        "threads": torch.get_num_threads(),
        "sizes": {"texts": num_texts, "videos": num_videos, "words": WORDS, "frames": FRAMES, "dimension": DIMENSION},
        "product_gflops": rates,
    }
    for keep_rate in (0.1, 0.5):
        model = model_of("tcmgc", keep_rate)
        found = compare(model, padded, video, plain_texts=plain_texts, plain_text=padded)
        figures[f"tcmgc_padded_keep_{keep_rate}"] = with_limits(found, WORDS, rates)
        figures.setdefault("peak_mb_padded", round(peak_mb()))  # what comes later brings a library along
        figures[f"rerank_keep_{keep_rate}"] = rerank(model, video[:200])
        if captions is not None:
            lengths = caption_lengths(captions)[:num_texts]
            positions = sum(lengths) / len(lengths)
            text = random_texts(lengths)
            found = compare(model, text, video, plain_texts=min(plain_texts, len(text)), plain_text=padded)
            found |= {"texts": len(lengths), "positions_per_text": round(positions, 2)}
            figures[f"tcmgc_captions_keep_{keep_rate}"] = with_limits(found, positions, rates)
    figures["rerank_in_library"] = rerank_in_library(LIBRARY_SEGMENTS)
    for family, times in OTHERS.items():
        texts = min(max(1, int(times * plain_texts)), num_texts)
        figures[f"{family}_padded"] = compare(model_of(family), padded, video, plain_texts=texts, plain_text=padded)
    figures["peak_mb"] = round(peak_mb())
    return figures


if __name__ == "__main__":
    main()
