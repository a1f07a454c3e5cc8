"""Large libraries cut into shards: the answers of all together are those of the whole, in every state."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.nn.functional import normalize

from tests.contract.test_large_libraries import D, NoEncoder, check, queries, video
from wordframe.errors import LibraryError
from wordframe.library import Effort, Found, Library, Look, Shard, check_shards, ids_clause, place_of
from wordframe.library._lance_index import IndexPart, make_part
from wordframe.library._shards import Part, cut, parts_of
from wordframe.library._store import Store
from wordframe.library._vectors import VECTORS
from wordframe.models import load_model

EACH, BATCHES = 160, 4
SIZE = EACH * BATCHES


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of a part for each batch of videos."""
    folder = tmp_path_factory.mktemp("sharded") / "library"
    library = Library.open(folder, encoder=NoEncoder())
    for first in range(0, SIZE, EACH):
        library.add_videos(video(number) for number in range(first, first + EACH))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wordframe.library._lance_index._SEGMENTS_A_PART", EACH)
        patch.setattr("wordframe.library._store.wants_merging", lambda *_: False)  # files as small as that
        library.tidy(large_from=SIZE)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "library")
    return tmp_path / "library"


class Shards:
    """All shards of a library in this process, asked as those in others are: through pickles."""

    def __init__(self, folder: Path, count: int) -> None:
        self.all = [Shard(place_of(folder), number, count) for number in range(count)]
        self.looks: list[Look] = []

    def __call__(self, look: Look) -> Sequence[Found]:
        self.looks.append(look)
        return [pickle.loads(pickle.dumps(one.nearest(pickle.loads(pickle.dumps(look))))) for one in self.all]


def opened(folder: Path, shards: int) -> tuple[Library, Shards]:
    asked = Shards(folder, shards)
    return Library.open(folder, encoder=NoEncoder(), ask_shards=asked), asked


def test_an_index_is_made_of_a_part_for_each_so_many_rows(folder: Path) -> None:
    index = Library.open(folder, encoder=NoEncoder()).snapshot().disk_index
    assert index is not None
    parts = parts_of(index.table.to_lance())
    assert [(len(part.parts), part.num_rows) for part in parts] == [(1, EACH)] * BATCHES
    check(Library.open(folder, encoder=NoEncoder()).snapshot(), list(range(SIZE)))  # who is not cut reads all parts


