"""One process's part of a training run: an update, a validation, the state of both. ``loop.py`` decides when.

Everything that a step needs is a function of the recipe, the step's number and the state, so a run that was killed goes
on as if it had not been.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate.utils import gather_object
from torch import nn
from torch.nn.utils import clip_grad_norm_

from wordframe.data import Batch, TrainingSet
from wordframe.models import TextVideoModel
from wordframe.train.build import train_mode
from wordframe.train.config import HEADER, Recipe
from wordframe.train.distributed import sum_gradients, sum_over_processes
from wordframe.train.errors import TrainingError
from wordframe.train.feeding import BatchOrder
from wordframe.train.optim import BertAdam, clamp_scale, make_optimizer, parameter_groups, set_rates
from wordframe.train.plan import make_plan
from wordframe.train.randomness import random_state, set_random_state
from wordframe.train.state import RunFolder, read_state
from wordframe.train.step import backward
from wordframe.train.validation import FeatureValidation, PixelValidation, Validation, validate

ValidationSet = FeatureValidation | PixelValidation
_NAMED_AT_MOST = 3


class Update(NamedTuple):
    """An update in numbers of the whole batch, and whether some process wants to stop and the first one to save."""

    values: dict[str, float]
    stopping: bool
    saving: bool


class Run:
    """The parts of a run in one process, on ``device``, where ``model`` lies already.

    Attributes:
        folder: the run's, in the first process only.
        done: steps that are behind it.
        seconds: spent in them.
        validations, best: as in ``outcome.TrainingResult``.
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
        self.folder: RunFolder | None = None
        self.done, self.seconds = 0, 0.0
        self.validations: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None

    def identity(self) -> dict[str, Any]:
        """What makes this run this one."""
        return {
            "recipe": {key: value for key, value in self.recipe.resolved().items() if key not in HEADER},
            "train_set": self.train_set.fingerprint,
            "validation_set": None if self.validation is None else self.validation.fingerprint,
            "processes": self.order.processes,
        }

    def resume(self, out: Path) -> None:
        """Take up the state in the folder, or start: generators differ by process, so that dropout does."""
        state = read_state(out)
        if state is None:
            torch.manual_seed(self.recipe.seed * 1_000_003 + self.order.rank)
            return
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.done, self.seconds = state["done"], state["seconds"]
        self.validations, self.best = state["validations"], state["best"]
        set_random_state(state["random"][self.order.rank], self.device)

    def save(self) -> None:
        """The state of all processes, written by the first."""
        random = gather_object([random_state(self.device)])
        if self.folder is not None:
            self.folder.save_state(
                {
                    "model": self.model.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "random": random,
                    "done": self.done,
                    "seconds": self.seconds,
                    "validations": self.validations,
                    "best": self.best,
                }
            )

    def update(self, batches: Sequence[Batch], *, stop: bool, save: bool) -> Update:
        """One step: gradients of all batches and processes, clipped, and the optimizer's move.

        Raises:
            TrainingError: the loss or the gradient is not finite.
        """
        set_rates(self.optimizer, self.plan.rate_factor(self.done))
        self.optimizer.zero_grad(set_to_none=True)
        shares = torch.stack([self._backward(batch, 1 / len(batches)) for batch in batches]).mean(dim=0)
        wishes = shares.new_tensor([float(stop), float(save and self.order.rank == 0)])
        loss, contrast, apart, stopping, saving = sum_over_processes(torch.cat([shares, wishes])).tolist()
        self._refuse_broken("loss", loss)
        sum_gradients(self.parameters)
        norm = float(clip_grad_norm_(self.parameters, self.recipe.optimizer.clip))
        self._refuse_broken("gradient", norm)
        self.optimizer.step()
        clamp_scale(self.model)
        self.done += 1
        values = {"loss": loss, "contrastive": contrast, "decorrelation": apart, "gradient_norm": norm}
        return Update(values, stopping > 0, saving > 0)

    def validate(self) -> Validation | None:
        """R@1 on the validation set; the model is kept if none was better. None in all processes but the first."""
        assert self.validation is not None
        found = validate(self.model, self.validation, step=self.done, bfloat16=self.bfloat16)
        train_mode(self.model)
        if found is None or self.folder is None:
            return None
        self.validations.append(found.to_json())
        if self.best is None or found.metric > self.best["metric"]:
            self.best = found.to_json()
            self.folder.save_model(self.model, "best")
        return found

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
        """Raise with the batch named if ``value`` is not finite; the state before it stays as it is."""
        if math.isfinite(value):
            return
        captions = torch.cat(self.order.step(self.done)).tolist()
        videos = [self.train_set.video_ids[self.train_set.video_of[caption]] for caption in captions]
        epoch = self.done // self.plan.steps_per_epoch
        told = {"epoch": epoch, "step": self.done, "what": what, "value": str(value)}
        if self.folder is not None:
            self.folder.write_json("broken_batch.json", {**told, "captions": captions, "videos": videos})
        named = ", ".join(videos[:_NAMED_AT_MOST])
        raise TrainingError(
            f"the {what} became {value} in epoch {epoch}, step {self.done}, on the batch with the videos {named} and "
            f"{max(0, len(videos) - _NAMED_AT_MOST)} more; broken_batch.json in the run's folder names all of it, and "
            "the state before it is kept"
        )
