"""``validation.split: none``: all of train is trained on, as published, and the last state is the result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from tests.unit.clip_models import clip_tokenizer
from tests.videos import write_video
from wordframe.cli import main
from wordframe.data import ALL_OF_TRAIN
from wordframe.encoders import ClipBackbone

RECIPE = """
name: everything
model: {preset: clip4clip-mean, max_words: 10, max_frames: 4}
data: {benchmark: msrvtt_9k_1ka}
batch_size: 4
epochs: 1
"""
TOWER = {"width": 64, "layers": 1, "heads": 2}
NONE = ("--set", "validation.split=none")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four training videos of MSR-VTT 1k-A with two captions each, and a small CLIP."""
    folder = tmp_path_factory.mktemp("msrvtt")
    tokenizer = clip_tokenizer()
    sizes = {"dimension": 64, "image_size": 32, "patch_size": 16, "vocabulary": len(tokenizer), "max_words": 24}
    towers = {f"{tower}_{what}": size for tower in ("vision", "text") for what, size in TOWER.items()}
    images = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    for part in (ClipBackbone(**sizes, **towers).model, tokenizer, images):
        part.save_pretrained(folder / "clip")
    names = [f"video{number}" for number in range(4)]
    sentences = [{"video_id": name, "caption": f"{text} {name}"} for name in names for text in ("a dog", "the sea")]
    videos = [{"video_id": name, "split": "train"} for name in names]
    (folder / "MSRVTT_data.json").write_text(json.dumps({"videos": videos, "sentences": sentences}))
    (folder / "MSRVTT_train.9k.csv").write_text("\n".join(["video_id", *names]))
    (folder / "videos").mkdir()
    for number, name in enumerate(names):
        write_video(folder / "videos" / f"{name}.mp4", num_frames=10 + 10 * number)
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


def train(place: Path, *arguments: str | Path) -> int:
    return main([str(argument) for argument in ("train", place / "recipe.yaml", *arguments)])


def cache(place: Path, *arguments: str | Path) -> int:
    shared = ("--benchmark", "msrvtt_9k_1ka", "--annotations", place, "--videos", place / "videos")
    encoder = ("--encoder", place / "clip", "--frames", "4", "--words", "10")
    return main([str(argument) for argument in ("cache", "features", *shared, *encoder, *arguments)])


def report(run: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((run / "report.json").read_text())
    return found


def test_videos(place: Path, tmp_path: Path) -> None:
    backbone = ("--set", f"backbone={{name: {place / 'clip'}, tuned: false}}")
    arguments = ("--annotations", place, "--videos", place / "videos", "--out", tmp_path / "run", *backbone, *NONE)
    assert train(place, *arguments) == 0
    told = report(tmp_path / "run")
    assert told["plan"]["pairs"] == 8  # type: ignore[index]
    assert told["data"]["train_note"] == ALL_OF_TRAIN  # type: ignore[index]
    assert told["data"]["sampling"] == "1 a second, then at most 4 spread evenly"  # type: ignore[index]
    assert (told["chosen_on"], told["best"], told["validations"]) == (None, None, [])
    assert sorted(folder.name for folder in (tmp_path / "run").glob("*st")) == ["last"]


def test_features(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cache(place, "--all-of-train", "--to", tmp_path / "all") == 0
    assert ALL_OF_TRAIN in capsys.readouterr().err
    assert train(place, "--features", tmp_path / "all", "--out", tmp_path / "run", *NONE) == 0
    told = report(tmp_path / "run")
    assert told["plan"]["pairs"] == 8  # type: ignore[index]
    assert told["data"]["features"]["note"] == ALL_OF_TRAIN  # type: ignore[index]
    assert told["chosen_on"] is None
    # the other way round, a part is missing, or what would be validated on was trained on
    assert train(place, "--features", tmp_path / "all", "--out", tmp_path / "other") == 1
    assert "so none of msrvtt_9k_1ka is left to validate on; say --set" in capsys.readouterr().err
    assert cache(place, "--to", tmp_path / "part") == 0
    assert train(place, "--features", tmp_path / "part", "--out", tmp_path / "other", *NONE) == 1
    assert "make them with wordframe cache features --all-of-train" in capsys.readouterr().err
    given = ("--features", tmp_path / "all", "--validation", tmp_path / "part", "--out", tmp_path / "other")
    assert train(place, *given, *NONE) == 1
    assert "nothing is validated; leave the validation set out" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
