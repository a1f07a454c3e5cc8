"""Training on two machines that share no file: each process has folders of its own, and only the first one writes.

What one machine lacks ends the run on both, with one line each; a process that waited would fail the fixture.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.contract.test_training_resume import assert_same_run, recipe_of
from tests.processes import run_machines
from wordframe.data import CacheError, FeatureBatch
from wordframe.errors import WordframeError
from wordframe.train import TrainingResult, build_model, train
from wordframe.train.made_up import MadeUpFeatures
from wordframe.train.run_folder import read_log, read_state

pytestmark = pytest.mark.slow

SAME_FOR_ALL = {"preset": "tcmgc-msrvtt", "max_words": 10, "max_frames": 4, "layers": 1, "dropout": 0.0}
"""A model that draws no random numbers, so that the number of processes changes nothing but the order of sums."""
EPOCHS, STEPS = 3, 6
WHOLE = ("whole", "shared", "gone on")
"""Runs that are not disturbed, or go on after they were."""


class Disturbed(MadeUpFeatures):
    """At its ``at``-th batch something happens to this machine."""

    def __init__(self, recipe: Any, *, at: int, happens: Callable[[], None]) -> None:
        super().__init__(recipe)
        self.at, self.happens, self.made = at, happens, 0

    def batch(self, captions: Sequence[int]) -> FeatureBatch:
        self.made += 1
        if self.made == self.at:
            self.happens()
        return super().batch(captions)


class Other(MadeUpFeatures):
    """A cache of the same name with other features."""

    fingerprint = "other"


def run(out: Path, data: MadeUpFeatures | None = None, **changes: Any) -> TrainingResult:
    recipe = recipe_of(epochs=EPOCHS, **changes)
    data = data or MadeUpFeatures(recipe)
    model = build_model(recipe, dimension=data.dimension)
    return train(recipe, data, model=model, out=out, validation=data, save_every_seconds=0, workers=1)


def told_of(out: Path, data: MadeUpFeatures | None = None, **changes: Any) -> dict[str, Any]:
    """How a run ended in this process, and what lies in its folder here."""
    try:
        result = run(out, data, **changes)
        ended: dict[str, Any] = {"steps": result.steps, "interrupted": result.interrupted}
    except WordframeError as error:
        ended = {"error": str(error), "kind": type(error).__name__}
    return {**ended, "files": sorted(str(file.relative_to(out)) for file in out.rglob("*")) if out.exists() else None}


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def lack() -> None:
    raise CacheError("features/videos-00003.safetensors: missing or damaged; the command that made the cache mends it")


def two_machines(rank: int, own: Path) -> dict[str, Any]:
    """Everything that needs both of them to go on living."""
    recipe = recipe_of(epochs=EPOCHS)

    def on_second(happens: Callable[[], None]) -> MadeUpFeatures:
        return Disturbed(recipe, at=5, happens=happens) if rank == 1 else MadeUpFeatures(recipe)

    told = {
        "whole": told_of(own / "whole"),
        "shared": told_of(own.parents[1] / "shared"),
        "stopped": told_of(own / "gone on", on_second(terminate)),
        "gone on": told_of(own / "gone on"),
        "lacking": told_of(own / "lacking", on_second(lack)),
        "unlike": told_of(own / "unlike", Other(recipe) if rank == 1 else None),
        "fewer": told_of(own / "fewer", on_second(terminate), model=SAME_FOR_ALL),
    }
    if rank == 0:
        (own / "damaged").mkdir()
        (own / "damaged" / "run.json").write_bytes((own / "whole" / "run.json").read_bytes())
        (own / "damaged" / "state.pt").write_bytes((own / "whole" / "state.pt").read_bytes()[:1000])
    told["damaged"] = told_of(own / "damaged")
    return told


def survivor(rank: int, own: Path) -> dict[str, Any]:
    """The last thing that both are at: the second one dies of it."""
    recipe = recipe_of(epochs=EPOCHS)
    return told_of(own / "orphaned", Disturbed(recipe, at=5, happens=lambda: os._exit(9)) if rank == 1 else None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("machines")


@pytest.fixture(scope="module")
def both(folder: Path) -> list[list[Any]]:
    return run_machines(two_machines, survivor, folder=folder, machines=2)


@pytest.fixture(scope="module")
def told(both: list[list[Any]]) -> list[dict[str, Any]]:
    return both[0]


@pytest.fixture
def first(folder: Path, told: list[dict[str, Any]]) -> Path:
    """The first machine's folder, once both are done."""
    return folder / "machine-0" / "work"


