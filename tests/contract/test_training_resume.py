"""Runs that are stopped or killed go on as if they had not been: the same numbers, bit for bit."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from wordframe.data import FeatureBatch
from wordframe.errors import TrainingError
from wordframe.models import load_model
from wordframe.train import Recipe, TrainingProgress, TrainingResult, build_model, make_recipe, train
from wordframe.train.made_up import MadeUpFeatures
from wordframe.train.run_folder import read_log, read_state

TIMES = ("seconds", "pairs_per_second", "peak_memory_mb")


def recipe_of(**changes: Any) -> Recipe:
    """Dropout, accumulation and chunks: everything that draws random numbers or keeps an order."""
    model = {"preset": "tcmgc-msrvtt", "max_words": 10, "max_frames": 4, "layers": 1}
    values = {"batch_size": 4, "gradient_accumulation": 2, "chunk": 2, "epochs": 6, "validation": {"every_steps": 5}}
    return make_recipe({"name": "resumed", "model": model, "optimizer": {"lr": 1e-3}, **values, **changes})


def run(out: Path, recipe: Recipe | None = None, **options: Any) -> TrainingResult:
    torch.set_num_threads(1)
    recipe = recipe or recipe_of()
    data = MadeUpFeatures(recipe)
    model = build_model(recipe, dimension=data.dimension)
    return train(recipe, data, model=model, out=out, validation=data, save_every_seconds=0, **options)


def numbers(out: Path) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in line.items() if name not in TIMES} for line in read_log(out / "metrics.jsonl")
    ]


def assert_same_run(found: Path, expected: Path) -> None:
    assert numbers(found) == numbers(expected)
    states = [read_state(folder) for folder in (found, expected)]
    assert states[0] is not None
    assert states[1] is not None
    for part in ("model", "optimizer", "scheduler", "random"):
        assert_same(states[0][part], states[1][part])
    assert states[0]["best"] == states[1]["best"]
    for name in ("best", "last"):
        files = [folder / name / "model.safetensors" for folder in (found, expected)]
        assert files[0].read_bytes() == files[1].read_bytes(), name


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, list | tuple):
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == expected


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    result = run(out)
    assert (result.steps, result.interrupted) == (12, False)
    return out


def kill_at(step: int) -> Any:
    def on_progress(progress: TrainingProgress) -> None:
        if progress.step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return on_progress


def killed_run(out: str, step: str) -> None:
    """What the process that is killed does: its line of the step is written, its state is that of the step before."""
    run(Path(out), on_progress=kill_at(int(step)))


@pytest.mark.slow
@pytest.mark.parametrize("step", [4, 11])
def test_a_killed_run_goes_on_as_if_it_had_not_been(tmp_path: Path, uninterrupted: Path, step: int) -> None:
    out = tmp_path / "killed"
    code = f"from tests.contract.test_training_resume import killed_run; killed_run({str(out)!r}, {step})"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [line["step"] for line in read_log(out / "metrics.jsonl")][-1] == step
    state = read_state(out)
    assert state is not None
    assert state["done"] == step - 1
    steps: list[int] = []
    result = run(out, on_progress=lambda progress: steps.append(progress.step))
    assert steps == list(range(step, 13))
    assert not result.interrupted
    assert_same_run(out, uninterrupted)


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_a_signal_ends_a_run_in_order(tmp_path: Path, uninterrupted: Path, number: signal.Signals) -> None:
    out = tmp_path / "stopped"
    before = signal.getsignal(number)

    def stop(progress: TrainingProgress) -> None:
        if progress.step == 3:
            signal.raise_signal(number)

    result = run(out, on_progress=stop)
    assert (result.steps, result.interrupted) == (4, True)
    assert signal.getsignal(number) == before
    assert not (out / "last").exists()
    assert not (out / "report.json").exists()
    assert run(out).steps == 12
    assert_same_run(out, uninterrupted)


def test_a_finished_run_is_left_as_it_is(tmp_path: Path, uninterrupted: Path) -> None:
    steps: list[int] = []
    before = numbers(uninterrupted)
    result = run(uninterrupted, on_progress=lambda progress: steps.append(progress.step))
    assert steps == []
    assert result.steps == 12
    assert numbers(uninterrupted) == before


def test_what_a_run_leaves_behind(uninterrupted: Path) -> None:
    lines = read_log(uninterrupted / "metrics.jsonl")
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, 13))
    assert steps[-1]["loss"] < steps[0]["loss"]
    assert set(steps[0]["lr"]) == {"head decayed", "head others"}
    rates = [line["lr"]["head others"] for line in steps]
    assert rates[:2] == pytest.approx([0.0, 1e-3 * (1 / 12) / 0.1]), "the warm-up is 0.1 of 12 steps"
    assert rates[2:] == pytest.approx([1e-3 * (1 + math.cos(math.pi * step / 12)) / 2 for step in range(2, 12)])
    assert all(line["scale"] <= 100.0001 and line["gradient_norm"] > 0 for line in steps)
    assert steps[0]["loss"] == pytest.approx(steps[0]["contrastive"] + 0.5 * steps[0]["decorrelation"], rel=1e-5)
    assert [line["step"] for line in lines if "validation" in line] == [5, 10, 12]
    report = json.loads((uninterrupted / "report.json").read_text())
    assert report["seed"] == 0
    assert report["recipe"]["optimizer"]["lr"] == 1e-3
    assert report["data"]["train_set"] == "made up"
    assert report["chosen_on"] == "val"
    assert report["best"]["metric"] == max(found["metric"] for found in report["validations"])
    assert {"torch", "wordframe"} <= set(report["versions"])
    model = load_model(uninterrupted / "best")
    assert model.trained
    assert model.settings == recipe_of().settings


def test_another_recipe_or_set_is_refused(uninterrupted: Path) -> None:
    with pytest.raises(TrainingError, match=r"recipe.seed is 0 there and 1 here; choose another folder"):
        run(uninterrupted, recipe_of(seed=1))
    recipe = recipe_of()
    data = MadeUpFeatures(recipe)
    with pytest.raises(TrainingError, match="validation_set is 'made up' there and None here"):
        train(recipe, data, model=build_model(recipe, dimension=64), out=uninterrupted)


class Broken(MadeUpFeatures):
    """One caption has a sentence that is no number."""

    def batch(self, captions: Sequence[int]) -> FeatureBatch:
        found = super().batch(captions)
        nan = found.sentence.masked_fill((found.captions == 7)[:, None], float("nan"))
        return replace(found, sentence=nan, words=nan[:, None] + 0 * found.words)


def test_a_loss_that_is_no_number_stops_with_its_batch_named(tmp_path: Path) -> None:
    recipe = recipe_of(gradient_accumulation=1, chunk=None)
    data = Broken(recipe)
    model = build_model(recipe, dimension=64)
    with pytest.raises(
        TrainingError, match=r"the loss became nan in epoch 0, step \d, on the batch with the videos made-"
    ) as stopped:
        train(recipe, data, model=model, out=tmp_path / "run", save_every_seconds=0)
    state = read_state(tmp_path / "run")
    kept = "no state was written before it" if state is None else f"the state of step {state['done']} is kept"
    assert str(stopped.value).endswith(kept)
    told = json.loads((tmp_path / "run" / "broken_batch.json").read_text())
    assert 7 in told["captions"]
    assert len(told["captions"]) == 4
    assert told["videos"] == [f"made-up-{caption}" for caption in told["captions"]]
    assert all(parameter.isfinite().all() for parameter in model.parameters()), "the update was made"
    assert len(read_log(tmp_path / "run" / "metrics.jsonl")) == told["step"]


def test_a_gradient_that_is_no_number_stops_too(tmp_path: Path) -> None:
    recipe = recipe_of(chunk=None)
    data = MadeUpFeatures(recipe)
    model = build_model(recipe, dimension=64)
    model.similarity.global_matrix.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(
        TrainingError, match=r"the gradient became nan in epoch 0, step 0.* and no state was written before it$"
    ):
        train(recipe, data, model=model, out=tmp_path / "run")
