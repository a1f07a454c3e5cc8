"""Tables that were dropped and made again, or set back, use versions and row ids a second time: readers notice."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from torch.nn.functional import normalize

from tests.contract.test_large_libraries import D, NoEncoder, check, queries, video
from tests.contract.test_sharded_libraries import opened
from wordframe.errors import LibraryError
from wordframe.library import Library, Snapshot, verify
from wordframe.library._durable import Noted, go_back, newest_version, note_durable, read_noted
from wordframe.library._store import Store
from wordframe.models import load_model

SIZE = 200


def is_exact(snapshot: Snapshot, least: float = 1.0) -> bool:
    """Whether nearly all of the ten best segments are candidates."""
    rows = np.array(snapshot.row_ids())
    vectors = normalize(snapshot.vectors(rows.tolist())[1], dim=-1).numpy()
    shares = [
        np.isin(rows[np.argsort(-vectors @ query)[:10]], snapshot.candidates(query, 40)).mean() for query in queries(6)
    ]
    return bool(np.mean(shares) >= least)


def add(library: Library, numbers: range, large_from: int | None = None) -> None:
    library.add_videos(video(number) for number in numbers)
    if large_from is not None:
        library.tidy(large_from=large_from)


@pytest.mark.parametrize("was_asked_between", [False, True])
@pytest.mark.parametrize("kind", ["small", "large", "sharded"])
def test_a_model_that_is_forgotten_and_prepared_again(tmp_path: Path, kind: str, was_asked_between: bool) -> None:
    large_from = None if kind == "small" else SIZE
    least = 1.0 if kind == "small" else 0.85  # of codes of one bit
    writer, model = Library.open(tmp_path / "films", encoder=NoEncoder()), load_model("clip4clip-mean", dimension=D)
    add(writer, range(SIZE), large_from)
    writer.prepare(model)
    reader = opened(tmp_path / "films", 1)[0] if kind == "sharded" else Library.open(tmp_path / "films")
    before = reader.snapshot(model)
    assert is_exact(before, least)
    writer.forget_model(model.fingerprint)
    if was_asked_between:
        reader.snapshot(model)
    Store(writer.place).delete([f"{number:06d}" for number in range(SIZE // 2)])
    add(writer, range(SIZE, SIZE + SIZE // 2), large_from)
    assert writer.prepare(model) == SIZE
    after = reader.snapshot(model)
    assert before.model_table is not None
    assert after.model_table is not None
    assert after.model_table.version == before.model_table.version  # by which nobody can tell them apart
    assert is_exact(after, least)


def test_a_shard_says_so_of_a_state_of_the_table_before(tmp_path: Path) -> None:
    writer, model = Library.open(tmp_path / "films", encoder=NoEncoder()), load_model("clip4clip-mean", dimension=D)
    add(writer, range(SIZE), SIZE)
    writer.prepare(model)
    reader, asked = opened(tmp_path / "films", 1)
    before = reader.snapshot(model)
    is_exact(before)
    writer.forget_model(model.fingerprint)
    writer.prepare(model)
    is_exact(reader.snapshot(model))
    asked.all[0]._states.clear()
    with pytest.raises(LibraryError, match="films: what it keeps was made anew meanwhile; ask again"):
        before.candidates(queries(1)[0], 40)


def removed(folder: Path) -> None:
    shutil.rmtree(folder)


def went_back(folder: Path) -> None:
    """Its newest version is damaged, and mended to the one before."""
    tables = folder / "tables" / "segments.lance"
    before = newest_version(tables)
    min(tables.glob("_versions/*.manifest")).write_bytes(b"damage")
    assert verify(folder, mend=True).went_back
    assert newest_version(tables) <= before


def lost_power(folder: Path) -> None:
    """What was committed last had not reached the disk."""
    noted = read_noted(folder)
    assert noted is not None
    note_durable(folder, Noted(noted.versions | {"segments": noted.versions["segments"] - 1}, noted.digests))
    go_back(folder)


@pytest.mark.parametrize("what", [removed, went_back, lost_power])
def test_a_library_that_is_made_anew_or_went_back_under_a_reader(tmp_path: Path, what: Callable[[Path], None]) -> None:
    add(Library.open(tmp_path / "films", encoder=NoEncoder()), range(SIZE))
    add(Library.open(tmp_path / "films", encoder=NoEncoder()), range(SIZE, 2 * SIZE))
    reader = Library.open(tmp_path / "films")
    check(reader.snapshot(), list(range(2 * SIZE)))
    what(tmp_path / "films")
    writer = Library.open(tmp_path / "films", encoder=NoEncoder())
    rest = [] if what is removed else list(range(SIZE))
    for first in (5 * SIZE, 6 * SIZE):
        add(writer, range(first, first + SIZE))
        rest += range(first, first + SIZE)
        check(reader.snapshot(), rest)
    assert reader.snapshot().version == Library.open(tmp_path / "films").snapshot().version


def test_a_reader_that_is_left_behind_for_too_long_is_not_told_of_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wordframe.library._store._KEPT_VERSIONS", timedelta(0))
    writer, model = Library.open(tmp_path / "films", encoder=NoEncoder()), load_model("clip4clip-mean", dimension=D)
    add(writer, range(SIZE))
    writer.prepare(model)
    reader = Library.open(tmp_path / "films", encoder=NoEncoder())
    snapshot = reader.snapshot(model)
    for more in range(3):
        add(writer, range(SIZE * (more + 1), SIZE * (more + 2)))
    writer.tidy()
    writer.prepare(model)
    for look in (snapshot.videos, lambda: snapshot.candidates(queries(1)[0], 5), lambda: snapshot.frames([0])):
        with pytest.raises(LibraryError, match=r"^\S+/films: the state that was read is more than an hour behind"):
            look()
    assert reader.snapshot(model).num_segments == 4 * SIZE
