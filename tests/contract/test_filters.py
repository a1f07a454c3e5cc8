"""Filters let through exactly the videos that they say: written out for each case, and globs as Python's fnmatch."""

from __future__ import annotations

import datetime
import fnmatch
import itertools
import math
import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.colours import ColourEncoder
from wordframe.library import Library, SegmentEntry, Snapshot, VideoEntry
from wordframe.search import Filters

DAY_NS = 86_400 * 10**9
FUNF = os.fsdecode(b"/a/f\xfcnf.mp4")
NAMES = ["/a/one.mp4", "/a/b/two's.mp4", "/ab/three.MP4", "/a/b/c/vier ü.mkv", FUNF, "/a/[6]-^x&&y~.mp4", "/a/7\n.avi"]
APART = "/a/cafe\N{COMBINING ACUTE ACCENT}/8.mov"  # as macOS writes it
NAMES.append(APART)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Video ``n`` is ``2.5 n`` seconds long, ``n`` days old and has two segments."""
    library = Library.open(tmp_path_factory.mktemp("filters"), encoder=ColourEncoder())
    ones = np.ones((1, 6), np.float32)
    part = SegmentEntry(0.0, 1.0, ones.astype(np.float16), ones[0, :1], ones, b"")
    videos = []
    for number, path in enumerate(NAMES):
        modified = 1_700_000_000 * 10**9 + number * DAY_NS
        entry = VideoEntry(str(number), path, 1, modified, "", 2.5 * number, 64, 48, "h264", "mp4", None, 2)
        videos.append((entry, [part, part]))
    library.add_videos(videos)
    return library.snapshot()


def day(number: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(1_700_000_000 + number * 86_400)


@pytest.mark.parametrize(
    ("filters", "passing"),
    [
        (Filters(min_seconds=2.5), "1234567"),
        (Filters(max_seconds=7.5), "0123"),
        (Filters(min_seconds=5, max_seconds=5), "2"),
        (Filters(min_seconds=1e-9, max_seconds=math.inf), "1234567"),
        (Filters(after=day(2)), "234567"),
        (Filters(before=day(2)), "01"),
        (Filters(after=day(2).date(), before=day(4).date()), "23"),
        (Filters(folder="/a"), "0134567"),
        (Filters(folder="/a/caf\N{LATIN SMALL LETTER E WITH ACUTE}"), "7"),
        (Filters(folder="/a/cafe\N{COMBINING ACUTE ACCENT}"), "7"),
        (Filters(path="caf\N{LATIN SMALL LETTER E WITH ACUTE}/*"), "7"),
        (Filters(path="*CAFE\N{COMBINING ACUTE ACCENT}*"), "7"),
        (Filters(folder="/a/b/", min_seconds=3), "3"),
        (Filters(folder="/a/b/c"), "3"),
        (Filters(folder="/a/one.mp4"), ""),
        (Filters(folder="/"), "01234567"),
        (Filters(path="*.mp4"), "01245"),
        (Filters(path="THREE.mp4"), "2"),
        (Filters(path="*/VIER \N{LATIN CAPITAL LETTER U WITH DIAERESIS}.mkv"), "3"),
        (Filters(path="two's.mp4", after=day(0)), "1"),
        (Filters(path="b/*"), "13"),
        (Filters(path="/a/*e.mp4"), "0"),
        (Filters(path="*/vier ?.mkv"), "3"),
        (Filters(path=os.fsdecode(b"f\xfcnf.mp4")), "4"),
        (Filters(path="[[]6[]]*"), "5"),
        (Filters(path="[6]*"), "5"),  # as it stands in the name
        (Filters(path="7?.avi"), "6"),
        (Filters(path="nothing", before=day(9)), ""),
        (Filters(path="*[!]"), ""),
    ],
)
def test_the_videos_that_pass(snapshot: Snapshot, filters: Filters, passing: str) -> None:
    where = filters.where()
    assert "".join(sorted(video.video_id for video in snapshot.videos(where))) == passing
    assert (snapshot.count_videos(where), snapshot.count(where)) == (len(passing), 2 * len(passing))
    assert len(snapshot.row_ids(where)) == 2 * len(passing)


def test_a_folder_is_told_apart_from_one_with_other_stray_bytes(tmp_path: Path) -> None:
    one, other = os.fsdecode(b"/\xfc"), os.fsdecode(b"/\xfd")
    assert Filters(folder=one).where() != Filters(folder=other).where()


def test_no_filter_is_no_condition() -> None:
    assert Filters().where() is None


def _as_it_stands(text: str) -> str:
    """A glob of a text in which only ``*`` and ``?`` outside of brackets mean something."""
    special = "[*?" if text.startswith("[") and text.endswith("]") and len(text) > 1 else "["
    return re.sub(f"[{re.escape(special)}a-zü]", lambda found: f"[{found[0]}{found[0].upper()}]", text)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(st.text("*?[]!-^&~\\/.ab67üx \n'", max_size=8), st.sampled_from(NAMES[:4]).map(lambda x: x[:-3] + "*"))
)
def test_globs_mean_what_fnmatch_says(snapshot: Snapshot, pattern: str) -> None:
    pattern = "*" + pattern
    # each letter outside brackets small or capital; a bracket that nothing closes stays open whatever comes behind it;
    # what is in brackets is one of its letters, or stands for itself
    parts = re.split(r"(\[!?+.[^\]]*\])", pattern, flags=re.DOTALL)
    ways = [[part, _as_it_stands(part)] if number % 2 else [_as_it_stands(part)] for number, part in enumerate(parts)]
    eithers = ["".join(way) for way in itertools.product(*ways)]
    wanted = [name for name in NAMES if any(fnmatch.fnmatchcase(name.replace("\udcfc", "�"), way) for way in eithers)]
    found = [video.path for video in snapshot.videos(Filters(path=pattern).where())]
    assert sorted(found, key=os.fsencode) == sorted(wanted, key=os.fsencode)
