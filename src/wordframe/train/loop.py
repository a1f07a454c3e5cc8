"""A training run from its plan to its report: ``train``.

It is called alike in one process and in each of several, which torchrun or ``accelerate launch`` start: the batch, the
loss and the gradients are the same. The first process alone reads and writes the run's folder. ``trainer.py`` does a
step; when to validate, to save and to stop is decided here.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from wordframe import __version__
from wordframe.data import TrainingSet
from wordframe.errors import RecipeError, needs_extra
from wordframe.evaluate import installed_versions
from wordframe.interrupts import interrupts_noted
from wordframe.models import TextVideoModel
from wordframe.processes import failing_together, refuse_unlike, start_process_group
from wordframe.train.build import configure, train_mode
from wordframe.train.distributed import copy_from_first
from wordframe.train.plan import BatchOrder, TrainingPlan, feed
from wordframe.train.recipe import Recipe
from wordframe.train.run_folder import RunFolder, RunLog
from wordframe.train.trainer import Trainer, Update, run_identity
from wordframe.train.validation import METRIC, Validation, ValidationSet

if TYPE_CHECKING:
    from accelerate import PartialState


@dataclass(frozen=True)
class TrainingProgress:
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
        steps: how many are done of ``plan.total_steps``; fewer where the recipe's patience ended the run.
        interrupted: stopped by a signal; the same call goes on from here.
        validations: of every validated step: step, metric, t2v and v2t.
        best: the one of them whose checkpoint is ``out/best``; None without a validation set.
        seconds: spent in steps, over all parts of the run.
    """

    out: Path
    plan: TrainingPlan
    steps: int
    interrupted: bool
    validations: tuple[Mapping[str, Any], ...]
    best: Mapping[str, Any] | None
    seconds: float


def train(
    recipe: Recipe,
    train_set: TrainingSet,
    *,
    model: TextVideoModel,
    out: str | Path,
    validation: ValidationSet | None = None,
    workers: int = 2,
    save_every_seconds: float = 300.0,
    about_data: Mapping[str, Any] | None = None,
    on_start: Callable[[TrainingPlan], None] = lambda plan: None,
    on_progress: Callable[[TrainingProgress], None] = lambda progress: None,
) -> TrainingResult:
    """Train ``model`` by ``recipe`` in the folder ``out``, or go on there. ``out/best`` and ``out/last`` are for
    ``load_model``; ``run_folder.py`` lists the files.

    Args:
        recipe: what to compute.
        train_set: captions and their videos.
        model: by ``build_model(recipe, …)``, or any of the recipe's settings; it is trained in place.
        out: a new folder, or that of the same run. Of several processes only the first one's is looked at.
        validation: what chooses ``best``; without it there is ``last`` alone.
        workers: threads that make batches.
        save_every_seconds: least time between two states, beside those behind validations and at a stop.
        about_data: what the report says of the data beside their fingerprints.
        on_start: called with the plan before the first step, in the first process.
        on_progress: called after each step, in the first process.

    Raises:
        TrainingError: the folder is another run's, the data do not fill a batch, or a loss or gradient is not finite.
        RecipeError: the recipe asks for what the model does not have.
        MissingExtraError: the libraries that only training needs are not installed.
        ProcessError: another process failed or is gone, or the processes were not given the same.
    """
    place, out = start_process_group(), Path(out)
    with failing_together(), needs_extra("train", "training"):
        import tensorboard  # noqa: F401 (asked for here, before anything is written)
    trainer = _make_trainer(recipe, train_set, validation, model, place)
    with ExitStack() as stack:
        log = None
        with failing_together():  # only now does the folder of a new run exist, and is that of another run refused
            if place.is_main_process:
                trainer.folder = RunFolder(out, trainer.identity())
                stack.callback(trainer.folder.close)
        trainer.resume(out)
        with failing_together():
            if trainer.folder is not None:
                on_start(trainer.plan)
                if trainer.done < trainer.plan.total_steps and not trainer.exhausted:
                    log = stack.enter_context(RunLog(out, done=trainer.done))
        stop = stack.enter_context(interrupts_noted())
        if not trainer.exhausted:
            _go_on(trainer, log, stop, workers, save_every_seconds, on_progress)
        result = _result(trainer, out)
        with failing_together():  # the others wait here, so that all is written when any of them returns
            if trainer.folder is not None and not result.interrupted:
                trainer.save_model("last")
                trainer.folder.write_json("report.json", _report(trainer, result, about_data or {}))
        trainer.settle()
    return result


def _make_trainer(
    recipe: Recipe,
    train_set: TrainingSet,
    validation: ValidationSet | None,
    model: TextVideoModel,
    place: PartialState,
) -> Trainer:
    """This process's part, with the model as the recipe wants it, on its device, and alike in all processes."""
    with failing_together():
        if recipe.validation.patience is not None and validation is None:
            raise RecipeError(
                f"{recipe.name}: validation.patience={recipe.validation.patience} needs a validation set; give one, or "
                "for captions of your own say --set validation.held_out=0.1"
            )
        configure(model, recipe)
        model.to(place.device)
    # each machine has read its own recipe, caches and model
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    refuse_unlike({"wordframe": __version__, **run_identity(recipe, train_set, validation), "the model": shapes})
    # weights that were drawn in each process may differ, and then so would all that follows
    copy_from_first([*model.parameters(), *model.buffers()])
    order = BatchOrder(
        pairs=len(train_set.video_of),
        batch_size=recipe.batch_size,
        accumulation=recipe.gradient_accumulation,
        seed=recipe.seed,
        processes=place.num_processes,
        rank=place.process_index,
    )
    return Trainer(
        recipe=recipe, train_set=train_set, validation=validation, model=model, order=order, device=place.device
    )


