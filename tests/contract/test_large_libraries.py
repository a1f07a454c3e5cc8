"""Large libraries: found by an index on disk, which gives what comparing with everything gives, and follows it."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from tests.colours import write_scenes
from wordframe.cli.main import app
from wordframe.encoders import Encoder, load_encoder
from wordframe.errors import LibraryError
from wordframe.library import Effort, Library, SegmentEntry, Snapshot, VideoEntry, ids_clause, run_centroids
from wordframe.library._lance_index import usual_effort
from wordframe.library._rows import SEGMENT_SCHEMA, segment_rows
from wordframe.library._store import Store
from wordframe.search import MeasuredEffort, chosen

D = 256
SIZE, TOPICS = 600, 60
Query = NDArray[np.float32]


class NoEncoder(Encoder):
    """Stands for the encoder of features that nobody encoded."""

    name, fingerprint, dimension, short_side, max_words = "made-up", "made-up", D, 1, 8

    def preprocess(self, frames):  # type: ignore[no-untyped-def]
        raise RuntimeError("made-up features have no pictures")

    encode_pixels = encode_text = preprocess


def unit(x: NDArray[np.float64]) -> NDArray[np.float32]:
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def topic(number: int, dimension: int = D) -> NDArray[np.float32]:
    return unit(np.random.default_rng((1, number)).standard_normal(dimension))


def frames_of(number: int, dimension: int = D) -> NDArray[np.float32]:
    """Ten videos of 600 share a topic, so the best answers stand out, as much as codes of one bit can tell."""
    frames = unit(np.random.default_rng(number).standard_normal((1 + number % 4, dimension)))
    return unit(frames + topic(number % TOPICS, dimension))


def video(number: int, dimension: int = D) -> tuple[VideoEntry, list[SegmentEntry]]:
    frames = frames_of(number, dimension)
    path = f"/films/{number % 10}/{number}.mp4"
    entry = VideoEntry(f"{number:06d}", path, 1, 1, f"c{number % 500}", 6.0, 64, 48, "h264", "mp4", None, 1)
    seconds = np.arange(len(frames), dtype=np.float32)
    vectors = run_centroids(frames[None])[0]
    return entry, [SegmentEntry(0.0, 6.0, frames.astype(np.float16), seconds, vectors, b"")]


def queries(count: int = 8) -> list[Query]:
    noise = np.random.default_rng(2).standard_normal((count, D))
    return [unit(topic(number) + unit(noise[number])) for number in range(count)]


def best(query: Query, numbers: list[int], count: int) -> list[float]:
    return sorted((cosine(query, number) for number in numbers), reverse=True)[:count]


@cache
def centroids_of(number: int) -> NDArray[np.float32]:
    return run_centroids(frames_of(number)[None])[0]


def cosine(query: Query, number: int) -> float:
    return float((centroids_of(number) @ query).max())


def numbers_of(snapshot: Snapshot, rows: list[int]) -> list[int]:
    return [int(fact.video_id) for fact in snapshot.facts(rows)]


def effort_of(library: Library) -> Effort:
    index = library.snapshot().disk_index
    assert index is not None
    return index.effort


def check(snapshot: Snapshot, numbers: list[int], where: str | None = None) -> None:
    """Of the ten best of ``numbers`` nearly all are in 50 candidates, none twice and none that is not there."""
    shares = []
    for query in queries():
        found = numbers_of(snapshot, snapshot.candidates(query, 50, where))
        assert len(found) == len(set(found)) == min(50, len(numbers))
        assert set(found) <= set(numbers)
        wanted = best(query, numbers, 10)
        shares.append(np.mean(np.isin(wanted, [cosine(query, number) for number in found])))
    assert np.mean(shares) > 0.95  # the rotation of an index is drawn when it is made


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large") / "library"
    library = Library.open(folder, encoder=NoEncoder())
    library.add_videos(video(number) for number in range(SIZE))
    library.tidy(large_from=SIZE)
    return folder


@pytest.fixture
def library(made: Path, tmp_path: Path) -> Library:
    shutil.copytree(made, tmp_path / "library")
    return Library.open(tmp_path / "library", encoder=NoEncoder())


@pytest.mark.parametrize(
    ("uri", "rows", "refine"),
    [("/l", 1_000_000, 2), ("/l", 3_000_000, 4), ("/l", 10_000_000, 8), ("s3://b/l", 10_000_000, 2)],
)
def test_more_is_compared_exactly_in_larger_libraries_on_a_disk(uri: str, rows: int, refine: int) -> None:
    class Table:
        def count_rows(self) -> int:
            return rows

    table = Table()
    table.uri = uri  # type: ignore[attr-defined]
    assert usual_effort(table) == Effort(refine=refine)


def test_features_that_no_index_takes_stay_in_memory(tmp_path: Path) -> None:
    """Its codes are bits in whole bytes: vectors of 12 numbers have none."""

    class Odd(NoEncoder):
        name, fingerprint, dimension = "odd", "odd", 12

    library = Library.open(tmp_path / "library", encoder=Odd())
    library.add_videos(video(number, 12) for number in range(40))
    library.tidy(large_from=40)
    assert library.snapshot().disk_index is None
    seventh = run_centroids(frames_of(7, 12)[None])[0][0]
    assert numbers_of(library.snapshot(), library.snapshot().candidates(seventh, 1)) == [7]


def test_the_size_decides_which_index_a_library_has(tmp_path: Path) -> None:
    library = Library.open(tmp_path / "library", encoder=NoEncoder())
    library.add_videos(video(number) for number in range(99))
    library.tidy(large_from=100)
    assert library.snapshot().disk_index is None
    library.add_videos([video(99)])
    library.tidy(large_from=100)
    assert effort_of(library) == Effort()
    library.tidy()  # once large it stays so, whatever a smaller number would be worth
    assert effort_of(library) == Effort()


def test_what_is_nearest_is_found(library: Library) -> None:
    check(library.snapshot(), list(range(SIZE)))


def test_a_filter_still_fills_the_shortlist(library: Library) -> None:
    snapshot = library.snapshot()
    allowed = list(range(0, SIZE, 7))
    check(snapshot, allowed, ids_clause("video_id", [f"{number:06d}" for number in allowed]))
    few = ids_clause("video_id", ["000003", "000004"])
    assert sorted(numbers_of(snapshot, snapshot.candidates(queries()[0], 50, few))) == [3, 4]
    assert snapshot.candidates(queries()[0], 50, ids_clause("video_id", ["nobody"])) == []


def test_new_moved_replaced_and_deleted_videos_are_followed(library: Library) -> None:
    before = library.snapshot()
    library.add_videos(video(number) for number in range(SIZE, SIZE + 40))
    store = Store(library.place)
    store.delete(["000003"])
    store.move({"000005": ("/elsewhere.mp4", 2, 3)})
    entry, _ = video(7)
    store.replace(["000007"], segment_rows(entry, video(100_000)[1]))
    snapshot = library.snapshot()
    left = [number for number in range(SIZE + 40) if number not in (3, 7)]
    assert not set(numbers_of(snapshot, snapshot.candidates(frames_of(3)[0], 1))) & {3}
    assert numbers_of(snapshot, snapshot.candidates(frames_of(SIZE + 5)[0], 1)) == [SIZE + 5]
    assert numbers_of(snapshot, snapshot.candidates(frames_of(100_000)[0], 1)) == [7]
    assert snapshot.video("000005").path == "/elsewhere.mp4"
    assert numbers_of(snapshot, snapshot.candidates(frames_of(5)[0], 1)) == [5]
    check(snapshot, left, f"NOT ({ids_clause('video_id', ['000007'])})")
    check(before, list(range(SIZE)))  # at its own version
    library.tidy()
    check(library.snapshot(), left, f"NOT ({ids_clause('video_id', ['000007'])})")
    check(before, list(range(SIZE)))


def test_rows_that_came_without_vectors_are_found_after_tidying(library: Library) -> None:
    store = Store(library.place)
    entry, segments = video(SIZE)
    table = store.open_segments().table
    table.add(pa.Table.from_pylist(segment_rows(entry, segments), schema=SEGMENT_SCHEMA))
    library.tidy()
    check(library.snapshot(), list(range(SIZE + 1)))


def test_the_effort_is_kept_with_the_library_through_everything(library: Library) -> None:
    Store(library.place).keep_effort(Effort(partitions=3, refine=5))
    assert effort_of(library) == Effort(partitions=3, refine=5)
    library.add_videos([video(SIZE)])
    library.tidy()
    assert effort_of(Library.open(library.folder, encoder=NoEncoder())) == Effort(partitions=3, refine=5)


def test_a_small_library_has_no_effort_to_choose(tmp_path: Path) -> None:
    library = Library.open(tmp_path / "library", encoder=NoEncoder())
    library.add_videos([video(1)])
    with pytest.raises(LibraryError, match="no index on disk"):
        Store(library.place).keep_effort(Effort())


def test_making_it_goes_on_where_it_was_cut_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library.open(tmp_path / "library", encoder=NoEncoder())
    library.add_videos(video(number) for number in range(SIZE))

    def killed(**given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("wordframe.library._lance_index.IvfRq", killed)
        with pytest.raises(KeyboardInterrupt):
            library.tidy(large_from=SIZE)
    check(library.snapshot(), list(range(SIZE)))  # the column is there: compared exactly until its index is, too
    library.tidy()
    check(library.snapshot(), list(range(SIZE)))


def test_who_lacks_what_makes_the_index_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scenes(tmp_path / "films" / "red.mp4", ("red", 2))
    command = ["index", str(tmp_path / "films"), "--library", str(tmp_path / "library")]
    told = "install pylance (pip install pylance) and run this again"
    monkeypatch.setattr("wordframe.library._lance_index.LARGE_SEGMENTS", 1)
    monkeypatch.setattr("wordframe.library._lance_index.find_spec", lambda name: None)
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("note: the library is large")
    assert told in result.stderr
    assert result.stderr.count("\n") == 1
    assert told in json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)["advice"][0]
    monkeypatch.setattr("wordframe.library._lance_index.LARGE_SEGMENTS", 2)
    assert CliRunner().invoke(app, command).stderr == ""


def test_how_much_is_read_is_chosen_by_what_is_found() -> None:
    ways = [
        MeasuredEffort(Effort(4, 1), 0.90, 5.0),
        MeasuredEffort(Effort(40, 4), 1.0, 60.0),
        MeasuredEffort(Effort(40, 2), 0.995, 30.0),
    ]
    assert chosen(ways).effort == Effort(40, 2)
    assert chosen(ways[:1]).effort == Effort(4, 1)


def test_the_doctor_measures_and_keeps_how_much_is_read(tmp_path: Path) -> None:
    encoder = load_encoder("offline")
    library = Library.open(tmp_path / "library", encoder=encoder)
    library.add_videos(video(number, encoder.dimension) for number in range(400))
    library.tidy(large_from=400)
    result = CliRunner().invoke(app, ["doctor", "--library", str(library.folder), "--recall", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)["library"]["effort"]
    assert {way["effort"]["refine"] for way in found["measured"]} == {1, 2, 4, 8, 16}
    assert found["kept"]["recall"] >= 0.99  # 300 candidates of 400
    assert effort_of(Library.open(library.folder)) == Effort(**found["kept"]["effort"])
