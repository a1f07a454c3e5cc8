"""The folder of a run: only its own, never emptied, its files whole or the ones before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from wordframe.errors import TrainingError
from wordframe.models import load_model
from wordframe.train import build_model, make_recipe
from wordframe.train.run_folder import RunFolder, RunLog, read_log, read_state

IDENTITY = {"recipe": {"seed": 0, "optimizer": {"lr": 0.1}}, "train_set": "abc"}


def test_a_folder_takes_up_its_own_run_and_refuses_others(tmp_path: Path) -> None:
    RunFolder(tmp_path / "run", IDENTITY).close()
    RunFolder(tmp_path / "run", IDENTITY).close()
    other = {"recipe": {"seed": 0, "optimizer": {"lr": 0.2}}, "train_set": "abc"}
    with pytest.raises(
        TrainingError, match=r"holds another run: recipe.optimizer.lr is 0.1 there and 0.2 here; choose"
    ):
        RunFolder(tmp_path / "run", other)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["recipe"]["optimizer"]["lr"] == 0.1


def test_a_run_of_an_older_version_is_not_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"version": 1, **IDENTITY}))  # when "cosine" was another schedule
    with pytest.raises(TrainingError, match="holds another run: version is 1 there and 2 here; choose another folder"):
        RunFolder(tmp_path, IDENTITY)


def test_a_folder_with_other_files_or_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("five years of work")
    with pytest.raises(TrainingError, match=r"holds other files \(thesis.tex …\); choose another folder"):
        RunFolder(tmp_path, IDENTITY)
    with pytest.raises(TrainingError, match="is a file; give a folder for the run"):
        RunFolder(tmp_path / "thesis.tex", IDENTITY)
    assert (tmp_path / "thesis.tex").read_text() == "five years of work"


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    first = RunFolder(tmp_path / "run", IDENTITY)
    with pytest.raises(TrainingError, match="is in use by another process"):
        RunFolder(tmp_path / "run", IDENTITY)
    first.close()
    RunFolder(tmp_path / "run", IDENTITY).close()


def test_a_state_is_whole_or_the_one_before(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", IDENTITY)
    assert read_state(folder.path) is None
    folder.save_state({"done": 3, "weights": torch.ones(2)})
    (folder.path / ".state.4711.part.pt").write_bytes(b"the kill came here")
    state = read_state(folder.path)
    assert state is not None
    assert state["done"] == 3
    folder.save_state({"done": 4})
    folder.close()
    RunFolder(tmp_path / "run", IDENTITY).close()
    assert sorted(item.name for item in folder.path.iterdir()) == ["lock", "run.json", "state.pt"]
    (folder.path / "state.pt").write_bytes(b"not a state")
    with pytest.raises(TrainingError, match=r"state.pt cannot be read .*; delete it to start the run anew"):
        read_state(folder.path)


def test_checkpoints_replace_each_other_and_load(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", IDENTITY)
    model = build_model(make_recipe({"name": "x", "model": "clip4clip-mean"}), dimension=8)
    (folder.path / "best.part").mkdir()
    for value in (1.0, 2.0):
        with torch.no_grad():
            model.similarity.logit_scale.fill_(value)
        folder.save_model(model, "best")
    loaded = load_model(folder.path / "best")
    assert loaded.trained
    assert not model.trained
    assert loaded.similarity.logit_scale.item() == 2.0
    assert sorted(item.name for item in folder.path.iterdir()) == ["best", "lock", "run.json"]


def test_a_kill_between_two_checkpoints_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path / "run", IDENTITY)
    model = build_model(make_recipe({"name": "x", "model": "clip4clip-mean"}), dimension=8)
    folder.save_model(model, "best")
    rename = Path.replace

    def killed(path: Path, target: Path) -> Path:
        if path.name == "best.part":
            raise KeyboardInterrupt  # the old one is out of the way, the new one is not there yet
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        folder.save_model(model, "best")
    monkeypatch.setattr(Path, "replace", rename)
    folder.close()
    assert not (folder.path / "best").exists()
    RunFolder(tmp_path / "run", IDENTITY).close()
    assert load_model(folder.path / "best").trained


def test_a_folder_that_a_kill_left_before_it_was_anything_is_taken(tmp_path: Path) -> None:
    (tmp_path / ".run.4711.part.json").write_text("{")
    RunFolder(tmp_path, IDENTITY).close()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["lock", "run.json"]


def test_a_log_drops_what_is_behind_the_state_and_a_line_cut_short(tmp_path: Path) -> None:
    with RunLog(tmp_path, done=0) as log:
        for step in (1, 2, 3):
            log.add(step, {"loss": 1 / step, "lr": {"head": 0.1}})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    assert [line["step"] for line in read_log(tmp_path / "metrics.jsonl")] == [1, 2, 3]
    with RunLog(tmp_path, done=2) as log:
        log.add(3, {"loss": 0.5})
    assert [line["loss"] for line in read_log(tmp_path / "metrics.jsonl")] == [1.0, 0.5, 0.5]


def test_tensorboard_reads_the_curves(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with RunLog(tmp_path, done=0) as log:
        log.add(1, {"loss": 2.0, "lr": {"head matrices": 0.1}, "validation": {"t2v": {"recall_at_1": 50.0}}})
    curves = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert curves.Scalars("loss")[0].value == 2.0
    assert curves.Scalars("lr/head matrices")[0].step == 1
    assert curves.Scalars("validation/t2v/recall_at_1")[0].value == 50.0
