"""A list of runs with their figures, and a training's curves as a picture."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from wordframe.cli import main
from wordframe.evaluate import RunError, list_runs
from wordframe.train import draw_curves

SIDE = {"recall_at_1": 40.0, "recall_at_5": 60.0, "recall_at_10": 70.0, "median_rank": 2.0, "mean_rank": 5.0}


def log(steps: int, *, every: int = 10) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        lines.append(
            {
                "step": step,
                "loss": 3.0 / step,
                "gradient_norm": 1.0 + math.sin(step),
                "lr": {"heads": 1e-4 * (step > 1), "backbone": 0.0},
                "pairs_per_second": 200.0,
                "scale": 100.0,
            }
        )
        if step % every == 0:
            side = SIDE | {"recall_at_1": 10.0 + step / 10, "queries": 50, "gallery": 50}
            lines.append({"step": step, "validation": {"step": step, "metric": step / 10, "t2v": side, "v2t": side}})
    return lines


def write_training(folder: Path, steps: int, *, done: bool) -> None:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"recipe": {"seed": 3}}))
    text = "".join(json.dumps(line) + "\n" for line in log(steps))
    (folder / "metrics.jsonl").write_text(text + '{"step": 999, "lo')  # a line that is being written
    if done:
        (folder / "report.json").write_text(json.dumps({"recipe": {"name": "tcmgc-msrvtt", "seed": 3}}))


def write_evaluation(folder: Path, **report: object) -> None:
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(
        json.dumps({"model": "zero-shot", "protocol": "msvd", "split": "test", **report})
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_training(tmp_path / "a" / "finished", 40, done=True)
    write_training(tmp_path / "b-running", 12, done=False)
    write_evaluation(tmp_path / "evaluations" / "test", t2v=SIDE, v2t=SIDE | {"recall_at_1": 30.0})
    number = {"value": 12.5, "interval": [1.0, 20.0]}
    write_evaluation(
        tmp_path / "moments",
        within_the_video={"recall_at_1_iou_0.5": number, "map_average": number},
        corpus_wide={"recall_at_1_iou_0.5": number},
    )
    write_evaluation(tmp_path / "odd", t2v=3)
    # what lies in a run is part of it
    write_evaluation(tmp_path / "a" / "finished" / "best" / "inner", t2v=SIDE, v2t=SIDE)
    return tmp_path


def test_runs_are_listed_with_their_figures(folder: Path) -> None:
    found = {str(Path(run.folder).relative_to(folder)): run for run in list_runs(folder)}
    assert list(found) == ["a/finished", "b-running", "evaluations/test", "moments", "odd"]
    done, running, test, moments, odd = found.values()
    assert (done.kind, done.what, done.state) == ("training", "tcmgc-msrvtt, seed 3", "done, 40 steps")
    assert done.figures == {"R@1 t2v": 14.0, "R@1 v2t": 14.0}
    assert (running.what, running.state) == ("not done yet, seed 3", "12 steps so far")
    assert (test.kind, test.what, test.figures) == (
        "evaluation",
        "zero-shot on msvd test",
        {"R@1 t2v": 40.0, "R@1 v2t": 30.0},
    )
    assert moments.figures == {"R@1 IoU 0.5": 12.5, "mAP": 12.5, "corpus R@1 IoU 0.5": 12.5}
    assert odd.state.startswith("cannot be read (")


def test_the_command_lists_them(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(folder), "--json"]) == 0
    assert [run["kind"] for run in json.loads(capsys.readouterr().out)] == [
        "training",
        "training",
        "evaluation",
        "moments",
        "evaluation",
    ]
    assert main(["runs", str(folder)]) == 0
    assert "R@1 t2v 14.0" in " ".join(capsys.readouterr().out.split())
    (tmp_path / "empty").mkdir()
    assert main(["runs", str(tmp_path / "empty")]) == 0
    assert "no runs below" in capsys.readouterr().out
    assert main(["runs", str(tmp_path / "nowhere")]) == 1
    assert "is not a folder; name one that holds runs" in capsys.readouterr().err
    with pytest.raises(RunError, match="is not a folder"):
        list_runs(tmp_path / "nowhere")


def test_curves_are_a_picture_of_the_whole_log(folder: Path) -> None:
    run = folder / "a" / "finished"
    draw_curves(run)
    first = Image.open(run / "curves.png").convert("L")
    assert first.size[0] > 1000
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log(40, every=5)))
    draw_curves(run)  # more validations: another picture, in place of the first
    second = Image.open(run / "curves.png").convert("L")
    assert first.tobytes() != second.tobytes()


def test_curves_without_a_validation_or_a_step(tmp_path: Path) -> None:
    write_training(tmp_path / "run", 3, done=False)
    draw_curves(tmp_path / "run")
    assert (tmp_path / "run" / "curves.png").stat().st_size > 1000
    (tmp_path / "none").mkdir()
    draw_curves(tmp_path / "none")
    assert not (tmp_path / "none" / "curves.png").exists()
