"""A library made anew with another encoder: the old one or the new one is in its place at every moment, and whole."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.colours import COLOURS, ColourEncoder, write_scenes
from wordframe.errors import LibraryError
from wordframe.library import IndexProgress, Library, _swap, change_encoder, indexer
from wordframe.search import SearchEngine
from wordframe.server.served import ServedLibrary

ROOT = Path(__file__).parents[2]
NUM_VIDEOS = 6


class OtherEncoder(ColourEncoder):
    """The same kind of features under another name and fingerprint."""

    def __init__(self, *, delay_seconds: float = 0.0) -> None:
        super().__init__(name="other", fingerprint="other-1", delay_seconds=delay_seconds)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A library of six videos in two roots, prepared for one model."""
    for number, colour in zip(range(NUM_VIDEOS), COLOURS, strict=False):
        write_scenes(tmp_path / ("one" if number % 2 else "two") / f"{number}.mp4", (colour, 1.0 + number / 10))
    library = Library.open(tmp_path / "library", encoder=ColourEncoder())
    library.index([tmp_path / "one", tmp_path / "two"])
    library.prepare("clip4clip-mean", untrained=True)
    return tmp_path / "library"


def check(folder: Path, encoder: ColourEncoder) -> None:
    """All videos are there, of this encoder, and nothing is left beside them."""
    library = Library.open(folder, encoder=encoder)
    assert len(library.videos()) == NUM_VIDEOS
    assert sorted(map(os.path.basename, library.roots())) == ["one", "two"]
    assert SearchEngine(library).search("green", top=1)[0].path.endswith("1.mp4")
    assert {path.name for path in folder.parent.iterdir()} == {"one", "two", "library"}
    assert "upgrading.json" not in {path.name for path in folder.iterdir()}


def test_the_new_library_takes_the_place_of_the_old_one(folder: Path) -> None:
    seen: list[IndexProgress] = []
    change = change_encoder(folder, OtherEncoder(), on_progress=seen.append)
    assert (change.done, change.before, change.after) == (True, "colours", "other")
    assert change.summary is not None
    assert len(change.summary.indexed) == NUM_VIDEOS
    assert change.models_gone == ["clip4clip-mean"]
    assert change.left_out == []
    assert seen
    check(folder, OtherEncoder())
    with pytest.raises(LibraryError, match="not with 'colours'"):
        Library.open(folder, encoder=ColourEncoder())
    assert change_encoder(folder, OtherEncoder()).summary is None


def test_the_sampling_stays(folder: Path) -> None:
    Library.open(folder, encoder=ColourEncoder()).index([folder.parent / "one"], sampling="keyframes")
    change = change_encoder(folder, OtherEncoder())
    assert change.summary is not None
    assert (change.summary.sampling, change.summary.frames) == ("keyframes", NUM_VIDEOS)
    assert Library.open(folder, encoder=OtherEncoder()).index([folder.parent / "one"]).sampling == "keyframes"


def test_what_was_done_before_an_end_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexer, "COMMIT_SECONDS", 0.0)

    def die(progress: IndexProgress) -> None:
        if progress.files_done >= 3:
            raise MemoryError

    with pytest.raises(MemoryError):
        change_encoder(folder, OtherEncoder(), on_progress=die)
    assert len(Library.open(folder, encoder=ColourEncoder()).videos()) == NUM_VIDEOS  # the old one is as it was
    change = change_encoder(folder, OtherEncoder())
    assert change.summary is not None
    assert len(change.summary.unchanged) >= 3
    assert len(change.summary.indexed) + len(change.summary.unchanged) == NUM_VIDEOS
    check(folder, OtherEncoder())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_end_it_in_order(folder: Path, number: signal.Signals) -> None:
    looks: list[IndexProgress] = []

    def interrupt(progress: IndexProgress) -> None:
        looks.append(progress)
        if len(looks) == 1:  # a second Ctrl-C is the end at once, and of whatever runs this test
            signal.raise_signal(number)

    change = change_encoder(folder, OtherEncoder(delay_seconds=0.05), on_progress=interrupt)
    assert not change.done
    assert Library.open(folder, encoder=ColourEncoder()).exists
    assert change_encoder(folder, OtherEncoder()).done
    check(folder, OtherEncoder())


class Crash(BaseException):
    """The process ends here."""


def crash_at(step: int) -> Callable[..., None]:
    """A ``rename`` that is the process's last act at its ``step``-th call."""
    calls: list[object] = []
    real = os.rename

    def rename(*arguments: str) -> None:
        calls.append(arguments)
        if len(calls) == step:
            raise Crash
        real(*arguments)

    return rename


