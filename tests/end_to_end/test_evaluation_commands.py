"""The real commands: a benchmark by name, a folder for the results, cached features, two runs compared, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.colours import ColourEncoder, write_scenes
from wordframe.cli import main
from wordframe.data import Split, VideoFiles, build_feature_cache

CAPTIONS = {
    "clip_a": ["red", "a red picture"],
    "clip_b": ["green", "then blue"],
    "clip_c": ["cyan"],
    "clip_d": ["white", "black"],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``videos``, MSVD's annotation files for them, and ``features`` of them by another encoder."""
    folder = tmp_path_factory.mktemp("evaluation")
    for name, colour in (("clip_a", "red"), ("clip_b", "green"), ("clip_c", "cyan")):
        write_scenes(folder / "videos" / f"{name}.mp4", (colour, 3))
    annotations = folder / "annotations"
    annotations.mkdir()
    (annotations / "msvd_captions.json").write_text(json.dumps(CAPTIONS))
    (annotations / "test_list.txt").write_text("clip_a\nclip_b\nclip_c\n")
    (annotations / "train_list.txt").write_text("clip_d\n")
    paths = {name: folder / "videos" / f"{name}.mp4" for name in ("clip_a", "clip_b", "clip_c")}
    for split in ("test", "train"):
        build_feature_cache(
            folder / "features" / split,
            Split("msvd", split, {name: tuple(CAPTIONS[name]) for name in paths}),
            VideoFiles(paths, 16),
            ColourEncoder(),
            num_frames=12,
        )
    return folder


def benchmark(place: Path, *arguments: str) -> list[str]:
    given = ["--benchmark", "msvd", "--annotations", str(place / "annotations"), "--videos", str(place / "videos")]
    return ["evaluate", *given, *arguments]


def test_a_benchmark_by_its_name(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert main(benchmark(place, "--dsl", "--qb-norm", "train", "--to", str(run), "--json")) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["protocol"], told["split"], told["gallery"], told["queries"]) == ("msvd", "test", 3, 5)
    assert told["frames"] == "1 a second, then at most 12 spread evenly"
    assert told["words"] == "at most 32 token positions, SOS and EOS included"
    assert set(told["annotations"]) == {"msvd_captions.json", "test_list.txt"}
    assert told["problems"] == ["msvd test: the annotations hold 3 videos, 670 are published"]
    assert told["post_processed"]["qb_norm"]["note"].startswith("uses a bank of 2 of 2 training captions")
    assert (told["t2v"]["queries"], told["t2v"]["gallery"], told["v2t"]["queries"]) == (5, 3, 3)
    assert told["interval_methods"]["recall"].startswith("Wilson score interval")
    ranks = np.load(run / "ranks.npz")
    assert told["t2v"]["mean_rank"] == pytest.approx(ranks["t2v"].mean())
    assert told["v2t"]["recall_at_1"] == pytest.approx(100 * (ranks["v2t"] == 1).mean())
    assert json.loads((run / "report.json").read_text()) == told
    assert main(benchmark(place, "--to", str(run))) == 1
    assert f"{run} holds an evaluation; choose another folder, or delete this one" in capsys.readouterr().err


def test_a_smaller_gallery_only_when_asked_and_labelled(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clip_a.mp4").symlink_to(place / "videos" / "clip_a.mp4")
    arguments = benchmark(place)
    arguments[-1] = str(tmp_path)
    assert main(arguments) == 1
    assert "2 of 3 captioned videos are not in the folder: 'clip_b', 'clip_c'" in capsys.readouterr().err
    assert main([*arguments, "--allow-missing"]) == 1
    shown = capsys.readouterr()
    assert "gallery 1 of 3: not comparable with published numbers." in shown.out
    assert "skipped: clip_b: not in the folder" in shown.err


def test_cached_features_need_no_video(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    features, run = place / "features", tmp_path / "run"
    arguments = ["evaluate", "--features", str(features / "test"), "--dsl", "--qb-norm", str(features / "train")]
    assert main([*arguments, "--to", str(run), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["encoder"], told["gallery"], told["t2v"]["recall_at_1"]) == ("colours (colours-1)", 3, 80.0)
    assert "unfinished" not in [file.name for file in run.iterdir()]
    assert main(["evaluate", "--features", str(features / "test"), "--model", "xclip"]) == 1
    assert "'xclip' is a preset: settings without trained weights" in capsys.readouterr().err
    assert main(["evaluate", "--features", str(tmp_path)]) == 1
    assert "there is no feature cache" in capsys.readouterr().err


def test_two_runs_compared(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    features = ["evaluate", "--features", str(place / "features" / "test")]
    runs = [str(tmp_path / name) for name in "abcd"]
    for run, frames in zip(runs, "1234", strict=True):
        assert main([*features, "--frames", frames, "--to", run]) == 0
    capsys.readouterr()
    assert main(["compare", *runs[:2], "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["differences"][runs[1]]["t2v"]["recall_at_1"]["difference"] == 0.0
    assert main(["compare", "--group", f"one={runs[0]},{runs[1]}", "--group", f"two={runs[2]},{runs[3]}"]) == 0
    shown = capsys.readouterr().out
    assert "p seed" in shown
    assert "80.0±0.0" in shown
    write_scenes(tmp_path / "more" / "clip_a.mp4", ("red", 1))
    (tmp_path / "captions.json").write_text(json.dumps({"clip_a": "red"}))
    own = ["--videos", str(tmp_path / "more"), "--captions", str(tmp_path / "captions.json")]
    assert main(["evaluate", *own, "--to", str(tmp_path / "own")]) == 0
    capsys.readouterr()
    assert main(["compare", runs[0], str(tmp_path / "own")]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "they differ in annotations, gallery, queries; evaluate both on the same annotations and the same" in line


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["evaluate"], "give --videos or --frame-cache with --captions or --benchmark, or --features"),
        (["evaluate", "--videos", "x"], "give either --captions, or --benchmark with --annotations"),
        (["evaluate", "--videos", "x", "--benchmark", "msvd"], "give either --captions, or --benchmark with"),
        (["evaluate", "--features", "x", "--videos", "y"], "--features brings its videos, captions and encoder"),
        (["evaluate", "--features", "x", "--allow-missing"], "leave their options and --allow-missing out"),
        (["evaluate", "--features", "x", "--split", "test"], "--split goes with --benchmark"),
        (["evaluate", "--videos", "x", "--captions", "y", "--split", "val"], "--split goes with --benchmark"),
        (["evaluate", "--videos", "x", "--captions", "y", "--qb-norm", "train"], "--qb-norm train goes with --bench"),
        (
            ["evaluate", "--videos", "x", "--benchmark", "msvd", "--annotations", "y", "--split", "dev"],
            "--split 'dev' is not there; use train, val, test",
        ),
        (["compare"], "give either two or more RUN folders, or two or more --group"),
        (["compare", "a"], "give at least two runs, or two groups"),
        (["compare", "a", "a"], "two runs or groups have one name"),
        (["compare", "--group", "xclip", "--group", "b=c"], "--group 'xclip' must be NAME=RUN,RUN"),
    ],
)
def test_wrong_usage_is_told(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert told in capsys.readouterr().err


def test_help_of_compare_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--help"]) == 0
    assert "wordframe compare run-a run-b" in capsys.readouterr().out
