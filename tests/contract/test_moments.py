"""Moments that a library's search gives: as long as what they show lasts, and asked as they are measured."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from tests.colours import ColourEncoder, write_scenes
from wordframe.data import MomentQuery
from wordframe.evaluate import CORPUS, INSIDE, moment_values
from wordframe.library import Library, Snapshot
from wordframe.search import Query, answer_moments, encode, heat, moments_in, search
from wordframe.search._widening import MAX_SECONDS, widened


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    folder = tmp_path_factory.mktemp("moments")
    write_scenes(folder / "long.mp4", ("white", 6), ("red", 40), ("blue", 6), ("black", 5), ("white", 5), rate=4)
    write_scenes(folder / "short.mp4", ("yellow", 5), ("cyan", 5), rate=4)
    library = Library.open(folder / "library", encoder=ColourEncoder())
    library.index([folder / "long.mp4", folder / "short.mp4"])
    return library.snapshot()


def ids(snapshot: Snapshot) -> dict[str, str]:
    return {Path(video.path).name: video.video_id for video in snapshot.videos()}


def test_a_long_scene_is_one_moment(snapshot: Snapshot) -> None:
    """Forty seconds are several segments of at most twelve; the moment is the scene, in a search and in one video."""
    query = encode(snapshot, Query(text="red"))
    pieces = heat(snapshot, query, ids(snapshot)["long.mp4"]).moments
    assert max(piece.end_seconds - piece.start_seconds for piece in pieces) <= 12.5
    hit = search(snapshot, query, top=1)[0]
    assert (hit.start_seconds, hit.end_seconds) == pytest.approx((6.0, 46.0), abs=0.6)
    assert (hit.moments[0].start_seconds, hit.moments[0].end_seconds) == (hit.start_seconds, hit.end_seconds)
    assert 6 <= hit.moments[0].peak_seconds < 46
    assert moments_in(snapshot, query, ids(snapshot)["long.mp4"], top=1)[0] == hit.moments[0]


def test_no_two_moments_of_a_video_are_mostly_the_same(snapshot: Snapshot) -> None:
    for name in ids(snapshot):
        found = moments_in(snapshot, encode(snapshot, Query(text="red")), ids(snapshot)[name], top=10)
        spans = sorted((moment.start_seconds, moment.end_seconds) for moment in found)
        assert all(one[1] <= other[0] + 1e-6 for one, other in itertools.pairwise(spans))
        assert [moment.score for moment in found] == sorted((moment.score for moment in found), reverse=True)


def test_a_widened_moment_ends_at_other_pictures_at_a_gap_and_at_a_minute() -> None:
    spans = np.array([[0.0, 12], [12, 24], [24, 36], [36, 48], [48, 60], [60, 72], [72, 84]])
    alike, other = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    rows = np.array([other, other, alike, alike, alike, other, other])
    assert widened(spans, rows, 3) == (24.0, 60.0)
    with_gap = spans.copy()
    with_gap[4] += 1
    assert widened(with_gap, rows, 3) == (24.0, 48.0)
    start, end = widened(spans, np.repeat(alike[None], 7, axis=0), 3)
    assert start <= 36
    assert end >= 48
    assert 36 < end - start <= MAX_SECONDS


def test_one_neighbour_is_no_measure() -> None:
    spans, rows = np.array([[0.0, 5], [5, 9]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    assert widened(spans, rows, 0) == (0.0, 5.0)


def test_sentences_are_asked_of_their_video_and_of_all(snapshot: Snapshot) -> None:
    queries = [
        MomentQuery(query_id="1", video="long.mp4", text="red", windows=((6.0, 46.0),)),
        MomentQuery(query_id="2", video="short.mp4", text="cyan", windows=((5.0, 10.0),)),
        MomentQuery(query_id="3", video="short.mp4", text="blue", windows=((0.0, 5.0),)),  # blue is in the other
    ]
    told: list[int] = []
    answers = answer_moments(snapshot, queries, ids(snapshot), on_progress=told.append)
    assert told == [1, 2, 3]
    values = moment_values(queries, answers)
    assert values[INSIDE]["recall_at_1_iou_0.7"].tolist() == [100.0, 100.0, 0.0]
    assert values[CORPUS]["recall_at_1_iou_0.7"].tolist() == [100.0, 100.0, 0.0]
    assert values[INSIDE]["hit_at_1"].tolist() == [100.0, 100.0, 0.0]
    assert {moment.video for moment in answers[2].corpus[:1]} == {"long.mp4"}
    assert all(moment.video == "short.mp4" for moment in answers[2].inside)