def test_parts_may_be_made_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever makes one is sent what it needs, and sends back what is committed: both through pickles."""
    monkeypatch.setattr("wordframe.library._lance_index._SEGMENTS_A_PART", EACH)
    monkeypatch.setattr("wordframe.library._store.wants_merging", lambda *_: False)
    library = Library.open(tmp_path / "library", encoder=NoEncoder())
    for first in range(0, SIZE, EACH):
        library.add_videos(video(number) for number in range(first, first + EACH))

    def make(parts: Sequence[IndexPart]) -> list[Any]:
        return [pickle.loads(pickle.dumps(make_part(pickle.loads(pickle.dumps(part))))) for part in parts]

    Store(library.place).tidy(large_from=SIZE, make_parts=make)
    index = library.snapshot().disk_index
    assert index is not None
    assert [part.num_rows for part in parts_of(index.table.to_lance())] == [EACH] * BATCHES
    check(library.snapshot(), list(range(SIZE)))


def test_parts_that_were_made_in_another_folder_of_that_name_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wordframe.library._lance_index._SEGMENTS_A_PART", EACH)
    monkeypatch.setattr("wordframe.library._store.wants_merging", lambda *_: False)
    library = Library.open(tmp_path / "library", encoder=NoEncoder())
    for first in range(0, 2 * EACH, EACH):
        library.add_videos(video(number) for number in range(first, first + EACH))

    def make(parts: Sequence[IndexPart]) -> list[Any]:
        made = [make_part(part) for part in parts]
        shutil.rmtree(Path(parts[0].table.uri) / "_indices" / str(made[1].uuid))
        return made

    with pytest.raises(LibraryError, match="what another machine wrote is not here"):
        Store(library.place).tidy(large_from=EACH, make_parts=make)
    library.tidy(large_from=EACH)
    check(library.snapshot(), list(range(2 * EACH)))


@pytest.mark.parametrize("shards", [1, 2, 3, 4])
def test_shards_together_find_what_the_whole_finds(folder: Path, shards: int) -> None:
    library, asked = opened(folder, shards)
    snapshot = library.snapshot()
    check(snapshot, list(range(SIZE)))
    assert asked.looks
    rows = [one.num_rows(asked.looks[-1]) for one in asked.all]
    assert sum(rows) == SIZE
    assert max(rows) - min(rows) <= EACH
    some = [number for number in range(SIZE) if number % 3 == 0]
    check(snapshot, some, where=ids_clause("video_id", [f"{number:06d}" for number in some]))
    whole = Library.open(folder, encoder=NoEncoder()).snapshot()
    for query in queries(3):  # of what stands out, the same in the same order
        assert snapshot.candidates(query, 50)[:5] == whole.candidates(query, 50)[:5]


def test_what_a_model_keeps_is_cut_too(tmp_path: Path) -> None:
    """Of a model with one vector a video, also behind its last preparing, and where it has fewer parts than shards."""
    writer = Library.open(tmp_path / "library", encoder=NoEncoder())
    model = load_model("clip4clip-mean", dimension=D)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wordframe.library._lance_index._SEGMENTS_A_PART", EACH)
        patch.setattr("wordframe.library._store.wants_merging", lambda *_: False)
        for first in range(0, SIZE, EACH):
            writer.add_videos(video(number) for number in range(first, first + EACH))
            writer.prepare(model)
        writer.tidy(large_from=SIZE)
        assert writer.prepare(model) == 0  # makes the index of its table
    library, asked = opened(tmp_path / "library", 3)
    table = library.snapshot(model).model_table
    assert table is not None
    assert table.is_on_disk
    for more in (0, 7):
        writer.add_videos(video(number) for number in range(SIZE, SIZE + more))  # nothing is prepared for these
        snapshot = library.snapshot(model)
        some = ids_clause("video_id", [f"{number:06d}" for number in range(0, SIZE, 3)])
        for where in (None, some):
            rows, shares = np.array(snapshot.row_ids(where)), []
            vectors = normalize(snapshot.vectors(rows.tolist())[1], dim=-1).numpy()
            for query in queries(4):
                found = snapshot.candidates(query, 60, where)
                assert len(set(found)) == len(found) >= 60
                shares.append(np.isin(rows[np.argsort(-vectors @ query)[:10]], found).mean())
            assert np.mean(shares) > 0.95
    looks = {look.table: look for look in asked.looks}
    assert len(looks) == 2  # those that nothing is prepared for are found among the segments
    of_model = next(look for name, look in looks.items() if name != "segments")
    counts = [one.num_rows(of_model) for one in asked.all]
    assert sum(counts) == SIZE
    assert all(counts)


def test_shards_follow_what_is_committed_and_answer_for_the_state_that_is_asked(folder: Path) -> None:
    library, _ = opened(folder, 2)
    before = library.snapshot()
    writer = Library.open(folder, encoder=NoEncoder())
    writer.add_videos(video(number) for number in range(SIZE, SIZE + 50))
    Store(writer.place).delete([f"{number:06d}" for number in range(EACH)])  # all rows of a part
    after = library.snapshot()
    assert after.version > before.version
    check(after, list(range(EACH, SIZE + 50)))
    check(before, list(range(SIZE)))
    writer.tidy(large_from=SIZE)
    check(library.snapshot(), list(range(EACH, SIZE + 50)))


def test_a_library_that_is_made_anew_with_another_encoder_is_opened_again(folder: Path, made: Path) -> None:
    asked = Shards(folder, 2)
    shutil.rmtree(folder)
    shutil.copytree(made, folder)
    manifest = json.loads((folder / "wordframe.json").read_text())
    (folder / "wordframe.json").write_text(json.dumps(manifest | {"fingerprint": "another"}))

    class Another(NoEncoder):
        fingerprint = "another"

    new = Library.open(folder, encoder=Another(), ask_shards=asked).snapshot()
    check(new, list(range(SIZE)))
    with pytest.raises(LibraryError, match="was made anew with another encoder; ask again"):
        asked(Look("made-up", "segments", new.lineage, new.version, VECTORS, queries(1)[0], 5, None, Effort()))


def test_a_shard_is_warm_before_it_is_asked(folder: Path) -> None:
    Shard(place_of(folder), 1, 2).warm()


def test_what_cannot_be_cut_is_refused(folder: Path, tmp_path: Path) -> None:
    index = Library.open(folder, encoder=NoEncoder()).snapshot().disk_index
    check_shards(index, BATCHES, "films")
    with pytest.raises(
        LibraryError, match=r"^films: its index has 4 parts, one for each shard at least; say --shards 4"
    ):
        check_shards(index, 5, "films")
    writer = Library.open(folder, encoder=NoEncoder())
    writer.add_videos([video(SIZE)])
    Store(writer.place).delete([f"{number:06d}" for number in range(SIZE)])  # all that the index is over
    index = Library.open(folder, encoder=NoEncoder()).snapshot().disk_index
    check_shards(index, 1, "films")
    with pytest.raises(LibraryError, match="has 1 part, one for each shard at least; say --shards 1"):
        check_shards(index, 2, "films")
    small = Library.open(tmp_path / "small", encoder=NoEncoder())
    small.add_videos([video(1)])
    with pytest.raises(LibraryError, match=r"films: is small enough that each replica .*; leave --shards out"):
        check_shards(small.snapshot().disk_index, 2, "films")
    with pytest.raises(LibraryError, match="has no index on disk, so there is nothing to cut into shards"):
        Shard(place_of(tmp_path / "small"), 0, 2)
    shutil.rmtree(folder / "tables")
    with pytest.raises(LibraryError):
        Shard(place_of(folder), 0, 2)


def test_parts_are_dealt_out_evenly_and_always_alike() -> None:
    sizes = np.random.default_rng(0).integers(1, 1000, 40).tolist()
    parts = [Part((number,), (str(number),), size) for number, size in enumerate(sizes)]
    dealt = cut(parts, 7)
    assert sorted(group for shard in dealt for group in shard.groups) == list(range(40))
    assert max(shard.num_rows for shard in dealt) < 1.15 * min(shard.num_rows for shard in dealt)
    assert cut(parts[::-1], 7) == dealt
