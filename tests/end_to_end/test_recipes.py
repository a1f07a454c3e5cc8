"""Every recipe: its header tells the truth, and the real command takes its steps on made-up data of its shapes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from docs import recipe_table
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
    "msvd": "MSVD",
    "lsmdc": "LSMDC",
}
CAPTIONS = {"msrvtt_9k_1ka": 20, "vatex": 10}
"""Of each training video, where the protocols have a number of videos that is true of all."""
PAIRS = {"msvd": 48_774, "lsmdc": 101_079}
DATA = ("msrvtt", "didemo", "activitynet", "msvd", "lsmdc")
each_recipe = pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
QUICK = [path for path in RECIPES if path.stem.endswith("msrvtt") or "without" in path.stem]
"""Each head, and each way to leave a part of one out; the others differ from these in numbers."""
each_step = pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=[] if path in QUICK else pytest.mark.slow) for path in RECIPES],
)


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
    expected |= {f"clip4clip-{head}-{data}" for head in ("mean", "transformer") for data in DATA if data != "msrvtt"}
    expected |= {f"clip4clip-mean-{data}-readme" for data in ("didemo", "activitynet")}
    expected |= {f"xclip-{data}" for data in (*DATA, "vatex")} | {f"xclip-b16-{data}" for data in DATA}
    expected |= {f"{head}-msrvtt" for head in ("xpool", "wti", "tmass")}
    ablations = ["uniform-attention", "without-lva", "without-sr", "without-sdr", "without-lsa"]
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
        preset = PRESETS[recipe.model.preset]
        assert recipe.backbone is not None
        if recipe.backbone.name.endswith("patch16"):
            assert f"{benchmark_name} {number}" in preset.note.partition("ViT-B/16:")[2]
        else:
            assert preset.published[benchmark_name] == number
    assert recipe.published or "not known to us" in told
    pairs = PAIRS.get(benchmark) or (protocol.counts["train"] - protocol.held_out) * CAPTIONS.get(benchmark, 1)
    images = recipe.batch_size * recipe.settings.max_frames
    assert f"{pairs:,} pairs" in told
    assert f"{pairs // recipe.batch_size:,} steps an epoch, {images:,} images a step" in told


@each_recipe
def test_every_value_says_where_it_is_from(path: Path) -> None:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    told = [line for line in lines if not line.startswith(("name:", "title:", "paper:")) and not line.endswith(":")]
    assert [line for line in told if not re.search(r"  # \S", line)] == [], "values without a source"
    # what the papers differ in is written out, so that its source is, too
    recipe = load_recipe(path)
    assert any(line.startswith(f"batch_size: {recipe.batch_size}  #") for line in lines)
    assert any(line.startswith(f"epochs: {recipe.epochs:g}  #") for line in lines)


def test_the_table_in_the_docs_is_of_these_recipes() -> None:
    assert recipe_table.FILE.read_text(encoding="utf-8") == recipe_table.text(), "say: make recipe-table"
    told = recipe_table.sources(ROOT / "src" / "wordframe" / "recipes" / "xclip-activitynet.yaml")
    assert told["batch_size"] == told["epochs"] == "the authors' script"


@each_step
def test_the_command_takes_its_steps(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(path), "--dry-run", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["recipe"]["name"] == path.stem
    assert report["recipe"]["model"] == load_recipe(path).settings.to_dict()


def test_the_recipe_for_ones_own_videos_takes_its_steps(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "own-videos", "--dry-run", "2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["recipe"]["backbone"]["lora"]["rank"] == 16
    assert {group["name"]: group["lr"] for group in report["plan"]["groups"]}["backbone decayed"] == 1e-4
    assert report["plan"]["frozen_numbers"] > 0
