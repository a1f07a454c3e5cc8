"""``wordframe data``: what is known and what is there, on real files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.colours import write_scenes
from wordframe.cli import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three videos: one good, one cut short, one that is none; a fourth is captioned and not there."""
    videos = tmp_path / "videos"
    videos.mkdir()
    write_scenes(videos / "good.mp4", ("red", 1), ("blue", 1))
    whole = (videos / "good.mp4").read_bytes()
    (videos / "noise.mp4").write_bytes(b"no video" * 100)
    (videos / "headless.mp4").write_bytes(whole[: len(whole) // 3])
    captions = {"good.mp4": "red, then blue", "noise.mp4": "noise", "headless.mp4": "cut", "gone.mp4": "gone"}
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    return tmp_path


def test_check_tells_what_is_missing_and_broken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = folder / "deep" / "report.json"
    arguments = ["--captions", str(folder / "captions.json"), "--videos", str(folder / "videos"), "--to", str(report)]
    assert main(["data", "check", *arguments, "--deep", "--json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(report.read_text())
    (check,) = printed
    assert check["captioned"] == 4
    assert check["missing"] == ["gone.mp4"]
    assert {fault["video"] for fault in check["broken"]} == {"noise.mp4", "headless.mp4"}
    assert check["coverage_percent"] == 25.0


def test_check_ends_well_where_all_is_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "captions.csv").write_text("file,caption\ngood.mp4,fine\n")
    report = str(folder / "report.json")
    arguments = ["--captions", str(folder / "captions.csv"), "--videos", str(folder / "videos"), "--to", report]
    assert main(["data", "check", *arguments]) == 0
    assert "captions.csv test: 1 of 1 video can be read (100.0 %)" in capsys.readouterr().out


def test_what_was_found_is_told_where_it_cannot_be_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--captions", str(folder / "captions.json"), "--videos", str(folder / "videos"), "--to", str(folder)]
    assert main(["data", "check", *arguments, "--json"]) == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out)[0]["missing"] == ["gone.mp4"]
    assert "cannot be written (Is a directory); choose another place with --to" in shown.err


def test_check_of_a_file_with_a_header_only_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "MSRVTT_JSFUSION_test.csv").write_text("key,vid_key,video_id,sentence\n")
    benchmark = ["--benchmark", "msrvtt_9k_1ka", "--annotations", str(tmp_path), "--split", "test"]
    assert main(["data", "check", *benchmark, "--videos", str(tmp_path), "--to", str(tmp_path / "r.json")]) == 1
    assert "there is no captioned video of this split in it" in capsys.readouterr().err
    (tmp_path / "own.csv").write_text("file,caption\n")
    assert main(["data", "check", "--captions", str(tmp_path / "own.csv"), "--videos", str(tmp_path)]) == 1
    assert "own.csv: there is no caption in it" in capsys.readouterr().err


def test_check_wants_one_source_of_captions(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "--videos", str(folder)]) == 2
    assert "give either --benchmark with --annotations, or --captions" in capsys.readouterr().err
    arguments = ["--captions", str(folder / "captions.json"), "--videos", str(folder), "--split", "dev"]
    assert main(["data", "check", *arguments]) == 2
    assert "--split goes with --benchmark: captions of your own are one split" in capsys.readouterr().err


def test_check_of_a_benchmark_notes_what_is_odd(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--benchmark", "didemo", "--annotations", str(shared / "annotations"), "--videos", str(tmp_path)]
    assert main(["data", "check", *arguments, "--split", "test", "--to", str(tmp_path / "r.json")]) == 1
    captured = capsys.readouterr()
    assert "didemo test: 0 of 1,037 videos can be read (0.0 %)" in captured.out
    assert "and 1,032 more" in captured.out
    assert "note: didemo test: the annotations hold 1,037 videos, 1,004 are published" in captured.err
    assert len(json.loads((tmp_path / "r.json").read_text())[0]["missing"]) == 1037


def test_list_names_every_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "list", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    expected = ["msrvtt_9k_1ka", "msrvtt_7k_1ka", "msrvtt_full", "didemo", "vatex", "activitynet", "msvd", "lsmdc"]
    assert [entry["name"] for entry in entries if not entry["moments"]] == expected
    assert [entry["name"] for entry in entries if entry["moments"]] == ["charades_sta", "qvhighlights"]
    assert len({tuple(entry) for entry in entries}) == 1  # the same keys
    assert main(["data", "list"]) == 0
    told = capsys.readouterr().out
    assert "MSRVTT_JSFUSION_test.csv" in told
    assert "charades_sta_test.txt" in told


def test_a_caption_that_nothing_reads_to_its_end_is_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = next(path.name for path in sorted(folder.rglob("*.mp4")))
    captions = tmp_path / "captions.json"
    captions.write_text(json.dumps({name: ["word " * 500, "a short one"]}))
    to = tmp_path / "lists.json"
    main(["data", "check", "--captions", str(captions), "--videos", str(folder), "--to", str(to)])
    told = capsys.readouterr().out
    assert "1 caption of more than 75 words: CLIP reads 77 token positions at most, and the rest is cut off" in told
    assert f"too long: {name}: a caption of 500 words" in told
    assert f"The whole lists are in {to}" in " ".join(told.split())
    assert json.loads(to.read_text())[0]["long_captions"] == [f"{name}: a caption of 500 words"]
