"""A library made with a CLIP-type encoder from a folder: indexed, searched and evaluated by the same commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.colours import write_scenes
from tests.unit.clip_models import save
from wordframe.cli import main


def test_a_clip_folder_as_encoder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save("clip", tmp_path / "encoder")
    write_scenes(tmp_path / "videos" / "a.mp4", ("red", 1))
    write_scenes(tmp_path / "videos" / "b.mp4", ("blue", 1), ("green", 1))
    library, encoder = str(tmp_path / "library"), str(tmp_path / "encoder")
    videos = str(tmp_path / "videos")
    assert main(["index", videos, "--library", library, "--encoder", encoder]) == 0
    assert json.loads((tmp_path / "library" / "wordframe.json").read_text())["encoder"] == encoder
    capsys.readouterr()

    assert main(["search", "a red thing", "--library", library, "--json"]) == 0
    hits = json.loads(capsys.readouterr().out)
    assert sorted(Path(hit["path"]).name for hit in hits) == ["a.mp4", "b.mp4"]

    assert main(["index", videos, "--library", library, "--encoder", "offline"]) == 1
    assert f"made with the encoder {encoder!r}" in capsys.readouterr().err

    captions = tmp_path / "captions.json"
    captions.write_text(json.dumps({"a.mp4": "red", "b.mp4": ["blue", "green"]}))
    assert main(["evaluate", "--videos", videos, "--captions", str(captions), "--encoder", encoder, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["gallery"], told["queries"], told["encoder"].split(" ")[0]) == (2, 3, encoder)


def test_a_library_whose_encoder_is_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save("clip", tmp_path / "encoder")
    write_scenes(tmp_path / "videos" / "a.mp4", ("red", 1))
    library = str(tmp_path / "library")
    assert main(["index", str(tmp_path / "videos"), "-l", library, "--encoder", str(tmp_path / "encoder")]) == 0
    (tmp_path / "encoder").rename(tmp_path / "moved")
    capsys.readouterr()
    assert main(["search", "red", "--library", library]) == 1
    (told,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "encoder") in told
