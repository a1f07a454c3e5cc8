"""``wordframe cache`` on real files: frames, then features of them or of the videos, then a training set."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch

from tests.colours import write_scenes
from tests.unit.clip_models import save
from wordframe.cli import main
from wordframe.data import FeatureSet, FrameCache, frame_cache
from wordframe.encoders import load_encoder

CAPTIONS = {"a.mp4": ["a red car", "the dog"], "b.mp4": "the old house past the sea"}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with ``videos``, ``captions.json`` and a small ``clip``."""
    write_scenes(tmp_path / "videos" / "a.mp4", ("red", 3), ("blue", 2))
    write_scenes(tmp_path / "videos" / "b.mp4", ("green", 2))
    (tmp_path / "captions.json").write_text(json.dumps(CAPTIONS))
    save("clip", tmp_path / "clip")
    return tmp_path


def cache(kind: str, place: Path, *more: str) -> int:
    return main(["cache", kind, "--captions", str(place / "captions.json"), *more])


def frames(place: Path, *more: str) -> int:
    where = ["--videos", str(place / "videos"), "--to", str(place / "frames")]
    return cache("frames", place, *where, "--short-side", "32", *more)


def test_frames_are_made_once(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert frames(place) == 0
    assert capsys.readouterr().out == f"{place / 'frames'}: frames of 2 videos of captions.json train (2 new, 0 kept)\n"
    assert frames(place, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["made"], told["kept"], told["failed"], told["interrupted"]) == ([], ["a.mp4", "b.mp4"], {}, False)
    whole = {"last_second": None, "cut": "uniform"}
    assert told["settings"] == {"num_frames": 12, "short_side": 32, "quality": 90} | whole
    assert FrameCache.open(place / "frames").read("a.mp4", 12).seconds.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_features_of_videos_train_as_the_encoder_gives_them(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--videos", str(place / "videos"), "--to", str(place / "features")]
    choice = ["--encoder", str(place / "clip"), "--words", "6", "--frames", "4"]
    assert cache("features", place, *where, *choice) == 0
    told = f"{place / 'features'}: features of 2 videos of captions.json train (2 new, 0 kept) and 3 captions\n"
    assert capsys.readouterr().out == told
    features, encoder = FeatureSet.open(place / "features"), load_encoder(str(place / "clip"), max_words=6)
    batch = features.batch([2])
    direct = encoder.encode_text(["the old house past the sea"])
    torch.testing.assert_close(batch.words, direct.words, atol=5e-3, rtol=5e-3)
    torch.testing.assert_close(batch.sentence, direct.sentence, atol=5e-3, rtol=5e-3)
    assert batch.frame_mask.tolist() == [[True, True, False, False]]
    assert features.video_ids == ["a.mp4", "b.mp4"]


def test_features_of_cached_frames(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert frames(place, "--exact") == 0
    where = ["--frame-cache", str(place / "frames"), "--encoder", str(place / "clip")]
    assert cache("features", place, *where, "--to", str(place / "cached"), "--json") == 0
    told = json.loads(capsys.readouterr().out.partition("\n")[2])
    assert (told["encoded"], told["complete"], told["left_out"]) == (2, True, {})
    assert told["fingerprint"] == load_encoder(str(place / "clip")).fingerprint
    videos = ["--videos", str(place / "videos"), "--encoder", str(place / "clip")]
    assert cache("features", place, *videos, "--to", str(place / "direct")) == 0
    cached, direct = (FeatureSet.open(place / name).all_videos() for name in ("cached", "direct"))
    assert cached.frames.equal(direct.frames)


def test_a_benchmark_brings_its_own_sizes(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    annotations = place / "annotations"
    annotations.mkdir()
    (annotations / "MSRVTT_JSFUSION_test.csv").write_text(
        "key,vid_key,video_id,sentence\nret0,msr0,a,a red car\nret1,msr1,b,the sea\n"
    )
    chosen = ["--benchmark", "msrvtt_9k_1ka", "--annotations", str(annotations), "--split", "test"]
    where = ["--videos", str(place / "videos"), "--to", str(place / "test"), "--encoder", "offline"]
    assert main(["cache", "features", *chosen, *where, "--json"]) == 0
    assert "1,000 are published" in capsys.readouterr().err
    described = json.loads((place / "test" / "wordframe-features.json").read_text())
    assert (described["benchmark"], described["split"]) == ("msrvtt_9k_1ka", "test")
    assert described["num_frames"] == 12
    assert described["annotations"].keys() == {"MSRVTT_JSFUSION_test.csv"}
    assert FeatureSet.open(place / "test", benchmark="msrvtt_9k_1ka", split="test").video_ids == ["a", "b"]


def test_a_split_is_spoken_of_by_its_name(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert frames(place, "--split", "val") == 0
    assert "frames of 2 videos of captions.json val (2 new, 0 kept)" in capsys.readouterr().out
    annotations = place / "annotations"
    annotations.mkdir()
    (annotations / "train.json").write_text(json.dumps({name: {"sentences": ["sea"]} for name in ("a", "b")}))
    chosen = ["--benchmark", "activitynet", "--annotations", str(annotations), "--split", "val"]
    where = ["--videos", str(place / "videos"), "--to", str(place / "held-out"), "--short-side", "32"]
    assert main(["cache", "frames", *chosen, *where, "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["split"] == "val"
    assert told.err.splitlines() == [
        "note: activitynet val: the annotations of train, which it is taken from, hold 2 videos, 10,009 are published",
        "note: activitynet val: 1 of the 2 training videos, drawn with seed 0; the benchmark has no val split",
    ]


def test_missing_and_broken_videos_are_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "videos" / "a.mp4").write_text("no video")
    (place / "videos" / "b.mp4").unlink()
    assert frames(place) == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert told[0].startswith("failed: ")
    assert "a.mp4 cannot be read as a video" in told[0]
    assert told[1] == f"failed: b.mp4: not in the folder {place / 'videos'}"


def test_features_of_missing_videos_are_refused_before_the_work(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert frames(place) == 0
    (place / "videos" / "b.mp4").unlink()
    (place / "captions.json").write_text(json.dumps(CAPTIONS | {"c.mp4": "sea"}))
    clip = ["--encoder", str(place / "clip"), "--to", str(place / "features")]
    assert cache("features", place, *clip, "--videos", str(place / "videos")) == 1
    assert "2 of 3 captioned videos are not in the folder" in capsys.readouterr().err
    assert cache("features", place, *clip, "--frame-cache", str(place / "frames")) == 1
    told = capsys.readouterr().err
    assert "1 of 3 captioned videos are not in it, the first: 'c.mp4'; run wordframe cache frames for train, or" in told
    assert not (place / "features").exists()
    assert cache("features", place, *clip, "--frame-cache", str(place / "frames"), "--allow-missing") == 0
    assert "left out: c.mp4: not in the frame cache" in capsys.readouterr().err
    assert FeatureSet.open(place / "features").video_ids == ["a.mp4", "b.mp4"]


def test_a_broken_video_leaves_the_features_incomplete(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "videos" / "a.mp4").write_text("no video")
    where = ["--videos", str(place / "videos"), "--encoder", str(place / "clip"), "--to", str(place / "features")]
    assert cache("features", place, *where) == 1
    told = capsys.readouterr()
    assert "left out: " in told.err
    assert "not complete: mend these videos and run the same command again, or say --allow-missing" in told.err
    assert cache("features", place, *where, "--allow-missing") == 0
    assert "features of 1 video of captions.json train (0 new, 1 kept)" in capsys.readouterr().out


def test_ctrl_c_ends_in_order_and_the_next_run_goes_on(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        os.link(place / "videos" / "b.mp4", place / "videos" / f"more {number}.mp4")
    (place / "captions.json").write_text(json.dumps(CAPTIONS | {f"more {number}.mp4": "sea" for number in range(30)}))
    kept, original = [], frame_cache.compress

    def interrupting(*arguments: object) -> bytes:
        if not kept:
            kept.append(True)
            os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(frame_cache, "compress", interrupting)
    assert frames(place) == 130
    assert "interrupted: what was finished is kept; the same command goes on from here" in capsys.readouterr().err
    assert not list((place / "frames").rglob("*.part"))
    assert frames(place, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["made"]) + len(told["kept"]) == 32


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["frames", "--videos", "v", "--to", "t"], "give either --benchmark with --annotations, or --captions"),
        (["features", "--to", "t", "--captions", "c.json"], "give either --videos or --frame-cache"),
        (["frames", "--videos", "v", "--to", "t", "--captions", "c", "--split", "dev"], "--split 'dev' is not there"),
        (["frames", "--videos", "v", "--to", "t", "--captions", "c", "--frames", "0"], "--frames"),
        (["frames", "--videos", "v", "--to", "t", "--captions", "c", "--all-of-train"], "--all-of-train goes with"),
        (
            [*"features --videos v --to t --benchmark msvd --annotations a --split val --all-of-train".split()],
            "--all-of-train goes with --benchmark and its train",
        ),
        (["features", "--videos", "v", "--to", "t", "--captions", "c", "--words", "8"], "and offline reads all"),
    ],
)
def test_wrong_usage(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", *arguments]) == 2
    assert told in capsys.readouterr().err
