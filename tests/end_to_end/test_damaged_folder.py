"""A folder of damaged videos among healthy ones: nothing crashes or hangs, each is told, the rest is indexed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.colours import ColourEncoder
from tests.videos import damaged_copies
from wordframe.cli import main
from wordframe.library import IndexSummary, Library


def fill(folder: Path, clips: Path, *, damaged: int, healthy: int) -> list[str]:
    """Damaged copies and healthy clips side by side; gives the healthy ones' paths."""
    damaged_copies(clips, folder, damaged, seed=11)
    kept = []
    for path in sorted((clips / "panda").glob("*.mp4"))[:healthy]:
        kept.append(str(shutil.copy(path, folder / f"healthy {path.name}")))
    return kept


def check(summary: IndexSummary, folder: Path, healthy: list[str]) -> None:
    everything = {str(path) for path in folder.iterdir()}
    assert set(summary.indexed) | set(summary.failed) | set(summary.copied) == everything
    assert set(healthy) <= set(summary.indexed) | set(summary.copied)
    assert not set(healthy) & (set(summary.partly) | set(summary.failed))
    assert summary.failed
    assert summary.partly
    for path, reason in summary.failed.items():
        assert reason.startswith(path.replace("\n", "\\n"))
        assert "\n" not in reason
    assert all("\n" not in problem for problem in summary.partly.values())


def test_damaged_among_healthy(shared: Path, tmp_path: Path) -> None:
    healthy = fill(tmp_path / "videos", shared / "clips", damaged=28, healthy=3)
    library = Library.open(tmp_path / "library", encoder=ColourEncoder())
    check(library.index([tmp_path / "videos"]), tmp_path / "videos", healthy)


@pytest.mark.slow
def test_three_hundred_damaged_among_healthy(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    healthy = fill(tmp_path / "videos", shared / "clips", damaged=300, healthy=10)
    library = Library.open(tmp_path / "library")
    summary = library.index([tmp_path / "videos"])
    check(summary, tmp_path / "videos", healthy)
    capsys.readouterr()
    assert main(["index", str(tmp_path / "videos"), "--library", str(tmp_path / "library")]) == 0
    told = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("failed before, unchanged: ") for line in told) == len(summary.failed)
