"""What a recipe comes to with a training set, a model and processes: the schedule, seen before a step is made."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from wordframe.train.config import Recipe
from wordframe.train.errors import TrainingError
from wordframe.train.feeding import BatchOrder
from wordframe.train.optim import Group, rate_factor


@dataclass(frozen=True)
class GroupPlan:
    """Parameters of one rate and decay: how many tensors and numbers."""

    name: str
    lr: float
    weight_decay: float
    tensors: int
    numbers: int


@dataclass(frozen=True)
class Plan:
    """The derived schedule.

    Attributes:
        pairs: captions of the training set; left_out: those of them that each epoch leaves out.
        batch_per_process: pairs that each process takes of a batch.
        pairs_per_step: batch_size times gradient_accumulation.
        validation_every: steps, None without a validation set.
        frozen_numbers: parameters that are not trained.
    """

    pairs: int
    left_out: int
    processes: int
    device: str
    precision: str
    batch_size: int
    batch_per_process: tuple[int, ...]
    pairs_per_step: int
    steps_per_epoch: int
    epochs: float
    total_steps: int
    warmup_steps: int
    schedule: str
    validation_every: int | None
    groups: tuple[GroupPlan, ...]
    frozen_numbers: int

    def rate_factor(self, step: int) -> float:
        """What the rates of ``step`` (from 0) are multiplied by."""
        return rate_factor(step, total=self.total_steps, warmup=self.warmup_steps, schedule=self.schedule)

    def validates_after(self, steps: int) -> bool:
        """Whether the model is validated once ``steps`` steps are done; always at the end."""
        every = self.validation_every
        return every is not None and (steps % every == 0 or steps == self.total_steps)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def make_plan(
    recipe: Recipe, order: BatchOrder, groups: list[Group], *, device: str, validated: bool, frozen_numbers: int
) -> Plan:
    """The plan of ``recipe``.

    Raises:
        TrainingError: the training set does not fill a step, a process would get no pair, or nothing is to be trained.
    """
    _refuse(recipe, order, groups)
    per_epoch = order.steps_per_epoch
    total = max(1, round(recipe.epochs * per_epoch))
    pairs_per_step = recipe.batch_size * recipe.gradient_accumulation
    return Plan(
        pairs=order.pairs,
        left_out=order.pairs - per_epoch * pairs_per_step,
        processes=order.processes,
        device=device,
        precision=recipe.precision,
        batch_size=recipe.batch_size,
        batch_per_process=tuple(order.sizes),
        pairs_per_step=pairs_per_step,
        steps_per_epoch=per_epoch,
        epochs=recipe.epochs,
        total_steps=total,
        warmup_steps=math.ceil(recipe.optimizer.warmup * total),
        schedule=recipe.optimizer.schedule,
        validation_every=(recipe.validation.every_steps or per_epoch) if validated else None,
        groups=tuple(
            GroupPlan(g.name, g.lr, g.weight_decay, len(g.parameters), sum(p.numel() for p in g.parameters))
            for g in groups
        ),
        frozen_numbers=frozen_numbers,
    )


def _refuse(recipe: Recipe, order: BatchOrder, groups: list[Group]) -> None:
    if not groups:
        raise TrainingError(f"{recipe.settings.family!r} has nothing to train; choose another model")
    if order.processes > recipe.batch_size:
        raise TrainingError(
            f"{order.processes} processes cannot share batches of {recipe.batch_size} pairs; start fewer of them"
        )
    if not order.steps_per_epoch:
        needed = recipe.batch_size * recipe.gradient_accumulation
        raise TrainingError(
            f"the training set holds {order.pairs} pairs, a step takes {needed} "
            f"(batch_size {recipe.batch_size} times gradient_accumulation {recipe.gradient_accumulation}); lower them"
        )
