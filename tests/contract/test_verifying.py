"""``wordframe doctor --verify``: any flipped bit in a library is found, and mended by indexing again.

The library was changed a few times, so that it holds older versions, deleted rows, a failed file and rows of a model.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lancedb
import pytest

from tests.colours import COLOURS, ColourEncoder, write_scenes
from tests.served import four_part_checkpoint
from wordframe.library import Library, verify
from wordframe.library._rows import SEGMENT_SCHEMA

_OWN_IDS = {"segment_id", "video_id"}  # given by chance


@dataclass(frozen=True)
class Healthy:
    """An undisturbed library, and its videos."""

    folder: Path
    videos: Path

    def files(self) -> list[str]:
        found = (path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file())
        return sorted(name for name in found if not name.endswith(".lock"))

    def copy(self, to: Path) -> Path:
        return Path(shutil.copytree(self.folder, to))

    def index(self, folder: Path) -> None:
        Library.open(folder, encoder=ColourEncoder()).index(self.videos, prune=True)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Healthy:
    place = tmp_path_factory.mktemp("healthy")
    videos, library = place / "videos", Library.open(place / "library", encoder=ColourEncoder())
    for colour in list(COLOURS)[:4]:
        write_scenes(videos / f"{colour}.mp4", (colour, 2), ("white", 2))
    library.index(videos, sampling="seconds")
    library.prepare(str(four_part_checkpoint(place)), untrained=True)
    (videos / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" * 9)
    (videos / "red.mp4").unlink()
    write_scenes(videos / "blue.mp4", ("blue", 1), ("black", 3))
    write_scenes(videos / "cyan.mp4", ("cyan", 3))
    library.index(videos, prune=True)
    (videos / "green.mp4").rename(videos / "moved.mp4")
    (videos / "cyan.mp4").unlink()
    library.index(videos, prune=True)
    return Healthy(place / "library", videos)


def content(folder: Path) -> dict[str, Any]:
    """All that a library holds, but for ids."""
    library = Library.open(folder, encoder=ColourEncoder())
    columns = [name for name in SEGMENT_SCHEMA.names if name not in _OWN_IDS]
    rows = lancedb.connect(folder / "tables").open_table("segments").search().select(columns).to_arrow().to_pylist()
    models = {entry.name: library.load_model(entry.name, untrained=True) for entry in library.models()}
    return {
        "segments": sorted(rows, key=lambda row: (row["path"], row["segment_index"])),
        "failures": library.failures(),
        "roots": library.roots(),
        "manifest": library.manifest,
        "unprepared": {name: len(library.snapshot(model).unprepared()) for name, model in models.items()},
    }


def flip(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def cut(path: Path, chance: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: chance.randrange(path.stat().st_size)])


def remove(path: Path, chance: random.Random) -> None:
    path.unlink()


def kind_of(name: str) -> str:
    table, _, rest = name.removeprefix("tables/").partition("/")
    return f"{table.partition('-')[0]} {rest.partition('/')[0]}"


def newest_of_each_kind(healthy: Healthy) -> list[str]:
    files = sorted(healthy.files(), key=lambda name: (healthy.folder / name).stat().st_mtime_ns)
    return sorted({kind_of(name): name for name in files if not name.endswith("hint.json")}.values())


def check(healthy: Healthy, name: str, damage: Callable[[Path, random.Random], None], seed: int, place: Path) -> None:
    """The damage is found and named, and after mending and indexing the library is the undisturbed one."""
    folder = healthy.copy(place)
    damage(folder / name, random.Random(f"{name} {seed}"))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert [found.path for found in verify(folder).damaged] == [name]
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before, (
        "looking changes nothing"
    )
    mended = verify(folder, mend=True)
    assert mended.is_in_order
    healthy.index(folder)
    found, expected = content(folder), content(healthy.folder)
    if "models" in mended.tables_lost:
        expected["unprepared"] = {}
    assert found == expected
    assert verify(folder).damaged == []
    shutil.rmtree(folder)


def test_an_undisturbed_library_is_in_order(healthy: Healthy) -> None:
    found = verify(healthy.folder)
    assert (found.damaged, found.not_noted, found.is_in_order) == ([], 0, True)
    files = [name for name in healthy.files() if name.startswith("tables/") and not name.endswith("hint.json")]
    assert found.files == len(files)
    assert found.bytes == sum((healthy.folder / name).stat().st_size for name in files)
    assert content(healthy.folder)["unprepared"], "the test would see nothing of models"


def test_a_flipped_bit_in_a_file_of_each_kind_is_found_and_mended(healthy: Healthy, tmp_path: Path) -> None:
    for name in newest_of_each_kind(healthy):
        check(healthy, name, flip, 0, tmp_path / "copy")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_flipped_bit_in_any_file_is_found_and_mended(healthy: Healthy, tmp_path: Path, seed: int) -> None:
    for name in healthy.files():
        check(healthy, name, flip, seed, tmp_path / "copy")
