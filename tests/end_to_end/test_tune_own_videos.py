"""From a folder of videos with captions to a search by the tuned model, by the real commands, for SigLIP 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.clip_models import save
from tests.videos import write_video
from wordframe.cli import main
from wordframe.models import load_model

SENTENCES = ["a dog runs", "a red car", "the old house by the sea", "cars drive slowly past"]


def test_own_videos_are_tuned_on_indexed_searched_and_evaluated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save("siglip2", tmp_path / "siglip2")
    (tmp_path / "videos").mkdir()
    names = [f"{number}.mp4" for number in range(6)]
    for number, name in enumerate(names):
        write_video(tmp_path / "videos" / name, num_frames=10 + 4 * number)
    captions = {name: [f"{SENTENCES[number % 4]} {number}"] for number, name in enumerate(names)}
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    out, library = tmp_path / "run", tmp_path / "library"
    files = ["--videos", str(tmp_path / "videos"), "--captions", str(tmp_path / "captions.json")]
    changes = [f"backbone.name={tmp_path / 'siglip2'}", "batch_size=2", "chunk=1", "epochs=1", "model.max_frames=2"]
    told = [part for change in [*changes, "validation.held_out=0.3"] for part in ("--set", change)]
    assert main(["train", "own-videos", *files, "--out", str(out), *told, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["contrast"] == "sigmoid"
    assert report["data"]["validation_note"] == "2 videos of 6 held out by a hash of their names"
    model = load_model(out / "best")
    assert model.logit_bias is not None
    assert not any("lora" in name for name in model.state_dict())

    checkpoint = str(out / "best")
    assert main(["index", str(tmp_path / "videos"), "--library", str(library), "--encoder", checkpoint]) == 0
    capsys.readouterr()
    assert main(["search", "a dog runs", "--library", str(library), "--model", checkpoint, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {Path(hit["path"]).name for hit in found} <= set(names)
    assert main(["evaluate", *files, "--model", checkpoint, "--frames", "2", "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    assert evaluated["t2v"]["gallery"] == 6
