"""What an archive costs: worked out from slopes of which each is read from a file, and empty where one is missing."""

from __future__ import annotations

import doctest
import json
from dataclasses import asdict
from pathlib import Path

import pytest
import results
import sizing
import slopes
from sizing import Limits, Prices
from slopes import DIMENSIONS, Slope

from wordframe.encoders import OfflineEncoder
from wordframe.library._lance_index import LARGE_SEGMENTS

ROOT = Path(__file__).parents[2]
ONES: dict[str, float | None] = dict.fromkeys(slopes.slopes("360p AV1", "offline", "torch"), 1.0)
ROUND = ONES | {
    "frames": 3600.0,
    "segments": 600.0,
    "decoding": 30.0,
    "encoding": 10.0,
    "encoding by GPU": 1.0,
    "frame": 1000.0,
    "row": 200.0,
    "directions": 1800.0,
    "thumbnail": 4000.0,
    "codes in memory": 2000.0,
    "column of the disk index": 3600.0,
    "disk index": 400.0,
    "planning": 1000.0,
    "commit": 1e-9,
    "scan of the disk index": 1e-8,
    "scan of codes": 5e-8,
    "PUTs of a commit": 6.0,
    "GETs of a later search": 300.0,
    "GETs of a later search, index on disk": 900.0,
}

OF_SMALL_ONES = ("codes in memory", "scan of codes", "GETs of a first search", "GETs of a later search")


def row(hours: int, slope: dict[str, float | None] = ROUND, limits: Limits = Limits(cores=40)) -> dict[str, object]:  # noqa: B008
    return sizing.size(hours, slope, Prices(), limits, 0.5)


def test_a_large_archive_by_hand() -> None:
    found = row(1_000)
    assert (found["videos"], found["segments"]) == (2_000, 600_000)
    # 3.6 million frames at 30 and 10 ms, and a millisecond of a GPU
    assert (found["decoding_core_hours"], found["encoding_core_hours"]) == pytest.approx((30.0, 10.0))
    assert found["encoding_gpu_hours"] == pytest.approx(1.0)
    assert found["days_of_indexing"] == pytest.approx(1 / 24)
    # 1,000 bytes a frame; 6,000 a segment and 4,000 more for the index on disk
    assert found["library_bytes"] == pytest.approx(3.6e9 + 600_000 * 10_000)
    assert found["disk_index_bytes"] == pytest.approx(600_000 * 400)
    assert found["scan_seconds"] == pytest.approx(0.006)
    # an hour: 720 commits five seconds apart, as many states, 360 renewals of the lease, and what a run takes
    assert found["indexing_puts"] == pytest.approx(720 * 6 + 720 + 360 + 1)
    assert found["indexing_gets"] == pytest.approx(720 + 1)
    assert found["indexing_money"] == pytest.approx(40 * 0.04 + 5401 * 5e-6 + 721 * 4e-7)
    assert found["month_money"] == pytest.approx(9.6 * 0.023)
    assert found["money_a_1000_searches"] == pytest.approx(900 * 0.0004)


def test_a_small_library_has_its_codes_in_memory_and_no_index_on_disk() -> None:
    most = LARGE_SEGMENTS // 600
    small, large = row(most), row(most + 1)
    assert small["disk_index_bytes"] == 0
    assert (small["later_search_gets"], large["later_search_gets"]) == (300, 900)
    assert small["first_search_bytes"] == pytest.approx(most * 600 * 1800)
    assert small["index_memory_bytes"] == pytest.approx(most * 600 * 2000)
    assert small["scan_seconds"] == pytest.approx(most * 600 * 5e-8)
    assert large["disk_index_bytes"] == pytest.approx((most + 1) * 600 * 400)
    assert large["index_memory_bytes"] == pytest.approx((most + 1) * 600)


def test_no_run_commits_oftener_than_it_has_videos() -> None:
    one = row(1, ROUND | {"PUTs of a run": 0.0, "decoding": 3000.0})
    seconds = 3600 * 3.01 / 40
    assert one["indexing_puts"] == pytest.approx(2 * 6 + seconds * (1 / 5 + 1 / 10))


