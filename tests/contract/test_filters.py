"""The condition that filters put on the tables lets through exactly the videos that the filters say."""

from __future__ import annotations

import datetime
import math
import os

import numpy as np
import pytest

from wordframe.library import Segment, Store, VideoEntry, segment_rows
from wordframe.search import Filters

DAY_NS = 86_400 * 10**9
NAMES = ["/a/one.mp4", "/a/b/two's.mp4", "/ab/three.MP4", "/a/b/c/vier ü.mkv", os.fsdecode(b"/a/f\xfcnf.mp4")]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("filters"), 2)
    ones = np.ones((1, 2), np.float32)
    for number, path in enumerate(NAMES):
        modified = 1_700_000_000 * 10**9 + number * DAY_NS
        entry = VideoEntry(str(number), path, 1, modified, "", 2.5 * number, 64, 48, "h264", "mp4", None, 2)
        part = Segment(0.0, 1.0, ones.astype(np.float16), ones[0, :1], ones, b"")
        store.add(segment_rows(entry, [part, part]))
    return store


def day(number: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(1_700_000_000 + number * 86_400)


@pytest.mark.parametrize(
    "filters",
    [
        Filters(min_seconds=2.5),
        Filters(max_seconds=7.5),
        Filters(min_seconds=5, max_seconds=5),
        Filters(min_seconds=1e-9, max_seconds=math.inf),
        Filters(after=day(2)),
        Filters(before=day(2)),
        Filters(after=day(1).date(), before=day(4).date()),
        Filters(folder="/a"),
        Filters(folder="/a/b/", min_seconds=3),
        Filters(path="*.mp4"),
        Filters(path="two's.mp4", after=day(0)),
        Filters(path=os.fsdecode(b"f\xfcnf.mp4")),
        Filters(path="nothing", before=day(9)),
    ],
)
def test_the_condition_agrees_with_the_filters(store: Store, filters: Filters) -> None:
    wanted = [video.video_id for video in store.videos() if filters.passes(video)]
    found = store.take(store.row_ids(filters.where(store)), ["video_id"])["video_id"].to_pylist()
    assert sorted(found) == sorted(2 * wanted)
    assert store.count(filters.where(store)) == 2 * len(wanted)


def test_the_filters_above_are_not_all_or_nothing(store: Store) -> None:
    assert [Filters(folder="/a").passes(video) for video in store.videos()].count(True) == 4
    assert [Filters(after=day(2)).passes(video) for video in store.videos()].count(True) == 3


def test_no_filter_is_no_condition(store: Store) -> None:
    assert Filters().where(store) is None


def test_paths_are_those_of_the_videos(store: Store) -> None:
    assert store.paths() == {video.video_id: video.path for video in store.videos()}
