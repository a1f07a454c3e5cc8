"""``wordframe train`` as a user runs it: a dry run, features, frames, videos; what is printed and how it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import typer
from safetensors.torch import load_file, save_file
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from typer.testing import CliRunner

from tests.unit.clip_models import clip_tokenizer
from tests.videos import write_video
from wordframe.cli import main
from wordframe.cli.data import cache as cache_app
from wordframe.cli.train import train as command
from wordframe.data import Split
from wordframe.encoders import ClipBackbone, load_encoder
from wordframe.errors import RecipeError, WordframeError
from wordframe.models import EncoderIdentity, load_model
from wordframe.train import CaptionSplits, TrainingSetup, make_recipe
from wordframe.train.run_folder import read_log

ROOT = Path(__file__).parents[2]
RECIPE = """
name: small
model: {preset: tcmgc-msrvtt, max_words: 10, max_frames: 4, layers: 1}
batch_size: 4
epochs: 2
"""

app = typer.Typer()
app.command()(command)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "recipe.yaml"
    file.write_text(RECIPE)
    return file


def run(*arguments: str | Path) -> str:
    """What a run in this process prints; its error is raised."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_dry_run_shows_the_schedule_and_leaves_nothing(recipe: Path, tmp_path: Path) -> None:
    output = run(recipe, "--dry-run", "3", "--set", "model.keep_rate=0.5")
    assert "4 an epoch, 3 in 0.75 epochs" in output
    assert "1 step of warm-up, then cosine" in output
    assert "head decayed  lr 0.0001, decay 0.2" in output
    assert "step 3, epoch 0.75: loss" in output
    assert "validation R@1 text→video" in output
    assert "3 steps in" in output
    assert list(tmp_path.iterdir()) == [recipe]


def test_a_dry_run_may_be_kept_and_tunes_a_tiny_clip(recipe: Path, tmp_path: Path) -> None:
    output = run(recipe, "--dry-run", "2", "--out", tmp_path / "run", "--set", "backbone=any/clip", "--json")
    report = json.loads(output)
    assert report["steps"] == 2
    assert {group["name"] for group in report["plan"]["groups"]} >= {"backbone decayed", "head decayed"}
    assert report == json.loads((tmp_path / "run" / "report.json").read_text())
    model = load_model(tmp_path / "run" / "best")
    assert model.backbone is not None
    assert model.settings.max_words == 10


def test_the_recipes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    paper = lines.index("TC-MGC, Jing, Yang, Chu, Information Fusion 2025, arXiv 2504.04707")
    row = next(number for number, line in enumerate(lines) if line.split()[0] == "tcmgc-msrvtt")
    assert row > paper
    assert lines[row].endswith("TC-MGC on MSR-VTT 1k-A: R@1 47.4 published")
    assert main(["train", "--list", "--json"]) == 0
    listed = {recipe["name"]: recipe for recipe in json.loads(capsys.readouterr().out)}
    assert listed["xclip-didemo"]["benchmark"] == "didemo"
    assert listed["xclip-didemo"]["published_t2v_recall_at_1"] == {"DiDeMo": 45.2}
    assert main(["train"]) == 2
    assert "a recipe is missing: a name that wordframe train --list shows, or a YAML file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("library", "what"),
    [("accelerate", "training, and evaluating in several processes,"), ("tensorboard", "training")],
)
def test_what_only_training_needs_is_asked_for_with_its_extra(
    recipe: Path,
    tmp_path: Path,
    library: str,
    what: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, library, None)  # as where it is not installed
    assert main(["train", str(recipe), "--dry-run", "1", "--out", str(tmp_path / "run")]) == 1
    assert capsys.readouterr().err == (
        f"wordframe: {what} needs more than the core of wordframe; install it with: pip install 'wordframe[train]'\n"
    )
    assert not (tmp_path / "run").exists()
    assert main(["train", "--list"]) == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "--out is missing"),
        (("--out", "run"), "give one of --features, --frames and --videos"),
        (("--out", "run", "--features", "a", "--frames", "b"), "give one of --features, --frames and --videos"),
        (("--out", "run", "--features", "a", "--captions", "b"), "leave --annotations and --captions out"),
        (("--out", "run", "--features", "a", "--validation-captions", "b"), "and so --validation-captions and --allow"),
        (("--out", "run", "--features", "a", "--allow-missing"), "and so --validation-captions and --allow-missing"),
        (("--out", "run", "--frames", "a", "--validation", "b"), "goes with --features"),
        (
            ("--out", "run", "--frames", "a", "--annotations", "b", "--validation-captions", "c"),
            "--validation-captions goes with --captions: a benchmark has its own",
        ),
        (("--dry-run", "1", "--features", "a"), "--dry-run makes its data up"),
        (("--dry-run", "1", "--videos", "a", "--captions", "b"), "--dry-run makes its data up"),
        (("--dry-run", "1", "--validation", "a"), "--dry-run makes its data up"),
        (("--dry-run", "1", "--allow-missing"), "--dry-run makes its data up"),
        (("--list",), "--list trains nothing; leave everything but --json out"),
        (("--out", "run", "--frames", "a"), "give --annotations of the recipe's benchmark, or --captions"),
    ],
)
def test_wrong_usage_is_told(recipe: Path, arguments: tuple[str, ...], told: str) -> None:
    done = CliRunner().invoke(app, [str(recipe), *arguments])
    assert done.exit_code == 2
    assert told in " ".join(done.output.replace("│", " ").split())


