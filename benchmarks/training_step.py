"""A training step of TC-MGC in the span against the plain published order: time, memory, gradients, and dropout.

    python benchmarks/training_step.py [--captions MSRVTT_JSFUSION_test.csv]

Time and memory, on one core: forward, loss, backward and AdamW's step on random features of 32 words, 12 frames, D =
512; of the whole model (4 layers of temporal transformer, the same in both) and of the similarity alone. Each variant
runs in a process of its own: a step of two pairs first, so that programs, gradients and the optimiser's state are
loaded; then the peak of the resident memory above that during the first full step, then the best time of several, by
the clock and by the processor (which other programs on the machine disturb less). ``plain`` keeps what autograd keeps,
language-video attention computed once, dropout by the element. With a file of captions both are measured at its lengths
as well, where the span form leaves padded words out.

Gradients: of all parameters without dropout, how far the two differ in float32 and in float64.

Dropout: one mask a video against one an element on a made-up problem with planted matches: a video has three scenes of
four frames, a sentence and its words see one of them, turned by a rotation that the heads have to learn. Held-out R@1
over several seeds, the pairing of seeds kept.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import torch
from results import save
from scoring import DIMENSION, FRAMES, WORDS, caption_lengths, model_of, peak_mb, random_texts, random_videos
from torch import Tensor
from torch.nn import functional as F

from wordframe.features import SimilarityOutput, TextFeatures, VideoFeatures
from wordframe.losses import contrastive, decorrelation
from wordframe.models import ModelSettings, TextVideoModel

KEEP_RATE, BATCH, LARGE_BATCH, TIMED_STEPS = 0.1, 32, 128, 4
PLANTED_DIMENSION, PLANTED_WORDS, PLANTED_STEPS, PLANTED_SEEDS = 64, 8, 300, 5
TURN = 0.06
"""Size of an entry of the planted rotation's generator: the untrained head loses over half of its R@1 by it."""
Figures = dict[str, Any]


def loss_of(output: SimilarityOutput) -> Tensor:
    """InfoNCE + 0.5 SDR, as published."""
    return contrastive(output.logits) + 0.5 * decorrelation(output.parts)


def new_model(method: str, sim_header: str) -> TextVideoModel:
    """A model in training whose dropout fits the method."""
    torch.manual_seed(0)
    settings = ModelSettings(family="tcmgc", sim_header=sim_header, keep_rate=KEEP_RATE)
    model = TextVideoModel(settings=settings, dimension=DIMENSION).train()
    model.similarity.attention.dropout_mode = "element" if method == "plain" else "video"
    return model


def measure_here(method: str, sim_header: str, lengths: list[int]) -> Figures:
    """Seconds and megabytes of one variant, in this process; one pair for each of ``lengths``."""
    model = new_model(method, sim_header)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step(text: TextFeatures, video: VideoFeatures) -> tuple[float, float]:
        start = time.perf_counter(), time.process_time()
        output = model.score(text, model.contextualize(video.frames, video.frame_mask), method=method)
        loss_of(output).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        return time.perf_counter() - start[0], time.process_time() - start[1]

    step(random_texts(lengths[:2]), random_videos(2))
    text, video = random_texts(lengths), random_videos(len(lengths))
    before = psutil.Process().memory_info().rss / 2**20
    first = step(text, video)
    peak = peak_mb() - before
    walls, processor = zip(first, *(step(text, video) for _ in range(TIMED_STEPS - 1)), strict=True)
    return {
        "seconds": round(min(walls), 3),
        "processor_seconds": round(min(processor), 3),
        "megabytes": round(peak, 1),
    }


def measure(method: str, sim_header: str, lengths: list[int]) -> Figures:
    """``measure_here`` in a process of its own."""
    command = [sys.executable, __file__, "--variant", json.dumps([method, sim_header, lengths])]
    found: Figures = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    print(f"{method:6} {sim_header:10} batch {len(lengths):4}: {found}", flush=True)
    return found


def compare(sim_header: str, lengths: list[int]) -> Figures:
    """Both methods; the plain order carries the padding up to ``WORDS``, as published."""
    plain, span = measure("plain", sim_header, lengths), measure("span", sim_header, lengths)
    return {
        "plain": plain,
        "span": span,
        "times_faster": round(plain["seconds"] / span["seconds"], 2),
        "times_less_processor": round(plain["processor_seconds"] / span["processor_seconds"], 2),
        "times_less_memory": round(plain["megabytes"] / span["megabytes"], 2),
    }


def gradient_differences() -> Figures:
    """Logits and gradients of the span form against the plain order, without dropout, near the identity start."""
    figures = {}
    with torch.no_grad():
        model = model_of("tcmgc", KEEP_RATE)
    text, video = random_texts([WORDS] * BATCH), random_videos(BATCH)
    for dtype in (torch.float32, torch.float64):
        model.to(dtype)
        found: dict[str, tuple[Tensor, list[Tensor]]] = {}
        for method in ("plain", "span"):
            output = model.score(text.to(dtype=dtype), video.to(dtype=dtype), method=method)
            found[method] = output.logits.detach(), list(torch.autograd.grad(loss_of(output), list(model.parameters())))
        plain, span = found["plain"], found["span"]
        relative = [float((a - b).norm() / b.norm()) for a, b in zip(span[1], plain[1], strict=True)]
        figures[str(dtype).removeprefix("torch.")] = {
            "largest_difference_of_logits": float((span[0] - plain[0]).abs().max()),
            "largest_relative_difference_of_a_gradient": max(relative),
        }
    return figures


