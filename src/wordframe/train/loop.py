"""A training run from its plan to its report: ``train``.

It is called alike in one process and in each of several, which torchrun or ``accelerate launch`` start: the batch, the
loss and the gradients are the same. ``run.py`` does a step; when to validate, to save and to stop is decided here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from wordframe.data import TrainingSet
from wordframe.models import TextVideoModel
from wordframe.train.build import set_up, train_mode
from wordframe.train.config import Recipe
from wordframe.train.distributed import copy_from_first, join
from wordframe.train.feeding import BatchOrder, feed
from wordframe.train.logs import RunLog, peak_memory_mb
from wordframe.train.outcome import Progress, TrainingResult, report
from wordframe.train.plan import Plan
from wordframe.train.run import Run, ValidationSet
from wordframe.train.signals import stops_noted
from wordframe.train.state import RunFolder


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
    on_start: Callable[[Plan], None] = lambda plan: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> TrainingResult:
    """Train ``model`` by ``recipe`` in the folder ``out``, or go on there. ``out/best`` and ``out/last`` are for
    ``load_model``; ``state.py`` lists the files.

    Args:
        recipe: what to compute.
        train_set: captions and their videos.
        model: by ``build_model(recipe, …)``, or any of the recipe's settings; it is trained in place.
        out: a new folder, or that of the same run.
        validation: what chooses ``best``; without it there is ``last`` alone.
        workers: threads that make batches.
        save_every_seconds: least time between two states, beside those behind validations and at a stop.
        about_data: told in the report.
        on_start: called with the plan before the first step, in the first process.
        on_progress: called after each step, in the first process.

    Raises:
        TrainingError: the folder is another run's, the data do not fill a batch, or a loss or gradient is not finite.
        RecipeError: the recipe asks for what the model does not have.
    """
    place, out = join(), Path(out)
    set_up(model, recipe)
    model.to(place.device)
    copy_from_first([*model.parameters(), *model.buffers()])
    order = BatchOrder(
        pairs=len(train_set.video_of),
        batch_size=recipe.batch_size,
        accumulation=recipe.gradient_accumulation,
        seed=recipe.seed,
        processes=place.num_processes,
        rank=place.process_index,
    )
    run = Run(recipe=recipe, train_set=train_set, validation=validation, model=model, order=order, device=place.device)
    with ExitStack() as stack:
        log = None
        if place.is_main_process:
            run.folder = RunFolder(out, run.identity())
            stack.callback(run.folder.close)
        place.wait_for_everyone()
        run.resume(out)
        if run.folder is not None:
            on_start(run.plan)
            if run.done < run.plan.total_steps:
                log = stack.enter_context(RunLog(out, done=run.done))
        stop = stack.enter_context(stops_noted())
        _go_on(run, log, stop, workers, save_every_seconds, on_progress)
        result = _result(run, out)
        if run.folder is not None and not result.interrupted:
            run.folder.save_model(model, "last")
            data = {**run.identity(), **(about_data or {})}
            del data["recipe"]  # told in full beside it
            chosen_on = None if validation is None else recipe.validation.split
            told = report(recipe, result, data=data, chosen_on=chosen_on, device=place.device)
            run.folder.write_json("report.json", told)
        place.wait_for_everyone()
    return result


def _go_on(
    run: Run,
    log: RunLog | None,
    stop: threading.Event,
    workers: int,
    save_every_seconds: float,
    on_progress: Callable[[Progress], None],
) -> None:
    """Steps until the plan is done or a signal came."""
    plan, total = run.plan, run.plan.total_steps
    clock = _Clock(save_every_seconds)
    train_mode(run.model)
    feeding = feed(run.train_set, run.order, first_step=run.done, last_step=total, workers=workers)
    with closing(feeding) as batches:
        for of_step in batches:
            update = run.update(of_step, stop=stop.is_set(), save=clock.save_due())
            seconds = clock.lap()
            run.seconds += seconds
            found = run.validate() if plan.validates_after(run.done) else None
            if log is not None:
                speed = plan.pairs_per_step / seconds
                log.add(run.done, {**update.values, **_about_step(run, seconds, speed)})
                if found is not None:
                    log.add(run.done, {"validation": found.to_json()})
                left = clock.mean_seconds * (total - run.done)
                epoch = run.done / plan.steps_per_epoch
                on_progress(Progress(run.done, total, epoch, update.values["loss"], speed, left, found))
            if update.saving or update.stopping or plan.validates_after(run.done) or run.done == total:
                run.save()
                clock.saved()
            if update.stopping:
                return
            clock.start()


def _about_step(run: Run, seconds: float, speed: float) -> dict[str, Any]:
    return {
        "epoch": run.done / run.plan.steps_per_epoch,
        "lr": {group["name"]: group["lr"] for group in run.optimizer.param_groups},
        "scale": run.model.scale,
        "seconds": seconds,
        "pairs_per_second": speed,
        "peak_memory_mb": peak_memory_mb(run.device),
    }


def _result(run: Run, out: Path) -> TrainingResult:
    return TrainingResult(
        out=out,
        plan=run.plan,
        steps=run.done,
        interrupted=run.done < run.plan.total_steps,
        validations=tuple(run.validations),
        best=run.best,
        seconds=run.seconds,
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
        self._laps = [*self._laps[-100:], max(time.monotonic() - self._start, 1e-9)]
        return self._laps[-1]

    def save_due(self) -> bool:
        return time.monotonic() - self._saved >= self._every

    def saved(self) -> None:
        self._saved = time.monotonic()