def _go_on(
    trainer: Trainer,
    log: RunLog | None,
    stop: threading.Event,
    workers: int,
    save_every_seconds: float,
    on_progress: Callable[[TrainingProgress], None],
) -> None:
    """Steps until the plan is done or a signal came."""
    plan, total = trainer.plan, trainer.plan.total_steps
    clock = _Clock(save_every_seconds)
    train_mode(trainer.model)
    feeding = feed(trainer.train_set, trainer.order, first_step=trainer.done, last_step=total, workers=workers)
    with closing(feeding) as batches:
        while True:
            with failing_together():  # a machine may lack what its batch is made of
                of_step = next(batches, None)
            if of_step is None:
                return
            # asked in the step, so that all processes learn of it there and end behind the same one
            update = trainer.update(of_step, stop=stop.is_set(), save=clock.save_due())
            seconds = clock.lap()
            trainer.seconds += seconds
            found = trainer.validate() if plan.validates_after(trainer.done) else None
            with failing_together():
                if log is not None:
                    left = clock.mean_seconds * (total - trainer.done)
                    on_progress(_logged(trainer, log, update, seconds, left, found))
            if update.saving or update.stopping or plan.validates_after(trainer.done) or trainer.done == total:
                trainer.save()
                clock.saved()
            if update.stopping or trainer.exhausted:
                return
            clock.start()


def _logged(
    trainer: Trainer, log: RunLog, update: Update, seconds: float, seconds_left: float, found: Validation | None
) -> TrainingProgress:
    """A step's line in the log and, where there was one, its validation's."""
    plan, done = trainer.plan, trainer.done
    speed = plan.pairs_per_step / seconds
    log.add(done, {**update.values, "lr": update.rates, **_about_step(trainer, seconds, speed)})
    if found is not None:
        log.add(done, {"validation": found.to_json()})
    epoch = done / plan.steps_per_epoch
    return TrainingProgress(done, plan.total_steps, epoch, update.values["loss"], speed, seconds_left, found)


def _about_step(trainer: Trainer, seconds: float, speed: float) -> dict[str, Any]:
    return {
        "epoch": trainer.done / trainer.plan.steps_per_epoch,
        "scale": trainer.model.scale,
        "seconds": seconds,
        "pairs_per_second": speed,
        "peak_memory_mb": _peak_memory_mb(trainer.device),
    }


def _result(trainer: Trainer, out: Path) -> TrainingResult:
    return TrainingResult(
        out=out,
        plan=trainer.plan,
        steps=trainer.done,
        interrupted=trainer.done < trainer.plan.total_steps and not trainer.exhausted,
        validations=tuple(trainer.validations),
        best=trainer.best,
        seconds=trainer.seconds,
    )


class _Clock:
    """Seconds of steps, and when it is time to save."""

    def __init__(self, save_every_seconds: float) -> None:
        self._every = save_every_seconds
        self._laps: list[float] = []
        self._saved = self._start = time.monotonic()

    @property
    def mean_seconds(self) -> float:
        """Of the last hundred steps; the very first, which warms up, is left out once there are others."""
        laps = self._laps[1:] or self._laps
        return sum(laps) / len(laps)

    def start(self) -> None:
        self._start = time.monotonic()

    def lap(self) -> float:
        """Seconds since ``start``."""
        self._laps = [*self._laps[-100:], max(time.monotonic() - self._start, 1e-9)]  # > 0: it is divided by
        return self._laps[-1]

    def save_due(self) -> bool:
        return time.monotonic() - self._saved >= self._every

    def saved(self) -> None:
        self._saved = time.monotonic()


def _report(trainer: Trainer, result: TrainingResult, about_data: Mapping[str, Any]) -> dict[str, Any]:
    """What a reader needs to judge and to repeat the run."""
    recipe, identity = trainer.recipe, trainer.identity()
    del identity["recipe"]  # it stands in full beside it
    return {
        "recipe": recipe.resolved(),
        "recipe_fingerprint": recipe.fingerprint,
        "seed": recipe.seed,
        "data": {**identity, **about_data},
        "plan": result.plan.to_json(),
        "steps": result.steps,
        "contrast": "softmax" if trainer.model.logit_bias is None else "sigmoid",
        "metric": METRIC,
        "chosen_on": None if trainer.validation is None else recipe.validation.split,
        "best": result.best,
        "validations": list(result.validations),
        "seconds": result.seconds,
        "peak_memory_mb": _peak_memory_mb(trainer.device),
        "versions": installed_versions(),
    }


def _peak_memory_mb(device: torch.device) -> float:
    """The most memory held so far: the device's, or this process's where it computes on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == "win32":
        import psutil  # comes with accelerate

        return psutil.Process().memory_info().peak_wset / 2**20
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
