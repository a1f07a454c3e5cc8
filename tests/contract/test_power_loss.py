"""A library after the power failed, at any moment of a run: brought up to date, and equal to an undisturbed one.

The disk of these tests keeps what was synced and nothing else (POSIX promises no more): of a file its content when it
was last synced, of a folder its names when that was last synced. A milder disk keeps any part of the rest as well,
whole or torn. Which of both a real one is depends on the system and on luck.
"""

from __future__ import annotations

import os
import random
import stat
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.colours import ColourEncoder, write_scenes
from wordframe.errors import LibraryError
from wordframe.library import Library
from wordframe.library._durable import DURABLE_NAME, DurableTables, go_back
from wordframe.search import SearchEngine

COLOURS = ("red", "green", "blue", "white", "cyan")


@dataclass
class Disk:
    """What reached the disk below ``root`` after each sync, and all files that the running system showed then."""

    root: Path
    contents: dict[int, bytes] = field(default_factory=dict)
    folders: dict[int, dict[str, int]] = field(default_factory=dict)
    states: list[tuple[dict[str, bytes], dict[str, tuple[bytes, bool]]]] = field(default_factory=list)
    numbers: dict[tuple[int, int], int] = field(default_factory=dict)

    def note(self, handle: int) -> None:
        """A sync of the open file or folder ``handle``."""
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        if path != self.root and self.root not in path.parents:
            return
        number = self._number(path)
        if path.is_dir():
            self.folders[number] = {name: self._number(path / name) for name in os.listdir(path)}
        else:
            self.contents[number] = path.read_bytes()
        self.states.append((self._durable(), self._volatile()))

    def _number(self, path: Path) -> int:
        """Files are told apart by more than their inode, which the system gives again after a deletion."""
        status = os.lstat(path)
        born = 0 if stat.S_ISDIR(status.st_mode) else status.st_ctime_ns if path.suffix == ".part" else 0
        return self.numbers.setdefault((status.st_ino, born), status.st_ino)

    def _durable(self) -> dict[str, bytes]:
        found: dict[str, bytes] = {}

        def walk(folder: int, place: str) -> None:
            for name, number in self.folders.get(folder, {}).items():
                if os.path.isdir(self.root / place / name) or number in self.folders:
                    walk(number, f"{place}{name}/")
                else:
                    found[place + name] = self.contents.get(number, b"")

        walk(self._number(self.root), "")
        return found

    def _volatile(self) -> dict[str, tuple[bytes, bool]]:
        """Each file's content, and whether that was synced, maybe under another name: then it cannot be torn."""
        found = {}
        for path in self.root.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                found[str(path.relative_to(self.root))] = content, self.contents.get(self._number(path)) == content
        return found


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk(tmp_path / "disk")
    disk.root.mkdir()
    fsync = os.fsync

    def noted(handle: int) -> None:
        fsync(handle)
        disk.note(handle)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr("wordframe.library.indexer.COMMIT_SECONDS", 0.0)
    monkeypatch.setattr("wordframe.library._local.LocalFolder.beat_seconds", 3600.0)
    return disk


def after_the_crash(files: dict[str, bytes], folder: Path) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder / "library"


def torn(durable: dict[str, bytes], volatile: dict[str, tuple[bytes, bool]], chance: random.Random) -> dict[str, bytes]:
    """Of what was not synced, any part: files there, cut off, full of zeros, or missing; replaced ones new or old."""
    found = dict(durable)
    for name, (content, is_synced) in volatile.items():
        if durable.get(name) == content or chance.random() < 0.4:
            continue
        if is_synced:  # only its name may be lost
            found[name] = content
            continue
        cut = chance.randrange(len(content) + 1)
        found[name] = chance.choice([content, content[:cut], content[:cut] + bytes(len(content) - cut)])
    return found


def moments(library: Library) -> dict[str, list[tuple[float, float]]]:
    hits = SearchEngine(library).search("green", top=100, moments=100)
    return {Path(hit.path).name: sorted((m.start_seconds, m.end_seconds) for m in hit.moments) for hit in hits}


def check(folder: Path, videos: Path, expected: dict[str, list[tuple[float, float]]]) -> int:
    """The library is whole after the next run; gives how many videos it did not have to read again."""
    library = Library.open(folder, encoder=ColourEncoder())
    summary = library.index(videos, prune=True)
    assert (summary.failed, summary.missing) == ({}, [])
    assert moments(library) == expected
    assert len(library.index(videos).unchanged) == len(expected)
    return len(summary.unchanged)