def test_what_does_not_go_together_is_told(recipe: Path, tmp_path: Path) -> None:
    captions = tmp_path / "captions.json"
    captions.write_text('{"a.mp4": "a dog"}')
    with pytest.raises(RecipeError, match="backbone names no CLIP, which frames and videos need"):
        run(recipe, "--out", tmp_path / "run", "--videos", tmp_path, "--captions", captions)
    with pytest.raises(RecipeError, match=r"data.benchmark is missing"):
        run(recipe, "--out", tmp_path / "run", "--videos", tmp_path, "--annotations", tmp_path)
    with pytest.raises(WordframeError, match="there is no feature cache"):
        run(recipe, "--out", tmp_path / "run", "--features", tmp_path)
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small CLIP, videos of several lengths, captions of two splits, and both kinds of caches."""
    folder = tmp_path_factory.mktemp("material")
    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    sizes = {"dimension": 64, "image_size": 32, "patch_size": 16, "vocabulary": len(tokenizer), "max_words": 24}
    towers = {f"{tower}_{what}": size for tower in ("vision", "text") for what, size in TOWER.items()}
    clip = ClipBackbone(**sizes, **towers).model
    with torch.no_grad():
        clip.logit_scale.fill_(torch.tensor(100.0).log())  # where a model without a CLIP starts
    for part in (
        clip,
        tokenizer,
        CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=dict.fromkeys(SIDES, 32)),
    ):
        part.save_pretrained(folder / "clip")
    (folder / "videos").mkdir()
    for number in range(8):
        write_video(folder / "videos" / f"{number}.mp4", num_frames=10 + 10 * number)
    captions = {f"{number}.mp4": [f"the dog {number}", f"video {number * 111}"] for number in range(8)}
    for split, videos in (("train", range(6)), ("val", range(6, 8))):
        told = {f"{number}.mp4": captions[f"{number}.mp4"] for number in videos}
        (folder / f"{split}.json").write_text(json.dumps(told))
        shared = ("--captions", folder / f"{split}.json", "--videos", folder / "videos", "--frames", "4")
        cached("frames", *shared, "--to", folder / "frames", "--exact", "--short-side", "32")
        cached("features", *shared, "--to", folder / "features" / split, "--encoder", folder / "clip", "--words", "10")
    return folder


TOWER = {"width": 64, "layers": 2, "heads": 2}
SIDES = ("height", "width")


def cached(*arguments: str | Path) -> None:
    done = CliRunner().invoke(cache_app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def losses(out: Path) -> list[float]:
    return [line["loss"] for line in read_log(out / "metrics.jsonl") if "loss" in line]


def test_features_frames_and_videos_train_the_same_model(recipe: Path, tmp_path: Path, material: Path) -> None:
    frozen = ("--set", f"backbone={{name: {material / 'clip'}, tuned: false}}", "--set", "optimizer.lr=1e-3")
    own = ("--captions", material / "train.json", "--validation-captions", material / "val.json")
    output = run(recipe, "--out", tmp_path / "frames", "--frames", material / "frames", *own, *frozen)
    assert "12 pairs, 0 left out of each epoch" in output
    assert "frozen" in output
    run(recipe, "--out", tmp_path / "videos", "--videos", material / "videos", *own, *frozen)
    run(recipe, "--out", tmp_path / "features", "--features", material / "features", *frozen)
    runs = [tmp_path / name for name in ("frames", "videos", "features")]
    assert losses(runs[0]) == losses(runs[1]), "exact frames are those of the decoder"
    assert losses(runs[2]) == pytest.approx(losses(runs[0]), rel=1e-2), "features are kept in float16"
    reports = [json.loads((folder / "report.json").read_text()) for folder in runs]
    assert all(report["best"]["t2v"]["queries"] == 4 for report in reports)
    assert all(report["best"]["t2v"]["gallery"] == 2 for report in reports)
    assert reports[0]["data"]["annotations"].keys() == {"train.json", "val.json"}
    assert reports[2]["data"]["features"]["encoder"] == str(material / "clip")
    model = load_model(runs[0] / "best")
    assert model.encode_text(["the dog"]).sentence.shape == (1, 64), "the checkpoint brings its vocabulary"
    on_features = load_model(runs[2] / "best")
    assert on_features.backbone is None
    encoder = load_encoder(str(material / "clip")).fingerprint
    assert on_features.trained_on == EncoderIdentity(str(material / "clip"), encoder)
    for name in ("best", "last"):
        config = json.loads((runs[2] / name / "config.json").read_text())
        assert config["trained_on"] == {"name": str(material / "clip"), "fingerprint": encoder}
    assert model.trained_on is None, "its own CLIP says whose features they are"


def test_the_documented_program_runs(tmp_path: Path, material: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    small = '"backbone=null", "data=null", "batch_size=4", "epochs=1", "model.max_words=10", "model.max_frames=4"'
    assert '["backbone=null"]' in program
    shutil.copytree(material / "features", tmp_path / "features")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(program.replace('"backbone=null"', small).replace("data=null", "data={}"), names)
    assert names["result"].steps == 3
    assert load_model(tmp_path / "run" / "best").trained_on is not None


def test_frames_and_videos_are_not_both_taken(tmp_path: Path) -> None:
    recipe = make_recipe({"name": "x", "model": "xclip", "backbone": "any/clip"})
    captions = CaptionSplits(Split("x", "train", {"a.mp4": ("a dog",)}), None, {})
    for places in ({}, {"cache": tmp_path, "videos": tmp_path}):
        with pytest.raises(ValueError, match="give one of cache= and videos=, got"):
            TrainingSetup.from_frames(recipe, captions, **places)


def test_a_tuned_clip_changes_and_needs_pixels(recipe: Path, tmp_path: Path, material: Path) -> None:
    tuned = ("--set", f"backbone={material / 'clip'}", "--set", "optimizer.backbone_lr=1e-3")
    run(
        recipe,
        "--out",
        tmp_path / "run",
        "--frames",
        material / "frames",
        "--captions",
        material / "train.json",
        *tuned,
    )
    trained, first = load_model(tmp_path / "run" / "last"), torch.load(tmp_path / "run" / "state.pt")["model"]
    assert trained.backbone is not None
    assert not (tmp_path / "run" / "best").exists(), "there was no validation set"
    name = "backbone.model.visual_projection.weight"
    start = ClipBackbone.from_weights(trained.backbone.sizes, load_safetensors(material / "clip"))
    assert torch.equal(first[name], trained.state_dict()[name])
    assert not torch.equal(first[name], start.model.visual_projection.weight)
    with pytest.raises(RecipeError, match=r"cached features leave no room for; .* say --set backbone.tuned=false"):
        run(recipe, "--out", tmp_path / "other", "--features", material / "features", *tuned)


def test_features_of_another_clip_are_refused(recipe: Path, tmp_path: Path, material: Path) -> None:
    shutil.copytree(material / "clip", tmp_path / "clip")
    weights = load_safetensors(tmp_path / "clip")
    save_file({**weights, "logit_scale": torch.tensor(1.0)}, tmp_path / "clip" / "model.safetensors", {"format": "pt"})
    other = ("--set", f"backbone={{name: {tmp_path / 'clip'}, tuned: false}}", "--set", "epochs=0.4")
    with pytest.raises(
        RecipeError, match=r"the features are of .*, but backbone.name is .*; name the same one, or say"
    ):
        run(recipe, "--out", tmp_path / "run", "--features", material / "features", *other)
    run(recipe, "--out", tmp_path / "run", "--features", material / "features", "--set", "epochs=0.4")


def load_safetensors(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_missing_videos_are_told_and_left_out_when_asked(recipe: Path, tmp_path: Path, material: Path) -> None:
    captions = tmp_path / "more.json"
    captions.write_text(json.dumps({**json.loads((material / "train.json").read_text()), "gone.mp4": "a dog"}))
    arguments = ("--frames", material / "frames", "--captions", captions, "--set", f"backbone={material / 'clip'}")
    with pytest.raises(WordframeError, match=r"1 of 7 captioned videos are not there"):
        run(recipe, "--out", tmp_path / "run", *arguments)
    run(recipe, "--out", tmp_path / "run", *arguments, "--allow-missing", "--set", "epochs=0.4")
    assert list(json.loads((tmp_path / "run" / "report.json").read_text())["data"]["left_out"]) == ["gone.mp4"]


def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(recipe: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "wordframe",
        "train",
        str(recipe),
        "--dry-run",
        "4000",
        "--out",
        str(tmp_path / "run"),
        "--set",
        "validation.every_steps=9000",
    ]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    log = tmp_path / "run" / "metrics.jsonl"
    until = time.monotonic() + 120
    while not (log.is_file() and log.read_text().count("\n") > 3) and time.monotonic() < until:
        time.sleep(0.05)
    os.kill(started.pid, signal.SIGINT)
    _, errors = started.communicate(timeout=60)
    assert started.returncode == 130, errors
    assert "the same command goes on from here" in errors
    done = log.read_text().count("\n")
    assert (tmp_path / "run" / "state.pt").is_file()
    assert 3 < done < 4000


@pytest.mark.slow
def test_torchrun_starts_several_processes(recipe: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import sys; from tests.end_to_end.test_train_command import app; app(sys.argv[1:])")
    arguments = [str(recipe), "--dry-run", "3", "--out", str(tmp_path / "run"), "--json"]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(program)]
    done = subprocess.run(
        [sys.executable, *launch, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["plan"]["processes"], report["plan"]["batch_per_process"]) == (2, [2, 2])