def planted(count: int, seed: int, rotation: Tensor) -> tuple[TextFeatures, VideoFeatures]:
    """Videos of three scenes of four frames, and for each one text about one of the scenes."""
    g = torch.Generator().manual_seed(seed)
    size = PLANTED_DIMENSION

    def noisy(x: Tensor, share: float) -> Tensor:
        return F.normalize(x + share * F.normalize(torch.randn(x.shape, generator=g), dim=-1), dim=-1)

    scenes = F.normalize(torch.randn(count, 3, size, generator=g), dim=-1)
    frames = noisy(scenes.repeat_interleave(FRAMES // 3, dim=1), 1.0)
    seen = scenes[torch.arange(count), torch.randint(3, (count,), generator=g)] @ rotation
    words = noisy(seen[:, None].expand(-1, PLANTED_WORDS, -1), 2.0)
    real = torch.arange(PLANTED_WORDS) < torch.randint(4, PLANTED_WORDS + 1, (count, 1), generator=g)
    everywhere = torch.ones(count, FRAMES, dtype=torch.bool)
    return TextFeatures(noisy(seen, 1.5), words, real), VideoFeatures(frames, frames, everywhere)


def trained_recall(seed: int, dropout: float, mode: str, *, steps: int = PLANTED_STEPS) -> float:
    """Held-out text→video R@1 in percent after some steps."""
    torch.manual_seed(seed)
    settings = ModelSettings(family="tcmgc", max_words=PLANTED_WORDS, keep_rate=0.4, dropout=dropout)
    model = TextVideoModel(settings=settings, dimension=PLANTED_DIMENSION).train()
    model.similarity.attention.dropout_mode = mode
    turn = TURN * torch.randn(PLANTED_DIMENSION, PLANTED_DIMENSION)
    rotation = torch.matrix_exp(turn - turn.T)
    texts, videos = planted(800, 2 * seed, rotation)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(steps):
        rows = torch.randint(len(texts), (BATCH,))
        loss = loss_of(model.score(texts[rows], videos[rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    texts, videos = planted(1000, 2 * seed + 1, rotation)
    with torch.inference_mode():
        logits = model.eval().score(texts, videos).logits
    return 100 * float((logits.argmax(dim=1) == torch.arange(len(texts))).double().mean())


def dropout_modes() -> Figures:
    """R@1 of each way, and the paired difference between the two ways of dropout."""
    ways = {"video": (0.3, "video"), "element": (0.3, "element"), "none": (0.0, "video")}
    untrained = [trained_recall(seed, 0.0, "video", steps=0) for seed in range(PLANTED_SEEDS)]
    recalls = {"untrained": untrained}
    recalls |= {name: [trained_recall(seed, *way) for seed in range(PLANTED_SEEDS)] for name, way in ways.items()}
    figures: Figures = {name: spread(values) for name, values in recalls.items()}
    pairs = zip(recalls["video"], recalls["element"], strict=True)
    figures["video_minus_element"] = spread([video - element for video, element in pairs])
    for name, found in figures.items():
        print(f"R@1 {name:20} {found['mean']:6.2f} ± {found['standard_error']:.2f}")
    return figures | {"seeds": PLANTED_SEEDS, "steps": PLANTED_STEPS, "held_out": 1000}


def spread(values: list[float]) -> Mapping[str, Any]:
    """Mean, its standard error, and the values."""
    error = statistics.stdev(values) / len(values) ** 0.5
    return {
        "mean": round(statistics.mean(values), 2),
        "standard_error": round(error, 2),
        "values": [round(value, 1) for value in values],
    }


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=Path, help="a file of captions, for their lengths")
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.variant:
        print(json.dumps(measure_here(*json.loads(options.variant))))
        return
    full = [WORDS] * BATCH
    figures: Figures = {
        "threads": torch.get_num_threads(),
        "sizes": {"batch": BATCH, "words": WORDS, "frames": FRAMES, "dimension": DIMENSION, "keep_rate": KEEP_RATE},
        "whole_model": compare("seqTransf", full),
        "similarity_alone": compare("meanP", full),
        "batch_128": measure("span", "seqTransf", [WORDS] * LARGE_BATCH),
    }
    if options.captions is not None:
        lengths = caption_lengths(options.captions)[:BATCH]
        figures["caption_lengths"] = {
            "positions_per_text": round(sum(lengths) / len(lengths), 2),
            "whole_model": compare("seqTransf", lengths),
            "similarity_alone": compare("meanP", lengths),
        }
    figures["without_dropout_span_against_plain"] = gradient_differences()
    figures["dropout"] = dropout_modes()
    print(json.dumps(figures, indent=2))
    save("training_step", figures)


if __name__ == "__main__":
    main()
