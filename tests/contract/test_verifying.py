"""``wordframe doctor --verify``: any flipped bit in a library is found, and mended by indexing again.

The library was changed a few times, so that it holds older versions, deleted rows, a failed file and rows of a model.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lancedb
import pytest

from tests.colours import COLOURS, ColourEncoder, write_scenes
from tests.served import four_part_checkpoint
from wordframe.cli import main
from wordframe.errors import LibraryError
from wordframe.library import Library, _paths_left, verify
from wordframe.library._copies import COPIES_NAME
from wordframe.library._durable import DURABLE_NAME, Noted, read_noted
from wordframe.library._rows import SEGMENT_SCHEMA
from wordframe.search import Query, encode, search

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
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Healthy]:
    with pytest.MonkeyPatch.context() as patch:  # merging would leave no deleted rows
        patch.setattr("wordframe.library._store.wants_merging", lambda row_ids, most_loose: False)
        yield make_healthy(tmp_path_factory.mktemp("healthy"))


def make_healthy(place: Path) -> Healthy:
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
    """``segments.lance data``, ``model_ _versions``, ``roots.json``."""
    parts = name.removeprefix("tables/").split("/")
    return " ".join([parts[0][: 6 if parts[0].startswith("model_") else None], *parts[1:-1]])


def newest(healthy: Healthy, *kinds: str) -> list[str]:
    """The file of each kind that was written last."""
    files = sorted(healthy.files(), key=lambda name: (healthy.folder / name).stat().st_mtime_ns)
    found = {kind_of(name): name for name in files if not name.endswith("hint.json")}
    return [found[kind] for kind in kinds]


def check(healthy: Healthy, name: str, damage: Callable[[Path, random.Random], None], seed: int, place: Path) -> None:
    """The damage is found and named, and after mending and indexing the library is the undisturbed one."""
    folder = healthy.copy(place)
    damage(folder / name, random.Random(f"{name} {seed}"))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.MonkeyPatch.context() as patch:  # names are for people, and take a process of their own
        patch.setattr("wordframe.library._verify.paths_left", lambda folder, clauses: set())
        assert [found.path for found in verify(folder).damaged] == [name]
        after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert after == before, "looking changes nothing"
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


@pytest.mark.parametrize(
    "kind",
    [
        *(
            "segments.lance data",
            "segments.lance _deletions",
            "segments.lance _versions",
            "segments.lance _transactions",
        ),
        *("model_ data", "models.lance data", "failures.lance _versions"),
        *("wordframe.json", "roots.json", DURABLE_NAME, COPIES_NAME),
    ],
)
def test_a_flipped_bit_is_found_and_mended(healthy: Healthy, tmp_path: Path, kind: str) -> None:
    for name in newest(healthy, kind):
        check(healthy, name, flip, 0, tmp_path / "copy")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_flipped_bit_in_any_file_is_found_and_mended(healthy: Healthy, tmp_path: Path, seed: int) -> None:
    for name in healthy.files():
        check(healthy, name, flip, seed, tmp_path / "copy")


@pytest.mark.slow
def test_any_file_may_be_cut_short(healthy: Healthy, tmp_path: Path) -> None:
    for name in healthy.files():
        check(healthy, name, cut, 0, tmp_path / "copy")


@pytest.mark.slow
def test_any_file_may_be_gone(healthy: Healthy, tmp_path: Path) -> None:
    for name in healthy.files():
        folder = healthy.copy(tmp_path / "trial")
        (folder / name).unlink()
        if verify(folder).damaged:
            check(healthy, name, remove, 0, tmp_path / "copy")
        else:  # nothing needed it
            assert content(folder) == content(healthy.folder)
        shutil.rmtree(folder)


@pytest.mark.parametrize("kind", ["segments.lance data", "segments.lance _deletions", "wordframe.json"])
def test_a_file_that_is_gone_is_missed(healthy: Healthy, tmp_path: Path, kind: str) -> None:
    check(healthy, *newest(healthy, kind), remove, 0, tmp_path / "copy")


def test_what_is_lost_is_told_before_and_nothing_else_is_read_again(healthy: Healthy, tmp_path: Path) -> None:
    folder = healthy.copy(tmp_path / "copy")
    (name,) = newest(healthy, "segments.lance data")
    flip(folder / name, random.Random(0))
    found = verify(folder)
    assert [Path(path).name for path in found.videos] == ["moved.mp4"]
    assert (found.segments_lost, found.went_back, found.tables_lost) == (2, False, [])
    assert verify(folder, mend=True).segments_lost == 2
    summary = Library.open(folder, encoder=ColourEncoder()).index(healthy.videos)
    assert summary.indexed == found.videos


def test_one_process_reads_what_is_damaged_until_it_dies_of_it(healthy: Healthy) -> None:
    expected = {video.path for video in Library.open(healthy.folder).videos()}
    assert _paths_left.paths_left(healthy.folder, ["segment_index >= 0"]) == expected
    first = _paths_left._reader
    assert first is not None
    assert _paths_left.paths_left(healthy.folder, ["false", "no SQL", "segment_index = 0"]) == expected
    assert _paths_left.paths_left(healthy.folder, ["false"]) == set()
    assert _paths_left._reader is first
    first.kill()
    first.wait()
    assert _paths_left.paths_left(healthy.folder, ["segment_index >= 0"]) == expected
    assert _paths_left._reader is not first


@pytest.mark.slow
def test_several_files_at_once(healthy: Healthy, tmp_path: Path) -> None:
    folder, chance = healthy.copy(tmp_path / "copy"), random.Random(0)
    names = newest(healthy, "segments.lance data", "segments.lance _deletions", "model_ data", "roots.json")
    for name in names:
        flip(folder / name, chance)
    assert {damage.path for damage in verify(folder).damaged} == set(names)
    assert verify(folder, mend=True).is_in_order
    healthy.index(folder)
    assert content(folder) == content(healthy.folder)
    assert verify(folder).damaged == []


def test_every_manifest_of_the_segments_may_be_lost(healthy: Healthy, tmp_path: Path) -> None:
    folder = healthy.copy(tmp_path / "copy")
    for path in (folder / "tables" / "segments.lance" / "_versions").glob("*.manifest"):
        flip(path, random.Random(0))
    assert verify(folder).tables_lost == ["segments"]
    assert verify(folder, mend=True).is_in_order
    healthy.index(folder)
    assert content(folder) == content(healthy.folder)


def test_an_index_run_does_not_take_damage_for_what_was_written(healthy: Healthy, tmp_path: Path) -> None:
    folder = healthy.copy(tmp_path / "copy")
    (name,) = newest(healthy, "segments.lance _transactions")
    flip(folder / name, random.Random(0))
    write_scenes(tmp_path / "more" / "magenta.mp4", ("magenta", 2))
    Library.open(folder, encoder=ColourEncoder()).index(tmp_path / "more")
    assert [damage.path for damage in verify(folder).damaged] == [name]


def test_a_library_of_before_digests_says_so_until_it_is_indexed_or_mended(healthy: Healthy, tmp_path: Path) -> None:
    for mends in (True, False):
        folder = healthy.copy(tmp_path / f"old-{mends}")
        (folder / COPIES_NAME).unlink()
        noted = read_noted(healthy.folder) or Noted()
        (folder / DURABLE_NAME).write_text(json.dumps(noted.versions, indent=2) + "\n")
        found = verify(folder)
        assert (found.is_noted, found.damaged, found.is_in_order) == (False, [], False)
        if mends:
            assert verify(folder, mend=True).is_in_order
        else:
            healthy.index(folder)
        found = verify(folder)
        assert (found.is_noted, found.not_noted, found.is_in_order) == (True, 0, True)
        assert content(folder) == content(healthy.folder)


def test_a_manifest_without_a_copy_cannot_be_mended(healthy: Healthy, tmp_path: Path) -> None:
    folder = healthy.copy(tmp_path / "copy")
    (folder / COPIES_NAME).unlink()
    (folder / "wordframe.json").write_text("{")
    found = verify(folder, mend=True)
    assert not found.is_in_order
    (damage,) = found.damaged
    assert damage.problem == "damaged, and there is no copy of it; restore it from a backup, or index into a new folder"


def test_a_library_that_is_being_written_is_left_alone(healthy: Healthy, tmp_path: Path) -> None:
    folder = healthy.copy(tmp_path / "copy")
    for mends in (False, True):
        with (
            Library.open(folder).locked(),
            pytest.raises(LibraryError, match=r"another run of wordframe \(process \d+\) is writing; wait"),
        ):
            verify(folder, mend=mends)


def test_a_folder_without_a_library_is_told(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="no library here, so there is nothing to verify"):
        verify(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_hint_that_names_no_version_is_found(healthy: Healthy, tmp_path: Path) -> None:
    check(healthy, "tables/segments.lance/_versions/latest_version_hint.json", flip, 0, tmp_path / "copy")


def test_the_command_tells_what_is_damaged_and_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wordframe.cli.doctor._checks", list)  # of the installation, which take their time
    write_scenes(tmp_path / "videos" / "red.mp4", ("red", 2))
    videos, folder = str(tmp_path / "videos"), tmp_path / "library"
    doctor = ["doctor", "--library", str(folder), "--verify"]
    assert main(["index", videos, "--library", str(folder)]) == 0
    capsys.readouterr()
    assert main(doctor) == 0
    assert "of tables, 0.0 MB: all as they were written" in capsys.readouterr().out
    (data,) = (folder / "tables" / "segments.lance" / "data").iterdir()
    flip(data, random.Random(0))
    assert main([*doctor, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)["library"]["verified"]
    assert told["damaged"] == [{"path": data.relative_to(folder).as_posix(), "problem": "its content has changed"}]
    assert told["videos"] == [f"{videos}/red.mp4"]
    assert main([*doctor, "--mend"]) == 0
    said = capsys.readouterr().out
    assert f"DAMAGED:   tables/segments.lance/data/{data.name}: its content has changed\n" in said
    assert f"with them 1 segment is lost, of {videos}/red.mp4\n" in said
    assert f"then: wordframe index {videos} --library {folder}\n" in said


@pytest.mark.parametrize(("given", "missing"), [(["--verify"], "--library"), (["--mend"], "--verify")])
def test_options_that_need_another(given: list[str], missing: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", *given]) == 2
    assert missing in capsys.readouterr().err


def test_damaged_roots_are_read_from_their_copy(healthy: Healthy, tmp_path: Path) -> None:
    folder = healthy.copy(tmp_path / "copy")
    (folder / "roots.json").write_bytes(b"{")
    library = Library.open(folder, encoder=ColourEncoder())
    assert library.roots() == Library.open(healthy.folder, encoder=ColourEncoder()).roots() != []
    write_scenes(tmp_path / "more" / "magenta.mp4", ("magenta", 2))
    library.index(tmp_path / "more")
    assert len(library.roots()) == 2


def test_reading_noise_is_one_line_that_names_the_way_out(healthy: Healthy, tmp_path: Path) -> None:
    told = []
    for seed in range(6):
        folder = healthy.copy(tmp_path / "copy")
        for name in newest(healthy, "segments.lance data", "segments.lance _versions"):
            chance, length = random.Random(seed), (folder / name).stat().st_size
            content = bytearray((folder / name).read_bytes())
            for place in chance.sample(range(length), length // 2):
                content[place] = chance.randrange(256)
            (folder / name).write_bytes(content)
        try:
            snapshot = Library.open(folder, encoder=ColourEncoder()).snapshot()
            search(snapshot, encode(snapshot, Query(text="red")))
        except LibraryError as error:
            told.append(str(error))
        shutil.rmtree(folder)
    assert told
    assert all("wordframe doctor --verify" in line and "\n" not in line for line in told)
