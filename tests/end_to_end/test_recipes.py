"""Every recipe: its header tells the truth, and the real command takes its steps on made-up data of its shapes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wordframe.cli import main
from wordframe.data import BENCHMARKS
from wordframe.models import PRESETS
from wordframe.train import load_recipe

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "src" / "wordframe" / "recipes"
RECIPES = sorted(path for path in FOLDER.rglob("*.yaml") if path.parent.name != "own")
PUBLISHED_NAMES = {
    "msrvtt_9k_1ka": "MSR-VTT 1k-A",
    "didemo": "DiDeMo",
    "vatex": "VATEX",
    "activitynet": "ActivityNet",
}
each_recipe = pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)


def header(path: Path) -> str:
    """The comment at the top, unwrapped."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))


def test_every_published_row_has_its_recipe() -> None:
    stems = {path.stem for path in RECIPES}
    heads = ("mean", "lstm", "transformer", "tight")
    expected = {f"tcmgc-{data}" for data in ("msrvtt", "didemo", "vatex")}
    expected |= {f"ea-clip4clip-{head}-{data}" for head in heads for data in ("msrvtt", "didemo", "activitynet")}
    expected |= {f"clip4clip-{head}-msrvtt" for head in heads}
    expected |= {f"clip4clip-transformer-{data}" for data in ("didemo", "activitynet")}
    expected |= {f"xclip-{data}" for data in ("msrvtt", "didemo", "vatex", "activitynet")}
    ablations = ["uniform-attention", "without-sr", "without-sdr", "without-lsa"]
    ablations += [f"keep-{rate}" for rate in ("0.3", "0.5", "0.7", "0.9")]
    ablations += [f"only-{part}" for part in ("video-sentence", "video-word", "sentence-frame", "frame-word")]
    assert stems == expected | {f"tcmgc-msrvtt-{ablation}" for ablation in ablations}
    assert len(RECIPES) == len(stems)


@each_recipe
def test_the_header_says_what_the_recipe_does(path: Path) -> None:
    recipe, told = load_recipe(path), header(path)
    benchmark = recipe.data.benchmark
    assert benchmark is not None
    assert recipe.name == path.stem
    assert f"wordframe train {path.stem} --annotations DIR --frames FRAMES --out RUN" in told
    assert told.count(f"--benchmark {benchmark} ") == 3
    protocol = BENCHMARKS[benchmark]
    assert (recipe.settings.max_words, recipe.settings.max_frames) == (protocol.num_words, protocol.num_frames)
    for benchmark_name, number in recipe.published.items():
        assert benchmark_name == PUBLISHED_NAMES[benchmark]
        assert f"R@1 {number}" in told or f"R@1 about {number}" in told
        assert recipe.model.preset is not None
        assert PRESETS[recipe.model.preset].published[benchmark_name] == number
    assert recipe.published or "not known to us" in told
    videos = protocol.counts["train"] - protocol.held_out
    pairs = videos * {"msrvtt_9k_1ka": 20, "vatex": 10}.get(benchmark, 1)
    images = recipe.batch_size * recipe.settings.max_frames
    assert f"{pairs:,} pairs" in told
    assert f"{pairs // recipe.batch_size:,} steps an epoch, {images:,} images a step" in told


@each_recipe
def test_the_command_takes_its_steps(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(path), "--dry-run", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["recipe"]["name"] == path.stem
    assert report["recipe"]["model"] == load_recipe(path).settings.to_dict()


def test_the_recipe_for_ones_own_videos_takes_its_steps(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "own-videos", "--dry-run", "2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["recipe"]["backbone"]["lora"]["rank"] == 16
    assert {group["name"]: group["lr"] for group in report["plan"]["groups"]}["backbone matrices"] == 1e-4
    assert report["plan"]["frozen_numbers"] > 0