@pytest.mark.parametrize(
    ("seed", "every"),
    [
        pytest.param(None, 29, id="strict"),
        pytest.param(None, 11, id="strict, more moments", marks=pytest.mark.slow),
        pytest.param(0, None, id="torn-0"),
        *(pytest.param(seed, None, id=f"torn-{seed}", marks=pytest.mark.slow) for seed in range(1, 20)),
    ],
)
def test_any_moment_may_be_the_last(
    disk: Disk, tmp_path: Path, seed: int | None, every: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = tmp_path / "videos"
    for number, colour in enumerate(COLOURS):
        write_scenes(videos / f"{colour}.mp4", (colour, 1 + 0.2 * number))
    library = Library.open(disk.root / "library", encoder=ColourEncoder())
    library.index(videos)
    write_scenes(videos / "red.mp4", ("black", 2))  # changed, gone and new
    (videos / "blue.mp4").unlink()
    write_scenes(videos / "magenta.mp4", ("magenta", 2))
    library.index(videos, prune=True)
    expected = moments(library)
    states = list(disk.states)
    assert len(states) > 60
    monkeypatch.undo()
    monkeypatch.setattr("wordframe.library._writing.boot_id", lambda: "the next boot")
    chance = random.Random(seed)
    kept = 0
    chosen = range(0, len(states), every) if every else chance.sample(range(len(states)), 6)
    for number in chosen:
        durable, volatile = states[number]
        files = durable if seed is None else torn(durable, volatile, chance)
        if "library/wordframe.json" not in files and any(name.startswith("library/tables") for name in files):
            continue  # a folder with tables and no manifest is refused, and holds nothing yet
        kept += check(after_the_crash(files, tmp_path / f"crash-{number}"), videos, expected)
    assert kept > 0
    last, _ = states[-1]
    if seed is None:  # what an undisturbed run left is on the disk to the last file
        assert check(after_the_crash(last, tmp_path / "end"), videos, expected) == len(expected)


def test_without_going_back_a_torn_library_stays_broken(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the disk above is cruel enough: a new manifest without its data, and a writer that does not look back."""
    videos = tmp_path / "videos"
    write_scenes(videos / "red.mp4", ("red", 1))
    library = Library.open(disk.root / "library", encoder=ColourEncoder())
    library.index(videos)
    durable, _ = disk.states[-1]
    write_scenes(videos / "blue.mp4", ("blue", 1))
    library.index(videos)
    _, volatile = disk.states[-1]
    new = {name: b"" if "/data/" in name else content for name, (content, _) in volatile.items() if name not in durable}
    owner = {"library/indexing.pid": b"1 earlier\n"}
    folder = after_the_crash(durable | new | owner, tmp_path / "crash")
    with monkeypatch.context() as patch:
        patch.setattr("wordframe.library._writing.go_back", lambda folder: None)
        with pytest.raises(Exception, match="tables"):
            check(folder, videos, moments(library))
    folder = after_the_crash(durable | new | owner, tmp_path / "another")
    assert check(folder, videos, moments(library)) == 1


def test_a_library_that_never_said_what_is_on_the_disk_is_left_as_it_is(tmp_path: Path) -> None:
    write_scenes(tmp_path / "videos" / "red.mp4", ("red", 3))
    Library.open(tmp_path / "library", encoder=ColourEncoder()).index(tmp_path / "videos")
    (tmp_path / "library" / DURABLE_NAME).unlink()
    before = sorted(path for path in (tmp_path / "library").rglob("*"))
    go_back(tmp_path / "library")
    assert sorted(path for path in (tmp_path / "library").rglob("*")) == before
    assert len(Library.open(tmp_path / "library", encoder=ColourEncoder()).videos()) == 1


@pytest.mark.parametrize("kept", [20, 192, -40], ids=["no footer at all", "the first write", "all but the last"])
def test_a_commit_whose_data_lost_a_write_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    """A disk that is full for a moment: LanceDB loses the error of its last write, and commits the torn file."""
    videos = tmp_path / "videos"
    write_scenes(videos / "red.mp4", ("red", 1))
    library = Library.open(tmp_path / "library", encoder=ColourEncoder())
    library.index(videos)
    write_scenes(videos / "blue.mp4", ("blue", 1))
    data = tmp_path / "library" / "tables" / "segments.lance" / "data"
    before = set(data.iterdir())
    sync = DurableTables.sync

    def torn(tables: DurableTables, names: frozenset[str] | None = None) -> None:
        for path in set(data.iterdir()) - before:
            path.write_bytes(path.read_bytes()[:kept])
        sync(tables, names)

    with monkeypatch.context() as patch:
        patch.setattr(DurableTables, "sync", torn)
        with pytest.raises(LibraryError, match="the disk is full; free some space and run the command again"):
            library.index(videos)
    again = Library.open(tmp_path / "library", encoder=ColourEncoder())
    assert [Path(video.path).name for video in again.videos()] == ["red.mp4"]
    assert len(again.index(videos).indexed) == 1
    assert sorted(moments(again)) == ["blue.mp4", "red.mp4"]