def test_the_first_machine_alone_writes(told: list[dict[str, Any]]) -> None:
    for name in WHOLE:
        assert [(each[name]["steps"], each[name]["interrupted"]) for each in told] == [(STEPS, False)] * 2
    assert {"state.pt", "metrics.jsonl", "report.json", "best", "last"} <= set(told[0]["whole"]["files"])
    assert len([file for file in told[0]["whole"]["files"] if "events.out" in file]) == 1
    assert all(told[1][name]["files"] is None for name in told[1] if name != "shared")


def test_machines_without_shared_files_compute_what_those_with_them_do(first: Path, folder: Path) -> None:
    assert_same_run(first / "whole", folder / "shared")


def test_a_signal_on_one_machine_ends_both_behind_the_same_step_with_the_state_written(
    told: list[dict[str, Any]],
) -> None:
    stopped = [each["stopped"] for each in told]
    assert [each["interrupted"] for each in stopped] == [True, True]
    assert stopped[0]["steps"] == stopped[1]["steps"] < STEPS
    assert "state.pt" in stopped[0]["files"]
    assert "report.json" not in stopped[0]["files"]


def test_a_run_goes_on_where_only_the_first_machine_has_its_state(first: Path) -> None:
    assert_same_run(first / "gone on", first / "whole")


def test_what_one_machine_lacks_ends_both_and_keeps_the_state(told: list[dict[str, Any]], first: Path) -> None:
    here, there = (each["lacking"] for each in told)
    assert there["kind"] == "CacheError"
    assert here["kind"] == "ProcessError"
    assert here["error"] == f"process 0 ends with process 1: {there['error']}"
    state = read_state(first / "lacking")
    assert state is not None
    assert state["done"] == len([line for line in read_log(first / "lacking" / "metrics.jsonl") if "loss" in line]) > 0


def test_machines_with_other_features_are_refused_before_anything_is_written(told: list[dict[str, Any]]) -> None:
    for each in told:
        assert each["unlike"]["kind"] == "ProcessError"
        assert each["unlike"]["files"] is None
        assert 'the processes do not agree: train_set is "other" in process 1 on ' in each["unlike"]["error"]


def test_a_damaged_state_ends_both(told: list[dict[str, Any]]) -> None:
    for each in told:
        assert "state.pt cannot be read" in each["damaged"]["error"]
        assert each["damaged"]["error"].endswith("delete it to start the run anew")


def test_a_run_goes_on_with_another_number_of_processes_in_the_same_order(
    told: list[dict[str, Any]], first: Path
) -> None:
    done = told[0]["fewer"]["steps"]
    assert 0 < done < STEPS
    assert run(first / "fewer", model=SAME_FOR_ALL).steps == STEPS
    run(first / "alone", model=SAME_FOR_ALL)
    found, expected = (
        [line["loss"] for line in read_log(first / name / "metrics.jsonl") if "loss" in line]
        for name in ("fewer", "alone")
    )
    assert found == pytest.approx(expected, rel=1e-4)
    assert abs(expected[done] - expected[done - 1]) > 1e-3 * expected[done], "batches cannot be told apart"


def test_a_machine_that_dies_ends_the_other_with_one_line(both: list[list[Any]], first: Path) -> None:
    here, there = both[1]
    assert there is None
    assert here["kind"] == "ProcessError"
    assert here["error"].startswith("process 0 has lost the others: one of them has ended or cannot be reached")
    assert "\n" not in here["error"]
    assert torch.load(first / "orphaned" / "state.pt", weights_only=True)["done"] >= 1
