"""What a run tells: its progress after each step, its result, and the report in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from wordframe.evaluate import installed_versions
from wordframe.train.config import Recipe
from wordframe.train.logs import peak_memory_mb
from wordframe.train.plan import Plan
from wordframe.train.validation import METRIC, Validation


@dataclass(frozen=True)
class Progress:
    """Where a run stands after a step; validation: what was found behind this step, if it was time."""

    step: int
    total_steps: int
    epoch: float
    loss: float
    pairs_per_second: float
    seconds_left: float
    validation: Validation | None = None


@dataclass(frozen=True)
class TrainingResult:
    """What came of a run, or of the part of it until it was stopped.

    Attributes:
        out: the run's folder.
        steps: how many are done of ``plan.total_steps``.
        interrupted: stopped by a signal; the same call goes on from here.
        validations: of every validated step: step, metric, t2v and v2t.
        best: the one of them whose checkpoint is ``out/best``; None without a validation set.
        seconds: spent in steps, over all parts of the run.
    """

    out: Path
    plan: Plan
    steps: int
    interrupted: bool
    validations: tuple[Mapping[str, Any], ...]
    best: Mapping[str, Any] | None
    seconds: float


def report(
    recipe: Recipe,
    result: TrainingResult,
    *,
    data: Mapping[str, Any],
    chosen_on: str | None,
    device: torch.device,
) -> dict[str, Any]:
    """What a reader needs to judge and to repeat the run.

    data: fingerprints of the sets, and whatever the caller tells of them; chosen_on: the split that chose ``best``.
    """
    return {
        "recipe": recipe.resolved(),
        "recipe_fingerprint": recipe.fingerprint,
        "seed": recipe.seed,
        "data": dict(data),
        "plan": result.plan.to_json(),
        "steps": result.steps,
        "metric": METRIC,
        "chosen_on": chosen_on,
        "best": result.best,
        "validations": list(result.validations),
        "seconds": result.seconds,
        "peak_memory_mb": peak_memory_mb(device),
        "versions": installed_versions(),
    }
