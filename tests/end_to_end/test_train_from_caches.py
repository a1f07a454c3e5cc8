"""One recipe from videos, from cached frames and from cached features: the same losses, whichever way the frames go."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.colours import write_scenes
from tests.unit import clip_models
from wordframe.cli import main
from wordframe.data import match_videos, read_captions
from wordframe.encoders import load_encoder
from wordframe.evaluate import Outcome, evaluate_cached, evaluate_videos
from wordframe.models import load_model

SCENES = [
    ("red", "blue"),
    ("green", "white"),
    ("cyan", "black"),
    ("yellow", "red"),
    ("white", "blue"),
    ("black", "red"),
]
CAPTIONS = {  # no two alike: equal captions tie, and rounding would order them
    f"{number}.mp4": [f"{name} dog runs", f"{name} old house past the sea"] if number % 2 else f"{name} red car"
    for number, name in enumerate("abcdef")
}
RECIPE = """
name: small
model: {{preset: tcmgc-msrvtt, max_words: 12, max_frames: 4, keep_rate: 0.3, heads: 2}}
backbone: {clip}
batch_size: 4
epochs: 2
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with ``videos``, ``captions.json``, ``small.yaml`` and a ``clip`` of OpenAI's proportions."""
    for tower in (clip_models._TOWER, clip_models._IMAGE):
        monkeypatch.setitem(tower, "intermediate_size", 4 * clip_models._TOWER["hidden_size"])
    clip_models.save("clip", tmp_path / "clip")
    for number, (first, second) in enumerate(SCENES):
        write_scenes(tmp_path / "videos" / f"{number}.mp4", (first, 1), (second, 2))
    (tmp_path / "captions.json").write_text(json.dumps(CAPTIONS))
    (tmp_path / "small.yaml").write_text(RECIPE.format(clip=tmp_path / "clip"))
    return tmp_path


def losses(place: Path, name: str, *source: str) -> list[float]:
    """The loss of each step of a run."""
    rate = ["--set", "optimizer.backbone_lr=1.0e-7"]
    assert main(["train", str(place / "small.yaml"), *source, *rate, "--out", str(place / name)]) == 0
    lines = (place / name / "metrics.jsonl").read_text().splitlines()
    return [line["loss"] for line in map(json.loads, lines) if "loss" in line]


@pytest.mark.slow
def test_videos_frames_and_features_train_alike(place: Path) -> None:
    captions, videos = ["--captions", str(place / "captions.json")], ["--videos", str(place / "videos")]
    held_out = ["--validation-captions", str(place / "captions.json")]
    frames, features = ["--frames", str(place / "frames")], ["--features", str(place / "features")]
    made = [*captions, *videos, "--frames", "4"]
    assert main(["cache", "frames", *made, "--exact", "--short-side", "32", "--to", str(place / "frames")]) == 0
    clip = ["--encoder", str(place / "clip"), "--words", "12"]
    for split in ("train", "val"):
        target = str(place / "features" / split)
        assert main(["cache", "features", *made, *clip, "--split", split, "--to", target]) == 0
    # at this rate of CLIP its tuning hardly shows in four steps
    slowly = ["--set", "optimizer.backbone_lr=1e-7"]
    from_videos = losses(place, "by-videos", *captions, *videos, *held_out, *slowly)
    assert len(from_videos) == 4
    assert losses(place, "by-frames", *captions, *frames, *held_out, *slowly) == from_videos
    # features know no CLIP to tune, and are kept in half precision
    from_features = losses(place, "by-features", *features, "--set", "backbone.tuned=false")
    assert from_features == pytest.approx(from_videos, abs=5e-3)
    assert load_model(place / "by-frames" / "best").backbone is not None
    assert load_model(place / "by-features" / "best").trained
    # what validation found of a checkpoint is what an evaluation finds of it, to the last digit
    for name in ("by-videos", "by-frames"):
        best = place / name / "best"
        encoder, model = load_encoder(str(best), max_words=12), load_model(best)
        matched = match_videos(place / "videos", read_captions(place / "captions.json"))
        found = evaluate_videos(matched, encoder, model, model_name=name, sampling="seconds", num_frames=4)
        assert figures(found) == validated(place / name), name
    cached = evaluate_cached(place / "features" / "val", load_model(place / "by-features" / "best"), model_name="best")
    assert figures(cached) == validated(place / "by-features")


def validated(run: Path) -> list[dict[str, float]]:
    best = json.loads((run / "report.json").read_text())["best"]
    return [best["t2v"], best["v2t"]]


def figures(outcome: Outcome) -> list[dict[str, float]]:
    return [asdict(side) for side in outcome.report.evaluation[:2]]
