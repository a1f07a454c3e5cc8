"""Trains every head, chooses by the rule of docs/text-trained.md, and only then looks at the clips that judge.

Neighbours: ``train.py`` and ``evaluate.py`` do the work, ``table.py`` shows what comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from offline_encoder import Clips
from torch import Tensor, nn

from text_trained import evaluate, real, statistics
from text_trained.captions import Captions
from text_trained.heads import OWN, RECIPES, Recipe, Score, from_captions_alone, score_of, untrained
from text_trained.stand_ins import StandIns
from text_trained.train import train

BASELINE, OTHER = "attention (zero-shot)", "mean pooling"
MORE_SEEDS = (1,)
"""Of the chosen heads: how much of their figures is the luck of one training."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Corpus:
    """Encoded captions, and which of their scenes are used."""

    captions: Captions
    scenes: NDArray[np.int64]

    def stand_ins(self, clips: Clips, seed: int) -> StandIns:
        return StandIns(self.captions, self.scenes, mean_logits=real.mean_logits(clips), seed=seed)

    def sentences(self) -> Tensor:
        first = self.captions.first
        rows = np.concatenate([np.arange(first[scene], first[scene + 1]) for scene in self.scenes])
        return self.captions.sentence[torch.from_numpy(rows)]

    def size(self) -> dict[str, int]:
        used = [self.captions.scenes[scene] for scene in self.scenes]
        return {"videos": len({scene.video for scene in used}), "captions": sum(len(scene.captions) for scene in used)}


def measure(corpora: dict[str, Corpus], fit: Clips, judge: Path, cache: Path) -> dict[str, Any]:
    """Everything the rule asks for, in its order."""
    heads = {recipe.name: trained(recipe, corpora, fit, 0, cache) for recipe in RECIPES}
    scores = {**untrained(), **from_captions_alone(corpora["people"].sentences())}
    scores |= {name: score_of(head) for name, head in heads.items()}
    galleries = evaluate.held_out(corpora["held out"].stand_ins(fit, 1))
    rows: dict[str, Row] = {
        name: {"held_out": evaluate.on_held_out(score, galleries)} for name, score in scores.items()
    }
    against(rows, scores, fit, "fit")
    chosen = choose(rows, RECIPES)
    may_ship = choose(rows, [recipe for recipe in RECIPES if recipe.sources == OWN])
    for recipe in {chosen.name: chosen, may_ship.name: may_ship}.values():
        for seed in MORE_SEEDS:
            name = f"{recipe.name}, seed {seed}"
            scores[name] = score_of(trained(recipe, corpora, fit, seed, cache))
            rows[name] = {"held_out": evaluate.on_held_out(scores[name], galleries)}
    against(rows, scores, real.judging_clips(judge, cache), "judge")
    baseline = rows[BASELINE]["judge"]
    return {
        "captions": {name: corpus.size() for name, corpus in corpora.items()},
        "real_frames": statistics.of_real_frames(fit),
        "stand_ins": statistics.of_stand_ins(corpora["held out"].stand_ins(fit, 2)),
        "chosen": {"name": chosen.name, "wins": wins(rows[chosen.name]["judge"], baseline)},
        "chosen_to_ship": {"name": may_ship.name, "wins": wins(rows[may_ship.name]["judge"], baseline)},
        "rows": rows,
    }


def trained(recipe: Recipe, corpora: dict[str, Corpus], fit: Clips, seed: int, cache: Path) -> nn.Module:
    """The head of one training, from the cache if it was done before."""
    file = cache / "heads" / f"{recipe.name.replace(' ', '_')}-{recipe.steps}-{seed}.pt"
    if file.exists():
        head = recipe.make()
        head.load_state_dict(torch.load(file, weights_only=True))
        return head.eval()
    corpus = corpora["written" if recipe.sources == OWN else "people"]
    head = train(recipe, corpus.stand_ins(fit, seed), seed=seed)
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(head.state_dict(), file)
    print(f"trained: {recipe.name}, seed {seed}", flush=True)
    return head


def against(rows: dict[str, Row], scores: dict[str, Score], clips: Clips, column: str) -> None:
    """Fill ``column`` of each row: figures on ``clips``, and the gains over both untrained rankings."""
    values = {}
    for name, score in scores.items():
        rows[name][column], values[name] = evaluate.on_clips(name, score, clips)
    for name in scores:
        rows[name][column]["over_attention"] = evaluate.gain(values[name], values[BASELINE])
        rows[name][column]["over_mean"] = evaluate.gain(values[name], values[OTHER])


def choose(rows: dict[str, Row], recipes: Sequence[Recipe]) -> Recipe:
    """The best on held-out captions of those that do not lose on the real frames of the fit."""
    allowed = [recipe for recipe in recipes if rows[recipe.name]["fit"]["over_attention"]["both"]["gain"] >= 0]
    if not allowed:
        raise SystemExit("every trained head falls below the untrained attention on the clips of --fit; none is chosen")
    return max(allowed, key=lambda recipe: float(rows[recipe.name]["held_out"]["average"]))


def wins(row: Row, baseline: Row) -> bool:
    """Whether the judging clips say so: see docs/text-trained.md."""
    gains = row["over_attention"]
    both_ways = gains["t2v"]["gain"] > 0 and gains["v2t"]["gain"] > 0
    return bool(gains["both"]["interval"][0] > 0 and both_ways and row["joined"] >= baseline["joined"])
