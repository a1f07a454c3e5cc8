"""What a recipe comes to with a training set, a model and processes, before a step is made: which pairs come in which
step, and how many steps there are.

The order is a function of the seed and the epoch alone, so a resumed run needs no state for it, and the batch of a step
is the same whatever the number of processes. The pairs that do not fill the last batch of an epoch are left out of that
epoch; the next one is shuffled anew. ``loop.py`` takes what ``feed`` gives, and shows the plan.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from wordframe.data import Batch, TrainingSet
from wordframe.errors import TrainingError, counted
from wordframe.processes import even_shares
from wordframe.train.optim import Group, warmup_steps
from wordframe.train.recipe import Recipe


@dataclass(frozen=True)
class BatchOrder:
    """Which captions each batch holds.

    Attributes:
        pairs: captions of the training set.
        batch_size: pairs of a batch, over all processes.
        accumulation: batches a step.
        processes, rank: how many there are, and which is this one.
    """

    pairs: int
    batch_size: int
    accumulation: int
    seed: int
    processes: int = 1
    rank: int = 0

    @property
    def steps_per_epoch(self) -> int:
        return self.pairs // (self.batch_size * self.accumulation)

    @property
    def sizes(self) -> list[int]:
        """Pairs of a batch that each process takes."""
        return even_shares(self.batch_size, self.processes)

    def step(self, step: int) -> list[Tensor]:
        """Numbers of the captions of each batch of step ``step`` (from 0), all processes together."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = _shuffled(self.pairs, self.seed, epoch)
        first = place * self.accumulation
        return [
            order[number * self.batch_size : (number + 1) * self.batch_size]
            for number in range(first, first + self.accumulation)
        ]

    def own(self, step: int) -> list[Tensor]:
        """This process's part of ``step``."""
        first = sum(self.sizes[: self.rank])
        return [batch[first : first + self.sizes[self.rank]] for batch in self.step(step)]


@lru_cache(maxsize=2)
def _shuffled(pairs: int, seed: int, epoch: int) -> Tensor:
    # a prime apart, so that the epochs of neighbouring seeds never meet
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(pairs, generator=generator)


def feed(
    train_set: TrainingSet, order: BatchOrder, *, first_step: int, last_step: int, workers: int
) -> Generator[list[Batch], None, None]:
    """The batches of each step in ``[first_step, last_step)``, ``workers`` of them being made while one trains."""
    with ThreadPoolExecutor(workers, thread_name_prefix="batch") as pool:
        ahead: deque[list[Future[Batch]]] = deque()
        try:
            for step in range(first_step, last_step):
                ahead.append([pool.submit(train_set.batch, captions.tolist()) for captions in order.own(step)])
                # as many steps ahead as keep all threads busy, and no more: a batch of pixels is large
                if len(ahead) > max(1, -(-workers // order.accumulation)):
                    yield [batch.result() for batch in ahead.popleft()]
            while ahead:
                yield [batch.result() for batch in ahead.popleft()]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True)
class GroupPlan:
    """Parameters of one rate and decay: how many tensors and numbers."""

    name: str
    lr: float
    weight_decay: float
    tensors: int
    numbers: int


@dataclass(frozen=True)
class TrainingPlan:
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

    def validates_after(self, steps: int) -> bool:
        """Whether the model is validated once ``steps`` steps are done; always at the end."""
        every = self.validation_every
        return every is not None and (steps % every == 0 or steps == self.total_steps)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def make_plan(
    recipe: Recipe, order: BatchOrder, groups: list[Group], *, device: str, validated: bool, frozen_numbers: int
) -> TrainingPlan:
    """The plan of ``recipe``.

    Raises:
        TrainingError: the training set does not fill a step, a process would get no pair, or nothing is to be trained.
    """
    _refuse(recipe, order, groups)
    per_epoch = order.steps_per_epoch
    total = max(1, round(recipe.epochs * per_epoch))  # epochs may be a fraction, steps are whole and at least one
    pairs_per_step = recipe.batch_size * recipe.gradient_accumulation
    return TrainingPlan(
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
        warmup_steps=warmup_steps(total, recipe.optimizer.warmup),
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
            f"the training set holds {counted(order.pairs, 'pair')}, a step takes {needed} "
            f"(batch_size {recipe.batch_size} times gradient_accumulation {recipe.gradient_accumulation}); lower them"
        )
