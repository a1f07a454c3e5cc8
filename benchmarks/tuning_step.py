"""A step that tunes CLIP ViT-B/32: all its weights against LoRA, each with and without gradient checkpointing.

    python benchmarks/tuning_step.py [--pairs 4] [--frames 4] [--rank 16]

The library's own step (features, loss, gradients, BertAdam) on random pixels and token ids through a CLIP of the
published sizes with random weights, on which neither time nor memory depends. Each variant runs in a process of its
own, on one core: the processor's seconds of the best of several steps (which other programs disturb less than the
clock's), and the peak of the resident memory above what the process had before the model was made. ``numbers`` are
trained; BertAdam keeps two more of each, and there is a gradient for each.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from typing import Any

import peft  # noqa: F401 (here, so that its memory is not counted to the model)
import psutil
import torch
from results import save
from scoring import peak_mb
from transformers.models.clip.modeling_clip import CLIPModel  # noqa: F401 (as peft)

from wordframe.data import PixelBatch
from wordframe.encoders import ClipBackbone
from wordframe.train import build_model, make_recipe
from wordframe.train.build import configure, train_mode
from wordframe.train.optim import make_optimizer, parameter_groups
from wordframe.train.step import backward

WORDS, SIDE, VOCABULARY, TIMED_STEPS = 32, 224, 49_408, 3
VARIANTS = ("all weights", "all weights, checkpointing", "lora", "lora, checkpointing")
Figures = dict[str, Any]


def measure_here(variant: str, pairs: int, frames: int, rank: int) -> Figures:
    """Seconds, megabytes and trained numbers of one variant, in this process."""
    torch.set_num_threads(1)
    before = psutil.Process().memory_info().rss / 2**20
    backbone: dict[str, Any] = {"name": "x", "gradient_checkpointing": variant.endswith("checkpointing")}
    if variant.startswith("lora"):
        backbone["lora"] = {"rank": rank}
    settings = {"preset": "clip4clip-mean", "max_words": WORDS, "max_frames": frames}
    recipe = make_recipe({"name": "tuning", "model": settings, "backbone": backbone})
    text = {"vocabulary": VOCABULARY, "max_words": 77, "text_width": 512, "text_layers": 12, "text_heads": 8}
    vision = {"image_size": SIDE, "patch_size": 32, "vision_width": 768, "vision_layers": 12, "vision_heads": 12}
    model = build_model(recipe, backbone=ClipBackbone(dimension=512, **vision, **text))
    configure(model, recipe)
    train_mode(model)
    groups = parameter_groups(model, recipe.optimizer)
    optimizer = make_optimizer(groups, recipe.optimizer)
    rows = torch.arange(pairs)
    batch = PixelBatch(
        rows,
        rows,
        torch.randint(1, VOCABULARY - 1, (pairs, WORDS)),
        torch.ones(pairs, WORDS, dtype=torch.bool),
        torch.randn(pairs, frames, 3, SIDE, SIDE),
        torch.ones(pairs, frames, dtype=torch.bool),
    )
    seconds = []
    for _ in range(TIMED_STEPS):
        start = time.process_time()
        optimizer.zero_grad(set_to_none=True)
        backward(model, batch, sizes=[pairs], decorrelation=0.0)
        optimizer.step()
        seconds.append(time.process_time() - start)
    return {
        "processor_seconds": round(min(seconds), 2),
        "megabytes": round(peak_mb() - before),
        "numbers": sum(parameter.numel() for group in groups for parameter in group.parameters),
    }


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    sizes = (asked.pairs, asked.frames, asked.rank)
    if asked.variant is not None:
        print(json.dumps(measure_here(asked.variant, *sizes)))
        return
    figures: Figures = {"sizes": dict(zip(("pairs", "frames", "rank"), sizes, strict=True)), "words": WORDS}
    given = ["--pairs", str(asked.pairs), "--frames", str(asked.frames), "--rank", str(asked.rank)]
    for variant in VARIANTS:
        command = [sys.executable, __file__, "--variant", variant, *given]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        print(f"{variant:28} {found}", flush=True)
        figures[variant] = found
    whole = figures["all weights"]
    for variant in VARIANTS[1:]:
        figures[variant] |= {
            "share_of_time": round(figures[variant]["processor_seconds"] / whole["processor_seconds"], 2),
            "share_of_memory": round(figures[variant]["megabytes"] / whole["megabytes"], 2),
        }
    print(json.dumps(figures, indent=2))
    save("tuning_step", figures)


if __name__ == "__main__":
    main()