@pytest.mark.parametrize("missing", sorted(ROUND))
def test_what_follows_from_a_missing_slope_is_empty_and_all_else_stays(missing: str) -> None:
    whole, found = row(1_000), row(1_000, ROUND | {missing: None})
    changed = {name for name in whole if found[name] != whole[name]} - {"pressures", "breaks_first"}
    assert all(found[name] is None for name in changed)
    assert changed or missing in OF_SMALL_ONES, "a slope that nothing is reckoned from"
    shown = sizing.work_table([found]) + sizing.money_table([found])
    assert "None" not in shown
    assert "nan" not in shown


def test_what_is_farthest_beyond_its_limit_breaks_first() -> None:
    assert row(1_000)["breaks_first"] is None
    assert row(10_000_000, limits=Limits(cores=1))["breaks_first"] == "days of indexing"
    quick = Limits(cores=10**9)
    assert row(10_000_000, limits=quick)["breaks_first"] == "seconds of a search"
    patient = Limits(cores=10**9, search_seconds=1e9, memory_gb=1)
    found = row(10_000_000, ROUND | {"commit": 0.0}, limits=patient)
    assert str(found["breaks_first"]).startswith("codes on disk")
    assert row(10_000_000, ROUND | {"commit": None}, limits=patient)["breaks_first"] == found["breaks_first"]


def test_the_examples_in_the_program_are_true() -> None:
    assert doctest.testmod(sizing) == doctest.TestResults(failed=0, attempted=5)


@pytest.mark.parametrize("page", ["words", "a" + sizing.FROM + "b", "a" + sizing.TO + "b"])
def test_a_page_without_marks_is_not_cut_short(page: str) -> None:
    with pytest.raises(SystemExit, match="lacks the marks"):
        sizing.with_tables(page, "tables")


def test_a_slope_is_read_from_its_file_and_missing_where_that_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    (tmp_path / "apples.json").write_text(json.dumps({"rows": [{"grams": 7}]}))
    assert slopes.read("g", "apples", "rows", 0, "grams") == Slope(7.0, "g", "apples.json: rows / 0 / grams")
    for keys in (("rows", 1, "grams"), ("rows", 0, "litres"), ("rows", "grams")):
        assert slopes.read("g", "apples", *keys).value is None
    assert slopes.read("g", "pears", "rows").value is None
    kept = slopes.slopes("1080p H.264", "offline", "openvino")
    assert {name for name, slope in kept.items() if slope.value is not None} == {
        *("row", "frame", "directions", "column of the disk index")  # counted from the code
    }


def test_a_growth_is_that_between_the_smallest_size_and_the_largest() -> None:
    points = {100.0: Slope(7.0, "s", "b"), 10.0: Slope(2.0, "s", "a"), 50.0: Slope(99.0, "s", "c")}
    assert slopes.between("s", points) == Slope(5.0 / 90, "s", "b, less a")
    assert slopes.between("s", points | {10.0: Slope(None, "s", "a")}).value is None
    libraries = [{"segments": 1000, "mb": 9.0}, {"segments": 3000, "mb": 13.0}, {"segments": 2000, "mb": 99.0}]
    assert slopes.growth(libraries, lambda one: one["mb"]) == pytest.approx(0.002)


def test_bytes_counted_from_the_schema_are_those_of_its_columns() -> None:
    # 12 + 18 + 2 · 60 + 32 + 4 + 3 letters, numbers of 8 · 5 and 4 · 5 bytes, offsets of 12 cells; what is null, a bit
    assert slopes.row_bytes() == pytest.approx(189 + 60 + 52, abs=4)
    assert DIMENSIONS["offline"] == OfflineEncoder.dimension


def test_the_kept_figures_are_reckoned_from_the_kept_slopes() -> None:
    """results/sizing.json belongs to the other files that are there, and docs/scale.md shows it."""
    kept = json.loads((ROOT / "benchmarks" / "results" / "sizing.json").read_text())
    found = slopes.slopes(kept["film"], kept["encoder"], kept["runtime"])
    assert {name: asdict(slope) for name, slope in found.items()} == kept["slopes"], "run benchmarks/sizing.py --keep"
    prices, limits = Prices(**kept["prices"]), Limits(**kept["limits"])
    values = {name: slope.value for name, slope in found.items()}
    rows = [sizing.size(each["hours"], values, prices, limits, kept["hours_a_video"]) for each in kept["sizes"]]
    assert rows == kept["sizes"]
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    assert sizing.with_tables(page, sizing.tables(found, rows, prices, limits)) == page
    assert sizing.FROM in page
