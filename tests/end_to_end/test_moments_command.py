"""``wordframe evaluate --moments`` on real files: one's own captions and a benchmark's, the folder, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.colours import write_scenes
from wordframe.cli import main


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("moments")
    write_scenes(folder / "videos" / "AAAAA.mp4", ("red", 4), ("blue", 4), rate=4)
    write_scenes(folder / "videos" / "BBBBB.mp4", ("green", 4), ("white", 4), rate=4)
    (folder / "videos" / "broken.mp4").write_bytes(b"no video")
    (folder / "moments.csv").write_text(
        "file,caption,start,end\nAAAAA,a red picture,0,4\nAAAAA,a blue picture,4,8\nBBBBB,something green,0,4\n"
    )
    (folder / "charades_sta_test.txt").write_text("AAAAA 0.0 4.0##a red picture.\nBBBBB 4.0 8.0##a white picture.\n")
    return folder


def evaluate(place: Path, *arguments: str) -> int:
    return main(["evaluate", "--moments", "--videos", str(place / "videos"), *arguments])


def test_ones_own_captions(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, library = tmp_path / "run", tmp_path / "library"
    given = ["--captions", str(place / "moments.csv"), "--library", str(library)]
    assert evaluate(place, *given, "--to", str(run), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["protocol"], told["queries"], told["captioned"], told["videos"]) == ("folder", 3, 2, 2)
    assert set(told["within_the_video"]["recall_at_1_iou_0.5"]) == {"value", "interval"}
    assert "recall_at_10_iou_0.7" in told["corpus_wide"]
    assert {"map_iou_0.5", "map_iou_0.75", "map_average", "mean_iou", "hit_at_1"} <= set(told["within_the_video"])
    assert json.loads((run / "report.json").read_text()) == told
    lines = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    assert [(line["qid"], line["vid"]) for line in lines] == [(1, "AAAAA"), (2, "AAAAA"), (3, "BBBBB")]
    start, end, score = lines[0]["pred_relevant_windows"][0]
    assert 0 <= start < end <= 8.1
    assert -1 <= score <= 1
    assert len(lines[0]["pred_saliency_scores"]) == 4  # clips of two seconds
    with np.load(run / "values.npz", allow_pickle=False) as stored:
        assert stored["video"].tolist() == ["AAAAA", "AAAAA", "BBBBB"]
        mean = stored["within the video.mean_iou"].mean()
    assert mean == pytest.approx(told["within_the_video"]["mean_iou"]["value"])
    assert "corpus-wide, R@10" in (run / "report.md").read_text()
    # the library is kept and used again; the folder is not written over
    assert evaluate(place, *given) == 0
    shown = capsys.readouterr().out
    assert "within the video, R@1" in shown
    assert "3 sentences about 2 videos; searched: 2 videos in" in " ".join(shown.split())
    assert evaluate(place, *given, "--to", str(run)) == 1
    assert "holds an evaluation; choose another folder" in capsys.readouterr().err


@pytest.mark.slow
def test_two_evaluations_are_compared(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--captions", str(place / "moments.csv"), "--library", str(tmp_path / "library")]
    runs = [str(tmp_path / name) for name in ("attention", "mean", "other", "whole")]
    assert evaluate(place, *given, "--to", runs[0]) == 0
    assert evaluate(place, *given, "--model", "clip4clip-mean", "--untrained", "--to", runs[1]) == 0
    assert evaluate(place, "--benchmark", "charades_sta", "--annotations", str(place), "--to", runs[2]) == 0
    captions = tmp_path / "captions.json"
    captions.write_text(json.dumps({"AAAAA.mp4": "a red picture", "BBBBB.mp4": "something green"}))
    videos = ["--videos", str(place / "videos"), "--captions", str(captions)]
    assert main(["evaluate", *videos, "--to", runs[3]]) == 0
    capsys.readouterr()

    assert main(["compare", *runs[:2], "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["differences"][runs[1]]
    assert {name: len(numbers) for name, numbers in found.items() if name != "smallest_p_seeds"} == {
        "within the video": 11,
        "corpus-wide": 9,
    }
    each = [np.load(Path(run) / "values.npz")["within the video.mean_iou"] for run in runs[:2]]
    told = found["within the video"]["mean_iou"]
    assert told["difference"] == pytest.approx(each[1].mean() - each[0].mean())
    assert main(["compare", *runs[:2]]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "within the video" in shown
    assert "R@10, IoU 0.7 %" in shown
    assert "mAP average %" in shown
    # others are refused
    assert main(["compare", runs[0], runs[2]]) == 1
    assert "cannot be compared: they differ in annotations, sentences" in capsys.readouterr().err
    assert main(["compare", runs[3], runs[0]]) == 1
    assert "is not the folder of an evaluation of moments: predictions.jsonl is missing" in capsys.readouterr().err
    (Path(runs[1]) / "values.npz").write_bytes(b"damaged")
    assert main(["compare", *runs[:2]]) == 1
    assert "cannot be read as an evaluation of moments" in capsys.readouterr().err


def test_a_benchmark_by_its_name(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(place, "--benchmark", "charades_sta", "--annotations", str(place), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["protocol"], told["split"], told["queries"]) == ("charades_sta", "test", 2)
    assert told["problems"] == ["charades_sta test has 2 sentences here, the published one 3,720"]


def test_a_moment_behind_the_end_of_its_video_is_told_and_counts_as_missed(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "late.csv"
    file.write_text("file,caption,start,end\nAAAAA,a red picture,0,4\nAAAAA,a red chair,60,64\nBBBBB,white,4,90\n")
    assert evaluate(place, "--captions", str(file), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    behind = "1 sentence with moments behind their video's end, such as 'a red chair' of AAAAA, which count as missed"
    assert (told["queries"], told["problems"]) == (3, [behind])


def test_what_cannot_be_read_is_told_and_left_out_when_asked(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "m.csv"
    file.write_text("file,caption,start,end\nAAAAA,red,0,4\nbroken,red,0,1\ngone,red,0,1\n")
    assert evaluate(place, "--captions", str(file)) == 1
    assert "1 of 3 captioned videos are not in the folder: 'gone'" in capsys.readouterr().err
    assert evaluate(place, "--captions", str(file), "--allow-missing", "--json") == 1
    told, errors = capsys.readouterr()
    assert json.loads(told)["queries"] == 1
    assert [video["file"] for video in json.loads(told)["skipped"]] == ["gone", "broken"]
    assert "skipped: broken: " in errors


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--moments", "--videos", "v"], "--moments takes --videos with --captions, or with --benchmark and"),
        (["--moments", "--captions", "c.csv"], "--moments takes --videos with --captions"),
        (["--moments", "--videos", "v", "--captions", "c.csv", "--dsl"], "--moments indexes the videos; leave"),
        (["--moments", "--videos", "v", "--captions", "c.csv", "--max-memory", "50"], "--qb-norm and --max-memory out"),
        (["--moments", "--videos", "v", "--captions", "c.csv", "--words", "8"], "offline reads sentences whole"),
        (["--videos", "v", "--captions", "c.csv", "--library", "l"], "--library goes with --moments"),
    ],
)
def test_wrong_usage_is_told(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_a_sentence_that_no_search_takes_is_named_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.csv").write_text(f"file,caption,start,end\na.mp4,a dog,0,1\nb.mp4,{'a cat ' * 100},0,1\n")
    assert main(["evaluate", "--moments", "--videos", str(tmp_path), "--captions", str(tmp_path / "c.csv")]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"wordframe: {tmp_path / 'c.csv'}: 'a cat a cat ")
    assert line.endswith("… of b.mp4: the query has 599 characters, at most 512 are allowed; shorten it")
