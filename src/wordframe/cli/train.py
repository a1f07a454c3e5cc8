"""``wordframe train``: a recipe and its data into checkpoints."""

from __future__ import annotations

import contextlib
import json as json_files
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wordframe.cli.options import JsonOption, print_json

if TYPE_CHECKING:
    from wordframe.train import Recipe, TrainingPlan, TrainingProgress, TrainingResult, TrainingSetup

_EARLY = 20
"""Steps after which the time that is left is worth a line."""


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(help="A recipe: the name of one that --list shows, or a YAML file.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the run; the same command goes on there.", show_default=False, readable=False),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            help="Features kept by wordframe cache features: the training cache, or a folder with train and val; also "
            "s3://, gs:// or az:// BUCKET/PREFIX, of which a local copy is made.",
            show_default=False,
        ),
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option(help="Feature cache that chooses the best checkpoint, or its address.", show_default=False),
    ] = None,
    frames: Annotated[
        Path | None,
        typer.Option(help="Frames kept by wordframe cache frames.", show_default=False, readable=False),
    ] = None,
    videos: Annotated[
        Path | None, typer.Option(help="Folder of the videos, decoded in passing.", show_default=False, readable=False)
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(help="Folder of the benchmark's annotation files.", show_default=False, readable=False),
    ] = None,
    captions: Annotated[
        Path | None,
        typer.Option(help="Captions of one's own videos, instead of a benchmark.", show_default=False, readable=False),
    ] = None,
    validation_captions: Annotated[
        Path | None,
        typer.Option(help="Captions of other videos of one's own, to choose the best checkpoint.", show_default=False),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe, such as optimizer.lr=1e-5; repeatable."),
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Leave out videos that are not there; the report names them.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Threads that make batches.")] = 2,
    dry_run: Annotated[
        int | None,
        typer.Option(
            "--dry-run", min=1, metavar="STEPS", help="So many steps on small made-up data.", show_default=False
        ),
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="List the recipes that come with wordframe, and train nothing.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Train a model by a recipe, from cached features, cached frames or videos.

    Keeps the best checkpoint by the validation set and the last one, a line of numbers a step (metrics.jsonl,
    TensorBoard) and a report. A run that was cut short goes on exactly where it was. Several processes: put
    accelerate launch, or torchrun --nproc-per-node N -m, before wordframe.

    Examples:

        wordframe train --list

        wordframe train tcmgc-msrvtt --features features --set backbone.tuned=false --out run

        wordframe train tcmgc-msrvtt --annotations msrvtt --frames frames --out run

        wordframe train my-recipe.yaml --dry-run 3
    """
    data = (features, validation, frames, videos, annotations, captions, validation_captions)
    has_data = allow_missing or any(given is not None for given in data)
    if list_:
        if has_data or set_ or any(given is not None for given in (recipe, out, dry_run)):
            raise typer.BadParameter("--list trains nothing; leave everything but --json out")
        _list_recipes(as_json=json)
        return
    if recipe is None:
        raise typer.BadParameter("a recipe is missing: a name that wordframe train --list shows, or a YAML file")
    if dry_run is not None and has_data:
        raise typer.BadParameter(
            "--dry-run makes its data up; leave the options that name data, and --allow-missing, out"
        )

    from wordframe.processes import end_process_group, failing_together, start_process_group
    from wordframe.train import TrainingSetup, dry_run_recipe, load_recipe

    with contextlib.ExitStack() as stack:
        stack.callback(end_process_group)
        place = start_process_group()
        with failing_together():  # what one machine lacks ends the run on all
            loaded = load_recipe(recipe, set_ or ())
            if dry_run is not None:
                loaded = dry_run_recipe(loaded, steps=dry_run)
                setup = TrainingSetup.made_up(loaded)
                folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory())) / "run"
            else:
                if out is None:
                    raise typer.BadParameter("--out is missing: the folder of the run")
                folder = out
                setup = _open(
                    loaded,
                    features,
                    validation,
                    frames,
                    videos,
                    annotations,
                    captions,
                    validation_captions,
                    allow_missing,
                )
        result = _run(loaded, setup, folder, workers, quiet=json)
        if not place.is_main_process:
            if result.interrupted:
                raise typer.Exit(130)
            return
        if dry_run is None or out is not None:
            _draw(folder)
        if json and not result.interrupted:
            print_json(json_files.loads((folder / "report.json").read_text(encoding="utf-8")))
    _print_result(result, kept=dry_run is None or out is not None, quiet=json)
    if result.interrupted:
        raise typer.Exit(130)


def _list_recipes(*, as_json: bool) -> None:
    """The recipes under the paper that each follows."""
    from wordframe.train import shipped_recipes

    recipes = shipped_recipes()
    if as_json:
        print_json(
            [
                {
                    "name": recipe.name,
                    "title": recipe.title,
                    "paper": recipe.paper,
                    "benchmark": recipe.data.benchmark,
                    "published_t2v_recall_at_1": dict(recipe.published),
                }
                for recipe in recipes
            ]
        )
        return
    width = max(len(recipe.name) for recipe in recipes)
    by_paper: dict[str, list[Recipe]] = {}
    for recipe in recipes:
        by_paper.setdefault(recipe.paper, []).append(recipe)
    for paper, several in by_paper.items():
        print(paper)
        for recipe in several:
            numbers = ", ".join(map(str, recipe.published.values()))
            print(f"  {recipe.name:<{width}}  {recipe.title}" + (f": R@1 {numbers} published" if numbers else ""))


def _open(
    recipe: Recipe,
    features: str | None,
    validation: str | None,
    frames: Path | None,
    videos: Path | None,
    annotations: Path | None,
    captions: Path | None,
    validation_captions: Path | None,
    allow_missing: bool,
) -> TrainingSetup:
    from wordframe.train import CaptionSplits, TrainingSetup

    if [features, frames, videos].count(None) != 2:
        raise typer.BadParameter("give one of --features, --frames and --videos: what to train on")
    if features is not None:
        if allow_missing or any(given is not None for given in (annotations, captions, validation_captions)):
            raise typer.BadParameter(
                "--features brings its captions; leave --annotations and --captions out, and so --validation-captions "
                "and --allow-missing (--validation is another cache)"
            )
        return TrainingSetup.from_features(recipe, features, validation)
    if validation is not None:
        raise typer.BadParameter("--validation is a feature cache and goes with --features")
    if (annotations is None) == (captions is None):
        raise typer.BadParameter("give --annotations of the recipe's benchmark, or --captions of your own")
    if captions is None and validation_captions is not None:
        raise typer.BadParameter("--validation-captions goes with --captions: a benchmark has its own")
    if captions is not None:
        found = CaptionSplits.of_files(captions, validation_captions, held_out=recipe.validation.held_out)
    else:
        assert annotations is not None
        found = CaptionSplits.of_benchmark(recipe, annotations)
    for problem in found.problems:
        print(f"note: {problem}", file=sys.stderr)
    return TrainingSetup.from_frames(recipe, found, cache=frames, videos=videos, allow_missing=allow_missing)


def _run(recipe: Recipe, setup: TrainingSetup, folder: Path, workers: int, *, quiet: bool) -> TrainingResult:
    from wordframe.train import train as run_training

    with _shown(quiet) as (on_start, on_progress):
        return run_training(
            recipe,
            setup.train_set,
            model=setup.model,
            out=folder,
            validation=setup.validation,
            workers=workers,
            about_data=setup.about,
            on_start=on_start,
            on_progress=on_progress,
        )


@contextlib.contextmanager
def _shown(quiet: bool) -> Iterator[tuple[Callable[[TrainingPlan], None], Callable[[TrainingProgress], None]]]:
    """The plan before the first step, a bar, and a line for each validation; nothing where JSON is wanted."""
    from wordframe.cli._terminal import counting_progress

    with contextlib.ExitStack() as stack:
        bars: list[Callable[[int], None]] = []
        steps = 0

        def on_start(plan: TrainingPlan) -> None:
            if not quiet:
                _print_plan(plan)
                bars.append(stack.enter_context(counting_progress("Training", plan.total_steps)))

        def on_progress(progress: TrainingProgress) -> None:
            nonlocal steps
            steps += 1
            if quiet:
                return
            bars[0](progress.step)
            for line in _lines(progress, early=steps == min(_EARLY, progress.total_steps)):
                print(line)

        yield on_start, on_progress


def _lines(progress: TrainingProgress, *, early: bool) -> list[str]:
    from wordframe.cli._terminal import duration

    lines = []
    if early and progress.step < progress.total_steps:
        lines.append(
            f"step {progress.step:,} of {progress.total_steps:,}: loss {progress.loss:.4f}, "
            f"{progress.pairs_per_second:.0f} pairs/s, about {duration(progress.seconds_left)} left"
        )
    if (found := progress.validation) is not None:
        lines.append(
            f"step {progress.step:,}, epoch {progress.epoch:.2f}: loss {progress.loss:.4f}, validation R@1 "
            f"text→video {found.t2v.recall_at_1:.1f}, video→text {found.v2t.recall_at_1:.1f}"
        )
    return lines


def _print_plan(plan: TrainingPlan) -> None:
    from wordframe.errors import counted

    per_process = "+".join(map(str, plan.batch_per_process))
    spread = f" ({per_process} over {plan.processes} processes)" if plan.processes > 1 else ""
    validated = (
        "none: there is no validation set"
        if plan.validation_every is None
        else (f"every {counted(plan.validation_every, 'step')}")
    )
    rows = [
        ("data", f"{counted(plan.pairs, 'pair')}, {plan.left_out:,} left out of each epoch"),
        ("batch", f"{plan.batch_size:,} pairs in one loss{spread}, {plan.pairs_per_step:,} a step"),
        ("steps", f"{plan.steps_per_epoch:,} an epoch, {plan.total_steps:,} in {plan.epochs:g} epochs"),
        ("rates", f"{counted(plan.warmup_steps, 'step')} of warm-up, then {plan.schedule}"),
        ("validation", validated),
        ("device", f"{plan.device}, {plan.precision}"),
    ]
    rows += [
        (
            group.name,
            f"lr {group.lr:g}, decay {group.weight_decay:g}: {counted(group.numbers, 'number')} in "
            f"{counted(group.tensors, 'tensor')}",
        )
        for group in plan.groups
    ]
    if plan.frozen_numbers:
        rows.append(("frozen", f"{plan.frozen_numbers:,} numbers"))
    width = max(len(name) for name, _ in rows)
    print("\n".join(f"{name:<{width}}  {value}" for name, value in rows))


def _draw(folder: Path) -> None:
    """The picture needs a library that not everybody has, and no training is lost for it."""
    from wordframe.errors import MissingExtraError
    from wordframe.train import draw_curves

    try:
        draw_curves(folder)
    except MissingExtraError as error:
        print(f"curves.png was left out: {error}", file=sys.stderr)


def _print_result(result: TrainingResult, *, kept: bool, quiet: bool) -> None:
    from wordframe.cli._terminal import duration

    if result.interrupted:
        print(
            f"interrupted after step {result.steps:,} of {result.plan.total_steps:,}: "
            "the same command goes on from here",
            file=sys.stderr,
        )
    elif not quiet:
        where = f"; checkpoints in {result.out}" if kept else ""
        early = ", ended early: validation found nothing better" if result.steps < result.plan.total_steps else ""
        print(f"{result.steps:,} steps in {duration(result.seconds)}{early}{where}")
        if result.best is not None and kept:
            print(f"best: step {result.best['step']:,}, mean R@1 of both directions {result.best['metric']:.1f}")
