"""The list of a library's videos follows its states: always what reading all anew gives, and little is read for it."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.contract.test_large_libraries import NoEncoder, video
from wordframe.library import Library, SegmentEntry, Snapshot, VideoEntry
from wordframe.library import _segment_table as segment_table
from wordframe.library._rows import segment_rows
from wordframe.library._segment_table import SegmentTable
from wordframe.library._store import Store

MANY = 300
Made = tuple[VideoEntry, list[SegmentEntry]]


def film(number: int, path: str, seconds: float = 0.1) -> Made:
    entry, segments = video(number)
    return replace(entry, path=path, duration_seconds=seconds), segments


def films(numbers: range) -> list[Made]:
    """In eight folders, in no order, one of them with a name that is no UTF-8."""
    folders = ["/a", "/b", "/b/c", "/b/c d", "/b-", os.fsdecode(b"/\xff"), "/ä", "/z"]
    return [film(n, f"{folders[n * 7 % 8]}/{n * 31 % 1000:03} {n}.mp4", 0.1 + n / 7) for n in numbers]


def check(snapshot: Snapshot) -> None:
    """The list and the folders are those of all videos, read anew."""
    videos = snapshot.videos()
    found, count = snapshot.video_page(None, 0, 10_000)
    assert count == len(videos) == snapshot.count_videos()
    assert found == videos
    assert snapshot.video_page(None, count // 2, 3)[0] == videos[count // 2 : count // 2 + 3]
    folders: dict[str, tuple[int, float]] = {}
    for each in videos:
        had = folders.get(os.path.dirname(each.path), (0, 0.0))
        folders[os.path.dirname(each.path)] = (had[0] + 1, had[1] + each.duration_seconds)
    assert list(snapshot.folders) == sorted(folders)
    assert {name: total[0] for name, total in snapshot.folders.items()} == {
        name: total[0] for name, total in folders.items()
    }
    for name, (_, seconds) in folders.items():
        assert snapshot.folders[name][1] == pytest.approx(seconds, abs=1e-4)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = Library.open(tmp_path / "library", encoder=NoEncoder())
    library.add_videos(films(range(MANY)))
    return library


def changes(library: Library, number: int) -> None:
    """One of the things that happen to libraries, each as indexing does it."""
    store = Store(library.place)
    chance = np.random.default_rng(number)
    one, other = (f"{each:06d}" for each in chance.integers(0, MANY, 2))
    kind = number % 7
    if kind == 0:
        library.add_videos(films(range(1000 + 10 * number, 1003 + 10 * number)))
    elif kind == 1:
        store.delete([one, other])
    elif kind == 2:
        store.move({one: (f"/moved/{number}.mp4", 1, number), other: (f"/a/moved {number}.mp4", 1, number)})
    elif kind == 3:
        entry, segments = film(int(one), f"/b/anew {number}.mp4", 4.5)
        store.replace([one], segment_rows(entry, segments))
    elif kind == 4:
        library.add_videos(films(range(2000 + 100 * number, 2060 + 100 * number)))
    elif kind == 5:
        library.tidy(large_from=1 if number > 20 else 10**9)
    else:
        entry, segments = film(5000 + number, f"/z/fragment {number}.mp4")
        from wordframe.library._fragments import write_rows

        store.add_fragments(write_rows(store.segments_place(), segment_rows(entry, segments)), replaced=[one])


@pytest.mark.parametrize("has_lance", [True, False])
def test_the_list_of_a_state_is_that_of_all_its_videos_whatever_came_before(
    library: Library, has_lance: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Library.open(library.folder, encoder=NoEncoder())
    earlier = reader.snapshot()
    check(earlier)
    if not has_lance:
        monkeypatch.setattr(segment_table, "has_lance", lambda: False)
    for number in range(28):
        changes(library, number)
        if number % 3:  # states that nobody looked at lie between
            snapshot = reader.snapshot()
            check(snapshot)
    check(earlier)


def test_what_stayed_is_not_read_again(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    reading = SegmentTable.select_in_groups

    def counted(self, groups, where, columns):  # type: ignore[no-untyped-def]
        found = reading(self, groups, where, columns)
        read.append(len(found))
        return found

    monkeypatch.setattr(SegmentTable, "select_in_groups", counted)
    monkeypatch.setattr(SegmentTable, "videos_by_path", lambda *_: pytest.fail("all are read"))
    reader = Library.open(library.folder, encoder=NoEncoder())
    assert reader.snapshot().video_page(None, 0, 1)[1] == MANY
    assert read == []
    library.add_videos(films(range(MANY, MANY + 5)))
    snapshot = reader.snapshot()
    check(snapshot)
    assert read == [5]
    check(snapshot)
    library.add_videos(films(range(MANY + 5, MANY + 7)))
    Store(library.place).delete([f"{MANY:06d}"])
    check(reader.snapshot())
    assert read == [5, 4 + 2]


def test_who_will_answer_many_has_the_list_before_it_is_asked(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = Library.open(library.folder, encoder=NoEncoder()).snapshot()
    snapshot.warm()
    monkeypatch.setattr("wordframe.library.snapshot.list_videos", lambda *_: pytest.fail("is made when it is asked"))
    assert snapshot.video_page(None, 0, 1)[1] == MANY
    assert sum(count for count, _ in snapshot.folders.values()) == MANY


def test_a_library_that_lost_all_its_videos_has_an_empty_list(library: Library) -> None:
    reader = Library.open(library.folder, encoder=NoEncoder())
    check(reader.snapshot())
    Store(library.place).delete([entry.video_id for entry in library.videos()])
    snapshot = reader.snapshot()
    assert snapshot.video_page(None, 0, 20) == ([], 0)
    assert snapshot.folders == {}
    library.add_videos(films(range(3)))
    check(reader.snapshot())
    shutil.rmtree(library.folder)
