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
    (line,) = capsys.readouterr().err.splitlines()
    assert f"made with the encoder {encoder!r}" in line
    assert line.endswith(f"make them anew with: wordframe upgrade --encoder offline --library {library}")

    captions = tmp_path / "captions.json"
    captions.write_text(json.dumps({"a.mp4": "red", "b.mp4": ["blue", "green"]}))
    assert main(["evaluate", "--videos", videos, "--captions", str(captions), "--encoder", encoder, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["gallery"], told["queries"], told["encoder"].split(" ")[0]) == (2, 3, encoder)


def test_a_library_changes_its_encoder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save("clip", tmp_path / "clip")
    save("siglip", tmp_path / "siglip")
    write_scenes(tmp_path / "videos" / "a.mp4", ("red", 1))
    write_scenes(tmp_path / "videos" / "b.mp4", ("blue", 1), ("green", 1))
    library, videos = str(tmp_path / "library"), str(tmp_path / "videos")
    assert main(["index", videos, "-l", library, "--encoder", str(tmp_path / "clip")]) == 0
    assert main(["prepare", "clip4clip-mean", "--untrained", "-l", library]) == 0
    capsys.readouterr()

    assert main(["upgrade", "-l", library, "--encoder", str(tmp_path / "siglip")]) == 0
    told = capsys.readouterr()
    assert "2 videos indexed" in told.out
    assert f"{library}: 2 videos, made with {tmp_path / 'siglip'} in place of {tmp_path / 'clip'}\n" in told.out
    assert told.err.startswith(f"no longer prepared for clip4clip-mean: it was for {tmp_path / 'clip'}; ")
    assert json.loads((tmp_path / "library" / "wordframe.json").read_text())["dimension"] == 64
    assert main(["search", "a red thing", "--library", library, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"clip", "siglip", "videos", "library"}

    (tmp_path / "videos" / "a.mp4").unlink()
    assert main(["upgrade", "-l", library, "--encoder", str(tmp_path / "clip")]) == 1
    assert "1 video of it would be lost, since the files are not there" in capsys.readouterr().err
    assert main(["upgrade", "-l", library, "--encoder", str(tmp_path / "clip"), "--allow-missing", "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["left_out"] == [str(tmp_path / "videos" / "a.mp4")]
    assert told.err == f"left out, its file is gone: {tmp_path / 'videos' / 'a.mp4'}\n"
    assert main(["upgrade", "-l", library, "--allow-missing"]) == 2


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
