"""One process's part of a training run: a step, a validation, the state of both. ``loop.py`` decides when.

Everything that a step needs is a function of the recipe, the step's number and the state, so a run that was killed goes
on as if it had not been. ``step.py`` gives the gradients of a batch, ``optim.py`` makes the move, ``run_folder.py``
keeps what comes of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_
from torch.optim.lr_scheduler import LambdaLR

from wordframe.data import Batch, TrainingSet
from wordframe.errors import TrainingError
from wordframe.models import TextVideoModel
from wordframe.processes import failing_together, file_of_first, gather_objects
from wordframe.train.adapters import merge, merged
from wordframe.train.averaging import WeightAverage
from wordframe.train.build import train_mode
from wordframe.train.distributed import sum_gradients, sum_over_processes
from wordframe.train.optim import BertAdam, clamp_scale, make_optimizer, make_scheduler, parameter_groups
from wordframe.train.plan import BatchOrder, make_plan
from wordframe.train.recipe import HEADER, Recipe
from wordframe.train.run_folder import STATE, RunFolder, load_state
from wordframe.train.step import backward, random_state, set_random_state
from wordframe.train.validation import Validation, ValidationSet, validate

_NAMED_AT_MOST = 3


def run_identity(recipe: Recipe, train_set: TrainingSet, validation: ValidationSet | None) -> dict[str, Any]:
    """What makes a run this one, and what all its processes must have alike."""
    return {
        "recipe": {key: value for key, value in recipe.resolved().items() if key not in HEADER},
        "train_set": train_set.fingerprint,
        "validation_set": None if validation is None else validation.fingerprint,
    }


class Update(NamedTuple):
    """What a step did.

    values: loss, its parts and the gradient's norm, of the whole batch; rates: the learning rate of each group of
    parameters; stopping: some process wants to stop; saving: the first one wants to save.
    """

    values: dict[str, float]
    rates: dict[str, float]
    stopping: bool
    saving: bool


class Trainer:
    """A run's model, optimizer and data in one process, on ``device``, where ``model`` lies already.

    Attributes:
        folder: the run's, in the first process only.
        done: steps that are behind it; saved: those of the state in the folder, None where there is none.
        seconds: spent in them.
        validations, best: as in ``loop.TrainingResult``.
        average: of the weights, where the recipe wants one.
        exhausted: as many validations as the recipe's patience have brought nothing better.
    """

    def __init__(
        self,
        *,
        recipe: Recipe,
        train_set: TrainingSet,
        validation: ValidationSet | None,
        model: TextVideoModel,
        order: BatchOrder,
        device: torch.device,
    ) -> None:
        groups = parameter_groups(model, recipe.optimizer)
        self.parameters: list[nn.Parameter] = [parameter for group in groups for parameter in group.parameters]
        self.recipe, self.train_set, self.validation, self.model = recipe, train_set, validation, model
        self.order, self.device = order, device
        self.bfloat16 = recipe.precision == "bfloat16"
        trained = sum(parameter.numel() for parameter in self.parameters)
        self.plan = make_plan(
            recipe,
            order,
            groups,
            device=str(device),
            validated=validation is not None,
            frozen_numbers=sum(parameter.numel() for parameter in model.parameters()) - trained,
        )
        self.optimizer: BertAdam = make_optimizer(groups, recipe.optimizer)
        self.scheduler: LambdaLR = make_scheduler(self.optimizer, recipe.optimizer, total=self.plan.total_steps)
        self.average = None if recipe.ema is None else WeightAverage(self.parameters, decay=recipe.ema)
        self.folder: RunFolder | None = None
        self.done, self.seconds = 0, 0.0
        self.saved: int | None = None
        self.validations: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None
        self.exhausted = False

    def identity(self) -> dict[str, Any]:
        """What makes this run this one."""
        return run_identity(self.recipe, self.train_set, self.validation)

    def resume(self, out: Path) -> None:
        """Take up the state in the first process's folder, or start: generators differ by process, so that dropout
        does. The state may be of another number of processes; those that it knows nothing of draw numbers anew."""
        opened = file_of_first(out / STATE)
        # a prime apart, as the orders in ``plan.py``: processes of neighbouring seeds never draw alike
        seed = self.recipe.seed * 1_000_003 + self.order.rank
        if opened is None:
            torch.manual_seed(seed)
            return
        with opened, failing_together():
            state = load_state(opened, out / STATE)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])  # with the rates that the scheduler gave
        self.scheduler.load_state_dict(state["scheduler"])
        self.done, self.seconds = state["done"], state["seconds"]
        self.saved = self.done
        self.validations, self.best, self.exhausted = state["validations"], state["best"], state["exhausted"]
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        if self.order.rank < len(state["random"]):
            set_random_state(state["random"][self.order.rank], self.device)
        else:  # the step keeps it from drawing what it drew before
            torch.manual_seed(seed + 1_000_003**2 * self.done)

    def save(self) -> None:
        """The state of all processes, written by the first."""
        random = gather_objects(random_state(self.device))
        with failing_together():
            if self.folder is not None:
                self.folder.save_state(
                    {
                        "model": self.model.state_dict(),
                        "optimizer": self.optimizer.state_dict(),
                        "scheduler": self.scheduler.state_dict(),
                        "random": random,
                        "done": self.done,
                        "seconds": self.seconds,
                        "validations": self.validations,
                        "best": self.best,
                        "exhausted": self.exhausted,
                        "average": None if self.average is None else self.average.state_dict(),
                    }
                )
        self.saved = self.done

    def update(self, batches: Sequence[Batch], *, stop: bool, save: bool) -> Update:
        """One step: gradients of all batches and processes, clipped, and the optimizer's move.

        Raises:
            TrainingError: the loss or the gradient is not finite.
        """
        # None, not 0: BertAdam would let a parameter without a gradient drift by its decay and its old mean
        self.optimizer.zero_grad(set_to_none=True)
        shares = torch.stack([self._backward(batch, 1 / len(batches)) for batch in batches]).mean(dim=0)
        # with the shares, so that all processes stop and save behind the same step at the cost of no message more
        wishes = shares.new_tensor([float(stop), float(save and self.order.rank == 0)])
        loss, contrastive, decorrelation, stopping, saving = sum_over_processes(torch.cat([shares, wishes])).tolist()
        self._refuse_broken("loss", loss)
        sum_gradients(self.parameters)  # before clipping: the norm that is clipped is the whole batch's
        norm = float(clip_grad_norm_(self.parameters, self.recipe.optimizer.clip))
        self._refuse_broken("gradient", norm)
        rates = {group["name"]: group["lr"] for group in self.optimizer.param_groups}
        self.optimizer.step()
        self.scheduler.step()
        clamp_scale(self.model)
        if self.average is not None:
            self.average.update()
        self.done += 1
        values = {"loss": loss, "contrastive": contrastive, "decorrelation": decorrelation, "gradient_norm": norm}
        return Update(values, rates, stopping > 0, saving > 0)

    def validate(self) -> Validation | None:
        """R@1 on the validation set; the model is kept if none was better. None in all processes but the first."""
        assert self.validation is not None
        with nullcontext() if self.average is None else self.average.in_place():
            found = validate(self.model, self.validation, step=self.done, bfloat16=self.bfloat16)
        train_mode(self.model)
        with failing_together():
            if found is not None and self.folder is not None:
                self.validations.append(found.to_json())
                if self.best is None or found.metric > self.best["metric"]:
                    self.best = found.to_json()
                    self.save_model("best")
        self.exhausted = self._out_of_patience()
        return found if self.folder is not None else None

    def save_model(self, name: str) -> None:
        """Write the checkpoint ``name``: the average of the weights where there is one, adapters merged."""
        assert self.folder is not None
        with nullcontext() if self.average is None else self.average.in_place(), merged(self.model):
            self.folder.save_model(self.model, name)

    def settle(self) -> None:
        """Leave the model as it is saved. The state in the folder, written before, is what a run goes on from."""
        if self.average is not None:
            self.average.copy_into_parameters()
        merge(self.model)

    def _out_of_patience(self) -> bool:
        patience = self.recipe.validation.patience
        if patience is None:
            return False
        in_vain = sum(self.best is not None and found["step"] > self.best["step"] for found in self.validations)
        # the first process alone has ranked, and all must end behind the same step
        told = torch.tensor([float(in_vain >= patience)], device=self.device)
        return float(sum_over_processes(told)[0]) > 0

    def _backward(self, batch: Batch, weight: float) -> torch.Tensor:
        return backward(
            self.model,
            batch.to(self.device),
            sizes=self.order.sizes,
            decorrelation=self.recipe.decorrelation,
            chunk=self.recipe.chunk,
            weight=weight,
            bfloat16=self.bfloat16,
        )

    def _refuse_broken(self, what: str, value: float) -> None:
        """Raise with the batch named if ``value`` is not finite; a state in the folder stays as it is."""
        if math.isfinite(value):
            return
        captions = torch.cat(self.order.step(self.done)).tolist()
        videos = [self.train_set.video_ids[self.train_set.video_of[caption]] for caption in captions]
        epoch = self.done // self.plan.steps_per_epoch
        found = {"epoch": epoch, "step": self.done, "what": what, "value": str(value)}
        if self.folder is not None:
            self.folder.write_json("broken_batch.json", {**found, "captions": captions, "videos": videos})
        named = ", ".join(videos[:_NAMED_AT_MOST])
        kept = "no state was written before it" if self.saved is None else f"the state of step {self.saved} is kept"
        raise TrainingError(
            f"the {what} became {value} in epoch {epoch}, step {self.done}, on the batch with the videos {named} and "
            f"{max(0, len(videos) - _NAMED_AT_MOST)} more; broken_batch.json in the run's folder names all of it, and "
            f"{kept}"
        )
