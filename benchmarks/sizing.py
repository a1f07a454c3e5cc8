"""What an archive costs, from a hundred hours to a million: work, bytes, memory, requests, money, what breaks first.

    python benchmarks/sizing.py [--keep] [--film '1080p H.264'] [--encoder offline] [--cores 64] [--hours 1000 …]

Nothing is measured here. Every slope is read from a file that another benchmark wrote into ``results``, or counted from
the code, and the last table says which (``slopes.py``); one that no file holds is *missing*, and whatever follows from
it is left empty. Costs are taken to grow by their slopes, so the tables are a plan and no measurement. Frames that
hardly differ from the last encoded one are not encoded by ``index``; here all are reckoned to be. Prices are options,
and nobody's list. ``--keep`` writes results/sizing.json, and the tables into docs/scale.md.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from results import save
from slopes import DIMENSIONS, Slope, slopes

from wordframe.library._lance_index import LARGE_SEGMENTS
from wordframe.library._lease import _RENEWALS
from wordframe.library._object_store import _LEASE_SECONDS, ObjectPrefix
from wordframe.library.indexer import COMMIT_SECONDS

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
FROM, TO = "<!-- written by benchmarks/sizing.py -->\n\n", "\n\n<!-- until here -->"
HOURS = (100, 1_000, 10_000, 100_000, 1_000_000)
BEAT_SECONDS = ObjectPrefix.beat_seconds
RENEW_SECONDS = _LEASE_SECONDS / _RENEWALS


@dataclass(frozen=True)
class Prices:
    """In one currency: an hour of a core or a GPU, a GB for a month, a thousand requests."""

    core_hour: float = 0.04
    gpu_hour: float = 1.0
    gb_month: float = 0.023
    get_1000: float = 0.0004
    put_1000: float = 0.005


@dataclass(frozen=True)
class Limits:
    """What is to be had: cores and days for indexing, memory of one process, seconds a search may take."""

    cores: int = 64
    days: float = 30.0
    memory_gb: float = 64.0
    search_seconds: float = 1.0


# Sizes ---------------------------------------------------------------------------------------------------------------


def times(*factors: float | None) -> float | None:
    """The product; None where a factor is missing."""
    known = [factor for factor in factors if factor is not None]
    return math.prod(known) if len(known) == len(factors) else None


def plus(*terms: float | None) -> float | None:
    """The sum; None where a term is missing."""
    known = [term for term in terms if term is not None]
    return math.fsum(known) if len(known) == len(terms) else None


def indexing_requests(
    videos: int, wall_seconds: float | None, slope: Mapping[str, float | None]
) -> tuple[float | None, float | None]:
    """Writes and reads of one run by one writer: commits, states and the lease's renewals, and its begin and end.

    At least: what merging reads at the end grows with what was written, and is counted at one size alone.
    """
    commits = None if wall_seconds is None else float(min(videos, math.ceil(wall_seconds / COMMIT_SECONDS)))
    beats = times(wall_seconds, 1 / BEAT_SECONDS + 1 / RENEW_SECONDS)
    puts = plus(slope["PUTs of a run"], times(commits, slope["PUTs of a commit"]), beats)
    return puts, plus(slope["GETs of a run"], times(commits, slope["GETs of a commit"]))


def size(
    hours: float, slope: Mapping[str, float | None], prices: Prices, limits: Limits, hours_a_video: float
) -> dict[str, Any]:
    """One archive. Bytes, hours, requests and money; None what is missing."""
    videos = math.ceil(hours / hours_a_video)
    frames, segments = times(hours, slope["frames"]), times(hours, slope["segments"])
    is_large = segments is not None and segments >= LARGE_SEGMENTS

    def of_its_kind(small: str, large: str) -> float | None:
        return None if segments is None else slope[large if is_large else small]

    first, later = (
        of_its_kind(f"GETs of a {which} search", f"GETs of a {which} search, index on disk")
        for which in ("first", "later")
    )
    decoding, encoding, gpu = (
        times(frames, slope[name], 1 / 3.6e6) for name in ("decoding", "encoding", "encoding by GPU")
    )
    cells = [times(segments, slope[name]) for name in ("row", "directions", "thumbnail")]
    on_disk = times(segments, slope["disk index"] if is_large else 0.0)
    column = times(segments, slope["column of the disk index"] if is_large else 0.0)
    library = plus(*cells, times(frames, slope["frame"]), on_disk, column)
    core_hours = plus(decoding, encoding)
    wall_seconds = times(core_hours, 3600 / limits.cores)
    puts, gets = indexing_requests(videos, wall_seconds, slope)
    asking = plus(times(puts, prices.put_1000 / 1000), times(gets, prices.get_1000 / 1000))
    row: dict[str, Any] = {
        "hours": hours,
        "videos": videos,
        "segments": segments,
        "decoding_core_hours": decoding,
        "encoding_core_hours": encoding,
        "encoding_gpu_hours": gpu,
        "days_of_indexing": times(wall_seconds, 1 / 86_400),
        "library_bytes": library,
        "disk_index_bytes": on_disk,
        "index_memory_bytes": times(segments, of_its_kind("codes in memory", "memory of the disk index")),
        "planning_bytes": times(videos, slope["planning"]),
        "scan_seconds": times(segments, of_its_kind("scan of codes", "scan of the disk index")),
        "commit_seconds_more": times(videos, slope["commit"]),
        "indexing_puts": puts,
        "indexing_gets": gets,
        "first_search_bytes": on_disk if is_large else times(segments, slope["directions"]),
        "first_search_gets": first,
        "later_search_gets": later,
        "indexing_money": plus(times(core_hours, prices.core_hour), asking),
        "indexing_money_by_gpu": plus(times(decoding, prices.core_hour), times(gpu, prices.gpu_hour), asking),
        "month_money": times(library, 1e-9, prices.gb_month),
        "money_a_1000_searches": times(later, prices.get_1000),
    }
    return row | {"pressures": pressures(row, limits), "breaks_first": breaks_first(pressures(row, limits))}


def pressures(row: Mapping[str, Any], limits: Limits) -> dict[str, float | None]:
    """How many times over each limit an archive is; None where that is not known."""
    memory = 1 / (1e9 * limits.memory_gb)
    return {
        "days of indexing": times(row["days_of_indexing"], 1 / limits.days),
        "memory of a searching process": times(row["index_memory_bytes"], memory),
        "codes on disk, all read by each search, no longer held in memory": times(row["disk_index_bytes"], memory),
        "seconds of a search": times(row["scan_seconds"], 1 / limits.search_seconds),
        "memory of the process that plans": times(row["planning_bytes"], memory),
        "the one process that commits": times(row["commit_seconds_more"], 1 / COMMIT_SECONDS),
    }


def breaks_first(pressure: Mapping[str, float | None]) -> str | None:
    """What is farthest beyond its limit: costs grow in proportion, so it was met at the smallest size.

    >>> breaks_first({"memory": 3.0, "days": 7.5, "planning": None})
    'days'
    >>> breaks_first({"memory": 0.9})
    """
    beyond = {name: ratio for name, ratio in pressure.items() if ratio is not None and ratio > 1}
    return max(beyond, key=lambda name: beyond[name]) if beyond else None


# Tables --------------------------------------------------------------------------------------------------------------


def short(value: float | None, digits: int = 3) -> str:
    """A number of three digits; nothing for a missing one.

    >>> short(67412.3), short(0.02345), short(None), short(12.0), short(0)
    ('67,400', '0.0234', '', '12', '0')
    """
    if value is None:
        return ""
    if value == 0:
        return "0"
    rounded = round(value, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:.{digits}g}"


def amount(count: float | None) -> str:
    """Bytes in the unit that suits them.

    >>> amount(1.536e9), amount(2e13), amount(None)
    ('1.54 GB', '20 TB', '')
    """
    if count is None:
        return ""
    unit, name = next(
        ((10.0**power, name) for power, name in ((12, "TB"), (9, "GB"), (6, "MB")) if count >= 10**power), (1e3, "KB")
    )
    return f"{short(count / unit)} {name}"


def lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown, numbers to the right."""
    bars = ["---", *["---:"] * (len(header) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (header, bars, *rows)]


def slope_table(found: Mapping[str, Slope]) -> str:
    """Where each slope is from."""
    header = ("| slope | value | unit | from |", "|---|---:|---|---|")
    rows = [
        f"| {name} | {short(each.value) or 'missing'} | {each.unit} | {each.source} |" for name, each in found.items()
    ]
    return "\n".join([*header, *rows])


def work_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Work, bytes and memory."""
    header = ("hours", "segments", "decoding, core-h", "encoding, core-h", "encoding, GPU-h", "indexing, days")
    more = ("library", "first search reads", "index in memory", "planning in memory", "scan, s")
    counts = ("segments", "decoding_core_hours", "encoding_core_hours", "encoding_gpu_hours", "days_of_indexing")
    sizes = ("library_bytes", "first_search_bytes", "index_memory_bytes", "planning_bytes")
    shown = [
        [
            f"{row['hours']:,}",
            *(short(row[name]) for name in counts),
            *(amount(row[name]) for name in sizes),
            short(row["scan_seconds"]),
        ]
        for row in rows
    ]
    return "\n".join(lines((*header, *more), shown))


def money_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Requests to object storage, money, and what breaks first."""
    names = {
        "indexing: PUTs, at least": "indexing_puts",
        "GETs": "indexing_gets",
        "of a first search, at least": "first_search_gets",
        "of a later one, at least": "later_search_gets",
        "indexing, money": "indexing_money",
        "with GPUs": "indexing_money_by_gpu",
        "storage, a month": "month_money",
        "1,000 searches' GETs": "money_a_1000_searches",
    }
    shown = [
        [f"{row['hours']:,}", *(short(row[name]) for name in names.values()), row["breaks_first"] or "nothing known"]
        for row in rows
    ]
    return "\n".join(lines(("hours", *names, "breaks first"), shown))


def price_table(prices: Prices, limits: Limits) -> str:
    """What the money is reckoned with, and what counts as broken."""
    named = {"core-hour": prices.core_hour, "GPU-hour": prices.gpu_hour, "GB-month": prices.gb_month}
    named |= {"1,000 GETs": prices.get_1000, "1,000 PUTs": prices.put_1000}
    named |= {"cores": limits.cores, "days": limits.days, "GB of memory": limits.memory_gb}
    named |= {"s of a search": limits.search_seconds}
    return "\n".join(lines(list(named), [[f"{value:g}" for value in named.values()]]))


def tables(found: Mapping[str, Slope], rows: Sequence[Mapping[str, Any]], prices: Prices, limits: Limits) -> str:
    """All of it, in Markdown."""
    parts = (price_table(prices, limits), work_table(rows), money_table(rows), slope_table(found))
    return "\n\n".join(parts)


def with_tables(page: str, shown: str) -> str:
    """A page with these tables in place of those that it has.

    >>> with_tables("a" + FROM + "old" + TO + "b", "new") == "a" + FROM + "new" + TO + "b"
    True
    """
    before, start, rest = page.partition(FROM)
    _, end, after = rest.partition(TO)
    if not (start and end):  # without them the rest of the page would go
        raise SystemExit(f"{PAGE}: lacks the marks {FROM.strip()} and {TO.strip()} that the tables stand between")
    return before + FROM + shown + TO + after


def asked_for() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="write results/sizing.json and docs/scale.md")
    parser.add_argument("--hours", type=int, nargs="+", default=list(HOURS))
    parser.add_argument("--film", default="1080p H.264", help="a row of results/frame_costs.json")
    parser.add_argument("--encoder", choices=DIMENSIONS, default="offline")
    parser.add_argument("--runtime", choices=("openvino", "torch"), default="openvino")
    parser.add_argument("--hours-a-video", type=float, default=0.5)
    for kind in (Prices, Limits):
        for name, value in asdict(kind()).items():
            parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    wanted = parser.parse_args()
    if min([*wanted.hours, wanted.hours_a_video, wanted.cores, wanted.days, wanted.memory_gb]) <= 0:
        parser.error("hours, cores, days and memory must be above 0")
    return wanted


def main() -> None:
    wanted = asked_for()
    prices, limits = (
        kind(**{name: getattr(wanted, name) for name in asdict(kind())})  # type: ignore[operator]
        for kind in (Prices, Limits)
    )
    found = slopes(wanted.film, wanted.encoder, wanted.runtime)
    values = {name: slope.value for name, slope in found.items()}
    rows = [size(hours, values, prices, limits, wanted.hours_a_video) for hours in wanted.hours]
    shown = tables(found, rows, prices, limits)
    print(shown)
    if wanted.keep:
        asked = {"film": wanted.film, "encoder": wanted.encoder, "runtime": wanted.runtime}
        given = {"hours_a_video": wanted.hours_a_video, "prices": asdict(prices), "limits": asdict(limits)}
        told = {name: asdict(slope) for name, slope in found.items()}
        save("sizing", asked | given | {"slopes": told, "sizes": rows})
        PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), shown), encoding="utf-8")


if __name__ == "__main__":
    main()
