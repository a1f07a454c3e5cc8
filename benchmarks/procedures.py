"""Ways to tune CLIP, side by side: as published, wordframe's own, and low-rank adapters; five seeds, paired tests.

    python benchmarks/rendered_world.py make --folder DIR
    python benchmarks/rendered_world.py clip --folder DIR
    python benchmarks/procedures.py --folder DIR [--steps 40] [--seeds 5]
    python benchmarks/procedures.py                    # the table of docs/training.md, of the stored results

CLIP4Clip's mean of frames on the films of the rendered world, with the small CLIP that was trained on its pictures:
only the towers have anything to learn. Every way trains the same batches of each seed for the same number of steps and
is ranked once on the test films; ``untuned`` is where all start. Printed: R@1 in both directions, the difference from
``published`` with the paired tests of ``wordframe compare``, seconds of one core and the peak of memory a step, each
measured in a process of its own, and how far the towers' weights moved. ``published`` computes in float16, which is
slow on a CPU; on a GPU it is not. This CLIP is small, and its rates are not those of ViT-B/32: hence a second row of
``wordframe`` with a larger one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from results import FOLDER, save
from scoring import peak_mb

from wordframe.data import read_captions
from wordframe.evaluate import compare_runs, evaluate_features, summarize_seeds
from wordframe.models import TextVideoModel, load_model
from wordframe.train import CaptionSplits, Recipe, TrainingSetup, make_recipe, train
from wordframe.train.sources import HeldOutPixels
from wordframe.train.validation import encode_pixels

BATCH, FRAMES, WORDS = 16, 4, 32
WAYS: dict[str, dict[str, Any]] = {
    "published": {"procedure": "published"},
    "wordframe": {},
    "wordframe, rate 1e-4": {"optimizer": {"backbone_lr": 1e-4}},
    "LoRA, rank 8": {"backbone": {"lora": {"rank": 8}}, "optimizer": {"backbone_lr": 1e-3}},
}


def recipe_of(way: str, folder: Path, *, seed: int, steps: int, pairs: int) -> Recipe:
    """One way's recipe: ``steps`` steps over ``pairs`` captions."""
    given = WAYS[way]
    model = {"preset": "clip4clip-mean", "max_words": WORDS, "max_frames": FRAMES}
    return make_recipe(
        {
            **given,
            "name": way,
            "model": model,
            "backbone": {"name": str(folder / "clip"), **given.get("backbone", {})},
            "batch_size": BATCH,
            "epochs": steps / (pairs // BATCH),
            "seed": seed,
        }
    )


def setup_of(recipe: Recipe, folder: Path, split: str) -> TrainingSetup:
    """The films of one split, decoded when they are asked for."""
    place = folder / "world" / split
    captions = place / "captions.json"
    splits = CaptionSplits.of_files(captions, captions if split == "test" else None)
    return TrainingSetup.from_frames(recipe, splits, videos=place)


def test_ranks(model: TextVideoModel, recipe: Recipe, folder: Path) -> dict[str, list[int]]:
    """Ranks of the test films' captions and of the films."""
    held_out = setup_of(recipe, folder, "test").validation
    assert isinstance(held_out, HeldOutPixels)
    model.eval()
    texts, videos = encode_pixels(model, held_out)
    found = evaluate_features(model, texts, videos, torch.as_tensor(held_out.video_of))
    return {"t2v": found.t2v.tolist(), "v2t": found.v2t.tolist()}


def run_here(folder: Path, way: str, seed: int, steps: int) -> dict[str, Any]:
    """One run in this process, one core: ranks on the test films, what a step cost, how far the towers moved."""
    torch.set_num_threads(1)
    pairs = sum(map(len, read_captions(folder / "world" / "train" / "captions.json").values()))
    recipe = recipe_of(way, folder, seed=seed, steps=max(steps, 1), pairs=pairs)
    setup = setup_of(recipe, folder, "train")
    if not steps:
        return {"ranks": test_ranks(setup.model, recipe, folder)}
    assert setup.model.backbone is not None
    start = {name: value.detach().clone() for name, value in setup.model.backbone.named_parameters()}
    before, started = psutil.Process().memory_info().rss / 2**20, time.process_time()
    with tempfile.TemporaryDirectory() as out:
        result = train(recipe, setup.train_set, model=setup.model, out=Path(out) / "run")
        seconds = time.process_time() - started
        peak = peak_mb() - before
        tuned = load_model(Path(out) / "run" / "last")
    assert result.steps == steps
    moved = [
        (value.detach().double() - start[name].double()).square().sum()
        for name, value in tuned.backbone.named_parameters()
        if name in start
    ]
    return {
        "ranks": test_ranks(tuned, recipe, folder),
        "seconds_a_step": seconds / steps,
        "megabytes": peak,
        "moved": float(torch.stack(moved).sum().sqrt()),
    }


def run(folder: Path, way: str, seed: int, steps: int) -> dict[str, Any]:
    """``run_here`` in a process of its own."""
    command = [sys.executable, __file__, "--folder", str(folder), "--run", json.dumps([way, seed, steps])]
    found: dict[str, Any] = json.loads(
        subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
    )
    return found


def table(ways: Mapping[str, Mapping[str, Any]]) -> str:
    """The rows in Markdown; differences and p-values are those to ``published``."""
    side = "R@1 | difference, 95 % | p (queries) | p (seeds)"
    lines = [f"| | t2v {side} | v2t {side} | core-s a step | MB | moved |", f"|---|{'---:|' * 11}"]
    for way, row in ways.items():
        cells = [way]
        for recalls in (row["t2v"], row["v2t"]):
            spread = f" ± {recalls['std']:.1f}" if recalls["std"] else ""
            cells.append(f"{recalls['mean']:.1f}{spread}")
            found = recalls.get("against published")
            cells += ["", "", ""] if found is None else _difference(found)
        cells += [
            f"{row[name]:{form}}" if name in row else ""
            for name, form in (("seconds_a_step", ".1f"), ("megabytes", ".0f"), ("moved", ".2f"))
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _difference(found: Mapping[str, float]) -> list[str]:
    shown = f"{found['difference']:+.1f} [{found['low']:+.1f}, {found['high']:+.1f}]"
    return [shown, f"{found['p_queries']:.2g}", f"{found['p_seeds']:.2g}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="of the rendered world, with its CLIP")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--run", type=json.loads, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.run:
        print(json.dumps(run_here(asked.folder, *asked.run)))
        return
    if asked.folder is None:
        print(table(json.loads((FOLDER / "procedures.json").read_text())["ways"]))
        return
    runs: dict[str, list[dict[str, Any]]] = {"untuned": [run(asked.folder, "wordframe", 0, 0)] * asked.seeds}
    ranks, rows = {}, {}
    for way in ("untuned", *WAYS):
        if way in WAYS:
            runs[way] = [run(asked.folder, way, seed, asked.steps) for seed in range(asked.seeds)]
        ranks[way] = {side: np.array([found["ranks"][side] for found in runs[way]]) for side in ("t2v", "v2t")}
        row: dict[str, Any] = {
            name: statistics.mean(found[name] for found in runs[way])
            for name in ("seconds_a_step", "megabytes", "moved")
            if name in runs[way][0]
        }
        for side in ("t2v", "v2t"):
            spread = summarize_seeds(ranks[way][side])["recall_at_1"]
            row[side] = {"mean": spread.mean, "std": spread.std}
            if way != "untuned":
                against = "published" if way != "published" else "untuned"
                row[side][f"against {against}"] = asdict(
                    compare_runs(ranks[against][side], ranks[way][side])["recall_at_1"]
                )
        rows[way] = row
        print(way, json.dumps(row, indent=1), flush=True)
    films = json.loads((asked.folder / "world" / "world.json").read_text())
    print(table(rows))
    save("procedures", {"world": films, "steps": asked.steps, "seeds": asked.seeds, "batch": BATCH, "ways": rows})


if __name__ == "__main__":
    main()
