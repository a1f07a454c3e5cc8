"""What models keep of a large library: found by an index on disk and looked up by keys, whatever has changed since."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.contract.test_large_libraries import SIZE, D, NoEncoder, queries, video
from wordframe.features import VideoFeatures
from wordframe.library import Library, Snapshot, ids_clause
from wordframe.library._model_table import Cells, ModelTable, cells_of
from wordframe.library._prepared_on_disk import PreparedOnDisk
from wordframe.library._rows import segment_rows
from wordframe.library._store import Store
from wordframe.models import TextVideoModel, load_model

NEW = 30


@pytest.fixture(scope="module")
def mean() -> TextVideoModel:
    return load_model("clip4clip-mean", dimension=D)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, mean: TextVideoModel) -> Path:
    library = Library.open(tmp_path_factory.mktemp("large") / "library", encoder=NoEncoder())
    library.add_videos(video(number) for number in range(SIZE))
    library.tidy(large_from=SIZE)
    library.prepare(mean)
    return library.folder


@pytest.fixture
def library(made: Path, tmp_path: Path) -> Library:
    shutil.copytree(made, tmp_path / "library")
    return Library.open(tmp_path / "library", encoder=NoEncoder())


@pytest.fixture
def matched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often all keys of a model's table were read."""
    times: list[int] = []

    def counting(self: ModelTable, _keys: Any = ModelTable.keys) -> Any:
        times.append(1)
        return _keys(self)

    monkeypatch.setattr(ModelTable, "keys", counting)
    return times


def change(library: Library) -> None:
    """New, moved, replaced and deleted videos."""
    library.add_videos(video(number) for number in range(SIZE, SIZE + NEW))
    store = Store(library.place)
    store.delete(["000003"])
    store.move({"000005": ("/elsewhere.mp4", 2, 3)})
    entry, _ = video(7)
    store.replace(["000007"], segment_rows(entry, video(100_000)[1]))


def share_of_best(snapshot: Snapshot, query: NDArray[np.float32], where: str | None = None) -> float:
    """Of the ten best by the model's own vectors the share within fifty candidates, which pass the condition."""
    rows = np.array(snapshot.row_ids(where))
    scores = snapshot.vectors(rows.tolist())[1].numpy() @ query
    found = snapshot.candidates(query, 50, where)
    assert len(found) == len(set(found)) >= min(50, len(rows))
    assert set(found) <= set(rows.tolist())
    return float(np.isin(rows[np.argsort(-scores)[:10]], found).mean())


def check(snapshot: Snapshot, where: str | None = None) -> None:
    assert isinstance(snapshot._prepared, PreparedOnDisk)
    # codes of one bit lose up to two of these eighty, others each time the index is made
    assert np.mean([share_of_best(snapshot, query, where) for query in queries()]) > 0.95


def test_the_nearest_vectors_are_found_and_no_keys_are_matched(
    library: Library, mean: TextVideoModel, matched: list[int]
) -> None:
    check(library.snapshot(mean))
    assert library.snapshot(mean).unprepared() == []
    assert matched == []


@pytest.mark.parametrize("few", [0, 2_000])
def test_filters_hold_whether_much_or_little_passes(
    library: Library, mean: TextVideoModel, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr("wordframe.library._prepared_on_disk._FEW", few)
    change(library)
    snapshot = library.snapshot(mean)
    check(snapshot, "path LIKE '/films/3/%'")
    check(snapshot, "NOT (path LIKE '/films/3/%')")
    only = ids_clause("video_id", ["000009", "000003", f"{SIZE:06d}"])
    assert len(snapshot.candidates(queries()[0], 50, only)) == 2
    assert snapshot.candidates(queries()[0], 50, "video_id = 'nobody'") == []


def test_changes_are_followed_without_matching_all_keys(
    library: Library, mean: TextVideoModel, matched: list[int]
) -> None:
    before = library.snapshot(mean)
    change(library)
    snapshot = library.snapshot(mean)
    unprepared = {fact.video_id for fact in snapshot.facts(snapshot.unprepared())}
    check(snapshot)
    check(before)
    assert matched == []
    assert unprepared == {"000007", *(f"{number:06d}" for number in range(SIZE, SIZE + NEW))}


@pytest.mark.parametrize("tidied", [False, True])
def test_preparing_goes_on_with_what_changed(library: Library, mean: TextVideoModel, tidied: bool) -> None:
    change(library)
    if tidied:
        library.tidy()
    check(library.snapshot(mean))
    assert library.prepare(mean) == NEW + 1
    assert library.snapshot(mean).unprepared() == []
    check(library.snapshot(mean))


def test_what_came_after_a_loss_of_power_is_prepared(library: Library, mean: TextVideoModel, tmp_path: Path) -> None:
    """Then numbers of file groups are used again of which the model's table says that it has them all."""
    segments = library.folder / "tables" / "segments.lance"
    shutil.copytree(segments, tmp_path / "before")
    library.add_videos([video(SIZE)])
    assert library.prepare(mean) == 1
    shutil.rmtree(segments)
    shutil.copytree(tmp_path / "before", segments)
    again = Library.open(library.folder, encoder=NoEncoder())
    again.add_videos([video(SIZE + 1)])
    assert again.prepare(mean) == 1
    (vector,) = again.snapshot(mean).vectors([again.snapshot().segment_row(f"{SIZE + 1:06d}-00000")])[1].numpy()
    (nearest,) = again.snapshot(mean).candidates(vector, 1)
    assert again.snapshot().facts([nearest])[0].video_id == f"{SIZE + 1:06d}"


def test_what_a_head_makes_is_looked_up_by_its_key(
    library: Library, matched: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model("wti", dimension=D)
    library.prepare(model)
    change(library)
    snapshot = library.snapshot(model)
    rows = [snapshot.segment_row(f"{number:06d}-00000") for number in (SIZE, 11, 7, 12)]
    expected = [cells["contextual"] for cells in cells_of(model, snapshot.frames(rows))]
    made: list[int] = []

    def counting(model: TextVideoModel, raw: VideoFeatures) -> list[Cells]:
        made.append(len(raw))
        return cells_of(model, raw)

    monkeypatch.setattr("wordframe.library._prepared.cells_of", counting)
    matched.clear()
    video_features = snapshot.segments(rows).video
    for found, mask, cells in zip(video_features.contextual, video_features.frame_mask, expected, strict=True):
        np.testing.assert_allclose(found[mask].numpy().ravel(), cells, atol=0.002)  # float16
    assert (made, matched) == ([2], [])