@pytest.mark.parametrize("step", [1, 2])
def test_a_crash_at_a_rename_is_made_good_by_the_next_opening(
    folder: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(_swap.os, "rename", crash_at(step))
        with pytest.raises(Crash):
            change_encoder(folder, OtherEncoder())
    if step == 1:  # nothing was moved yet: the old library is there, and the same command finishes
        assert Library.open(folder, encoder=ColourEncoder()).exists
        change = change_encoder(folder, OtherEncoder())
        assert change.summary is not None
        assert change.summary.indexed == []
    else:
        assert not folder.exists()
    check(folder, OtherEncoder())


@pytest.mark.parametrize("removed", [0, 3])
def test_a_crash_while_the_old_one_is_removed_is_made_good(
    folder: Path, removed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Path.unlink, []

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path.parent.name == "library.replaced":
            calls.append(path)
            if len(calls) > removed:
                raise Crash
        real(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        with pytest.raises(Crash):
            change_encoder(folder, OtherEncoder())
    assert (folder.parent / "library.replaced").exists()
    check(folder, OtherEncoder())


def test_a_folder_made_in_the_gap_of_the_swap_is_no_obstacle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(_swap.os, "rename", crash_at(2))
        with pytest.raises(Crash):
            change_encoder(folder, OtherEncoder())
    folder.mkdir()
    (folder / "indexing.lock").touch()
    check(folder, OtherEncoder())


def test_videos_whose_files_are_gone_are_not_lost_unasked(folder: Path) -> None:
    gone = folder.parent / "one" / "3.mp4"
    gone.unlink()
    told = r"1 video of it would be lost, .* attach their disk, or leave them out with --allow-missing"
    with pytest.raises(LibraryError, match=told):
        change_encoder(folder, OtherEncoder())
    assert not (folder.parent / "library.upgrading").exists()
    change = change_encoder(folder, OtherEncoder(), allow_missing=True)
    assert change.left_out == [str(gone)]
    assert len(Library.open(folder, encoder=OtherEncoder()).videos()) == NUM_VIDEOS - 1


@pytest.mark.parametrize("name", ["library.upgrading", "library.replaced"])
def test_a_strangers_folder_is_left_alone(folder: Path, name: str) -> None:
    (folder.parent / name).mkdir()
    (folder.parent / name / "diary.txt").write_text("mine")
    with pytest.raises(LibraryError, match=f"{name}: is in the way, and nothing that wordframe made; move it"):
        change_encoder(folder, OtherEncoder())
    assert (folder.parent / name / "diary.txt").read_text() == "mine"
    assert len(Library.open(folder, encoder=ColourEncoder()).videos()) == NUM_VIDEOS


def test_a_disk_that_is_full_at_the_very_beginning_leaves_nothing_in_the_way(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("wordframe.library._swap.write_whole", full)
        with pytest.raises(LibraryError, match=r"upgrading: cannot be written \(no space"):
            change_encoder(folder, OtherEncoder())
    (folder.parent / "library.upgrading" / ".upgrading.1-2.part.json").touch()  # of one that was killed there
    assert change_encoder(folder, OtherEncoder()).done
    check(folder, OtherEncoder())


def test_another_encoder_than_was_begun_with_starts_over(folder: Path) -> None:
    def die(progress: IndexProgress) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        change_encoder(folder, ColourEncoder(name="third", fingerprint="third-1"), on_progress=die)
    change = change_encoder(folder, OtherEncoder())
    assert change.started_over
    check(folder, OtherEncoder())


def test_nobody_writes_into_the_old_one_meanwhile_and_all_may_read(folder: Path) -> None:
    told: list[str] = []

    def look(progress: IndexProgress) -> None:
        library = Library.open(folder, encoder=ColourEncoder())
        assert SearchEngine(library).search("green", top=1)[0].path.endswith("1.mp4")
        with pytest.raises(LibraryError, match="another run of wordframe") as caught:
            library.index([folder.parent / "one"])
        told.append(str(caught.value))

    change_encoder(folder, OtherEncoder(), on_progress=look)
    assert told


def test_who_holds_the_old_library_never_mixes_the_two(folder: Path) -> None:
    held = Library.open(folder, encoder=ColourEncoder())
    served = ServedLibrary(folder, encoder=ColourEncoder())
    assert served.need_snapshot().num_segments == NUM_VIDEOS
    held.snapshot()
    change_encoder(folder, OtherEncoder())
    with pytest.raises(LibraryError, match="was made anew with another encoder; open it again"):
        held.snapshot()
    with pytest.raises(LibraryError, match="made with the encoder 'other'"):  # this server was given the old one's
        served.need_snapshot()


def test_a_server_opens_the_new_library_by_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"colours": ColourEncoder(), "other": OtherEncoder()}
    monkeypatch.setattr("wordframe.library.library.load_encoder", known.__getitem__)
    served = ServedLibrary(folder)
    assert served.need_snapshot().manifest.encoder == "colours"
    change_encoder(folder, OtherEncoder())
    assert served.need_snapshot().manifest.encoder == "other"


def test_a_change_needs_a_library(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="no library here"):
        change_encoder(tmp_path / "nowhere", OtherEncoder())


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_well(folder: Path) -> None:
    chance = random.Random(2)
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.contract.test_changing_the_encoder", str(folder)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0.0, 0.8))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert len(Library.open(folder).videos()) == NUM_VIDEOS
    change_encoder(folder, OtherEncoder())
    check(folder, OtherEncoder())


if __name__ == "__main__":
    indexer.COMMIT_SECONDS = 0.0  # many commits, so that kills meet some
    print("ready", flush=True)
    change_encoder(sys.argv[1], OtherEncoder(delay_seconds=0.05))
