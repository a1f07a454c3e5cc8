"""Terminals whose encoding lacks what is printed, and paths that a shell would take apart."""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from tests.colours import write_scenes
from wordframe.cli._terminal import print_as_the_terminal_can
from wordframe.cli.main import app, main

Run = Callable[..., tuple[int, str, str]]
NAMES = ("rot 狗 ▁.mp4", "grün € ж.mp4")
ANSWERS = {
    "cp1252": ("rot ? _.mp4", "grün € ?.mp4"),
    "cp932": ("rot 狗 _.mp4", "gr?n ? ж.mp4"),
    "ascii": ("rot ? _.mp4", "gr?n ? ?.mp4"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose names have blanks and letters of many scripts, with ``videos`` and their ``library``."""
    folder = tmp_path_factory.mktemp("terminals") / "it's 日本"
    write_scenes(folder / "my videos" / NAMES[0], ("red", 8), ("blue", 8))
    write_scenes(folder / "my videos" / NAMES[1], ("green", 2))
    assert main(["index", str(folder / "my videos"), "--library", str(folder / "library")]) == 0
    return folder


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command at a terminal of an encoding: its status and what it printed on both streams."""

    def command(encoding: str, *arguments: str | Path) -> tuple[int, str, str]:
        written = {name: io.BytesIO() for name in ("stdout", "stderr")}
        for name, stream in written.items():
            monkeypatch.setattr(sys, name, io.TextIOWrapper(stream, encoding=encoding, write_through=True))
        print_as_the_terminal_can()
        status = main([str(each) for each in arguments])
        out, err = (stream.getvalue().decode(encoding, "replace") for stream in written.values())
        return status, out, err

    return command


@pytest.mark.parametrize("encoding", ANSWERS)
def test_results_are_printed_with_replacements(encoding: str, place: Path, run: Run) -> None:
    library = ("--library", place / "library")
    status, out, err = run(encoding, "search", "a red picture 狗", *library)
    assert status == 0, err
    hits = [line for line in out.splitlines() if line[:3].strip().isdigit()]
    ends = {line.rpartition("  ")[2].rpartition("/")[2] for line in hits}
    assert ends == set(ANSWERS[encoding])
    assert ("–" in out) == (encoding == "cp1252")


@pytest.mark.parametrize(
    "arguments",
    [
        ("index", "my videos", "--library", "library"),
        ("index", "no 日本 …", "--library", "library"),
        ("prepare", "--list", "--library", "library"),
        ("upgrade", "--library", "library"),
        ("export", f"my videos/{NAMES[0]}", "0", "1", "--to", "cut 狗.mp4", "--overwrite"),
        ("search", "犬 – …", "--library", "library"),
        ("search", "--image", "no 狗.png", "--library", "library"),
        ("models",),
        ("encoders",),
        ("data", "list"),
        ("train", "--list"),
        ("runs", "my videos"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]).encode("ascii", "replace").decode(),
)
def test_no_command_stumbles_over_an_encoding(
    arguments: tuple[str, ...], place: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    status, out, err = run("ascii", *arguments)
    assert status in (0, 1)
    assert out or err
    assert "Traceback" not in err


def test_every_help_is_printed(run: Run) -> None:
    group = typer.main.get_command(app)
    for name in group.commands:  # type: ignore[attr-defined]  # a group has commands
        status, out, _ = run("ascii", name, "--help")
        assert (status, "Usage" in out) == (0, True), name


def test_the_real_program_at_a_real_pipe() -> None:
    environment = os.environ | {"PYTHONIOENCODING": "cp1252:strict", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "wordframe", "models"], capture_output=True, env=environment, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"published text?video R@1: " in done.stdout


def test_printed_commands_can_be_copied(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    library = tmp_path / "my $HOME library; it's"
    assert main(["index", str(place / "my videos"), "--library", str(library)]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("Search it with: "))
    words = shlex.split(line.removeprefix("Search it with: "))
    assert words == ["wordframe", "search", "a sentence", "--library", str(library)]
    assert main([*words[1:]]) == 0
