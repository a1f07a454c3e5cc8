"""Names and words in UTF-8, where Python is told that the system writes ASCII: the same as everywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.colours import write_scenes
from wordframe.disk import in_utf8

ASCII = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
NAME = "grün — 緑.mp4"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("locales")
    write_scenes(folder / "videos" / NAME, ("green", 2))
    write_scenes(folder / "videos" / "red.mp4", ("red", 2))
    (folder / "captions.json").write_text(json.dumps({NAME: ["green"], "red.mp4": ["red"]}))
    return folder


def told(place: Path, *arguments: str) -> tuple[int, str, str]:
    """What a command says in such a process: status, standard output, standard error."""
    code = "import sys; from wordframe.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=place, env=os.environ | ASCII, capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' names are UTF-8 whatever the locale says")
def test_a_captioned_video_is_found(place: Path) -> None:
    status, out, err = told(place, "data", "check", "--videos", "videos", "--captions", "captions.json")
    assert (status, err) == (0, "")
    assert "2 of 2 videos can be read" in out


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' names are UTF-8 whatever the locale says")
def test_it_is_indexed_under_its_name_and_found_by_its_words(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from wordframe.cli import main

    assert told(place, "index", "videos", "--library", "library")[0] == 0
    search = ["search", "a — green one", "--path", "*grün*", "--json"]
    status, out, _ = told(place, *search, "--library", "library")
    assert status == 0
    assert len(json.loads(out)) == 1
    assert main([*search, "--library", str(place / "library")]) == 0  # whose name stands in the table as it is
    assert [Path(hit["path"]).name for hit in json.loads(capsys.readouterr().out)] == [NAME]


def test_what_no_locale_could_read_stays_as_it_is() -> None:
    assert in_utf8("caf\udce9") == "caf\udce9"
    assert in_utf8("half \ud83d") == "half \ud83d"
    assert in_utf8(NAME) == NAME
