"""The order of pairs: every pair once an epoch, the same whatever the number of processes, and made ahead in order."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from wordframe.data import FeatureBatch
from wordframe.errors import TrainingError
from wordframe.train import make_recipe
from wordframe.train.made_up import MadeUpFeatures
from wordframe.train.optim import Group
from wordframe.train.plan import BatchOrder, feed, make_plan

ORDER = BatchOrder(pairs=23, batch_size=5, accumulation=2, seed=3)


def test_an_epoch_takes_no_pair_twice_and_the_next_is_shuffled_anew() -> None:
    assert ORDER.steps_per_epoch == 2
    epochs = [torch.cat([batch for step in (0, 1) for batch in ORDER.step(2 * epoch + step)]) for epoch in range(20)]
    for epoch in epochs:
        assert len(epoch) == len(epoch.unique()) == 20
    assert not torch.equal(epochs[0], epochs[1])
    assert len(torch.cat(epochs).unique()) == 23, "what one epoch leaves out comes in others"


def test_processes_share_the_batch_of_one() -> None:
    ranks = [replace(ORDER, processes=3, rank=rank) for rank in range(3)]
    assert ranks[0].sizes == [2, 2, 1]
    for step in range(5):
        for number, whole in enumerate(ORDER.step(step)):
            assert torch.equal(torch.cat([rank.own(step)[number] for rank in ranks]), whole)


class Slow(MadeUpFeatures):
    """Batches that come out of order from their threads."""

    def __init__(self) -> None:
        super().__init__(make_recipe({"name": "x", "model": "clip4clip-mean"}))
        self.threads: set[str] = set()
        self.made = 0
        self._first = threading.Event()

    def batch(self, captions: Sequence[int]) -> FeatureBatch:
        self.threads.add(threading.current_thread().name)
        self.made += 1
        if self.made == 1:
            self._first.wait(timeout=10)  # until a later one is done
        found = super().batch(captions)
        self._first.set()
        return found


def test_batches_are_made_ahead_and_come_in_order() -> None:
    order = BatchOrder(pairs=16, batch_size=4, accumulation=1, seed=0)
    data = Slow()
    steps = list(feed(data, order, first_step=2, last_step=9, workers=2))
    assert len(data.threads) == 2
    assert [batches[0].captions.tolist() for batches in steps] == [order.own(s)[0].tolist() for s in range(2, 9)]


def test_an_error_in_a_batch_reaches_the_loop() -> None:
    class Broken(MadeUpFeatures):
        def batch(self, captions: Sequence[int]) -> FeatureBatch:
            raise OSError("the disk is gone")

    data = Broken(make_recipe({"name": "x", "model": "clip4clip-mean"}))
    order = BatchOrder(pairs=16, batch_size=4, accumulation=1, seed=0)
    with pytest.raises(OSError, match="the disk is gone"):
        next(feed(data, order, first_step=0, last_step=4, workers=2))


def plan_of(values: dict[str, object], order: BatchOrder):
    recipe = make_recipe({"name": "x", "model": "clip4clip-mean", "epochs": 5, **values})
    group = Group("head matrices", (torch.nn.Parameter(torch.zeros(2, 3)),), 1e-4, 0.2)
    return make_plan(recipe, order, [group], device="cpu", validated=True, frozen_numbers=7)


def test_the_plan_by_hand() -> None:
    plan = plan_of({"batch_size": 5, "gradient_accumulation": 2}, replace(ORDER, processes=2))
    assert (plan.steps_per_epoch, plan.total_steps, plan.warmup_steps, plan.left_out) == (2, 10, 1, 3)
    assert (plan.batch_per_process, plan.pairs_per_step, plan.validation_every) == ((3, 2), 10, 2)
    assert (plan.groups[0].tensors, plan.groups[0].numbers, plan.frozen_numbers) == (1, 6, 7)
    assert [steps for steps in range(1, 11) if plan.validates_after(steps)] == [2, 4, 6, 8, 10]
    other = plan_of(
        {"batch_size": 5, "gradient_accumulation": 2, "validation": {"every_steps": 4}, "epochs": 2.5}, ORDER
    )
    assert [steps for steps in range(1, other.total_steps + 1) if other.validates_after(steps)] == [4, 5]


def test_plans_that_cannot_be_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"holds 23 pairs, a step takes 40 \(batch_size 20 times gradient_acc"):
        plan_of({"batch_size": 20, "gradient_accumulation": 2}, replace(ORDER, batch_size=20))
    with pytest.raises(TrainingError, match="6 processes cannot share batches of 5 pairs; start fewer of them"):
        plan_of({"batch_size": 5}, replace(ORDER, processes=6))
    recipe = make_recipe({"name": "x", "model": "zero-shot"})
    with pytest.raises(TrainingError, match="'zero-shot' has nothing to train; choose another model"):
        make_plan(recipe, ORDER, [], device="cpu", validated=False, frozen_numbers=0)
