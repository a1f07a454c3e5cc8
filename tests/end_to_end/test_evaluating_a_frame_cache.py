"""``wordframe evaluate --frame-cache``: what was decoded once is not decoded again, with the same numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.videos import write_video
from wordframe.cli import main


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cached")
    (folder / "videos").mkdir()
    for name, frames in (("a", 30), ("b", 45), ("c", 20)):
        write_video(folder / "videos" / f"{name}.mp4", num_frames=frames)
    captions = {name: [f"a picture of {name}", f"{name} again"] for name in "abc"}
    (folder / "msvd_captions.json").write_text(json.dumps(captions))
    (folder / "test_list.txt").write_text("a\nb\nc\n")
    (folder / "captions.json").write_text(json.dumps(captions))
    source = ["--benchmark", "msvd", "--annotations", str(folder), "--videos", str(folder / "videos")]
    assert (
        main(
            [
                "cache",
                "frames",
                *source,
                "--split",
                "test",
                "--exact",
                "--short-side",
                "288",
                "--to",
                str(folder / "frames"),
            ]
        )
        == 0
    )
    return folder


def evaluate(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    capsys.readouterr()
    assert main(["evaluate", *arguments, "--json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_the_numbers_are_those_of_the_videos(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ["--benchmark", "msvd", "--annotations", str(place)]
    videos = evaluate(capsys, *source, "--videos", str(place / "videos"))

    def decode(*arguments: object, **options: object) -> None:
        raise AssertionError("a video was decoded")

    monkeypatch.setattr("wordframe.data.sampled.open_frames_apart", decode)
    cached = evaluate(capsys, *source, "--frame-cache", str(place / "frames"))
    assert cached["t2v"] == videos["t2v"]
    assert cached["v2t"] == videos["v2t"]
    assert cached["gallery_digest"] == videos["gallery_digest"]
    assert str(cached["frames"]).startswith(f"{videos['frames']}; cached frames: 12 frames a video")
    own = evaluate(capsys, "--captions", str(place / "captions.json"), "--frame-cache", str(place / "frames"))
    assert own["t2v"] == videos["t2v"]


def test_what_a_cache_cannot_give_is_told(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    captions = tmp_path / "captions.json"
    captions.write_text(json.dumps({"a": "a picture", "d": "not cached"}))
    given = ["evaluate", "--captions", str(captions), "--frame-cache", str(place / "frames")]
    assert main(given) == 1
    assert "1 of 2 captioned videos are not in the folder: 'd'" in capsys.readouterr().err
    assert main([*given, "--allow-missing"]) == 1  # told, and evaluated without it
    assert "skipped: d: not in the frame cache" in capsys.readouterr().err
    assert main([*given, "--allow-missing", "--frames", "40"]) == 1
    assert "12 frames a video" in capsys.readouterr().err
    assert main([*given, "--videos", str(place / "videos")]) == 2
    assert "give --videos or --frame-cache with --captions" in capsys.readouterr().err
