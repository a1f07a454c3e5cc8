"""Runs in folders, compared: the same queries on the same gallery, or a refusal that says what differs.

The first group is what the others are compared with. A group is one run, or several seeds of one way of training.
Neighbours: ``run_folder.py`` reads runs, ``compare.py`` computes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wordframe.evaluate.compare import COMPARED, Difference, Spread, compare_runs, smallest_p, summarize_seeds
from wordframe.evaluate.report import DIRECTIONS
from wordframe.evaluate.run_folder import Run, RunError

if TYPE_CHECKING:
    from rich.console import RenderableType

_LABELS = dict(zip(COMPARED, ("R@1 %", "R@5 %", "R@10 %", "MdR", "MRR %"), strict=True))
_MUST_AGREE = {"gallery_digest": "gallery", "queries_digest": "queries"}


@dataclass(frozen=True)
class Comparison:
    """Groups of runs and their differences to the first group, by direction.

    groups: folders by the group's name; spreads: ``[group][direction][number]``; differences: the same for all groups
    but the first; least_p: the smallest p that dealing the runs out anew could give, where it was done.
    """

    groups: Mapping[str, tuple[str, ...]]
    protocol: str
    spreads: Mapping[str, Mapping[str, Mapping[str, Spread]]]
    differences: Mapping[str, Mapping[str, Mapping[str, Difference]]]
    least_p: Mapping[str, float | None]

    def to_json(self) -> dict[str, Any]:
        """Plain lists, dicts and numbers for ``json.dumps``."""
        return {
            "baseline": next(iter(self.groups)),
            "protocol": self.protocol,
            "groups": {
                name: {"runs": list(folders), **_plain(self.spreads[name])} for name, folders in self.groups.items()
            },
            "differences": {
                name: {**_plain(found), "smallest_p_seeds": self.least_p[name]}
                for name, found in self.differences.items()
            },
        }


def compare_folders(
    groups: Mapping[str, Sequence[Run]], *, samples: int = 2000, permutations: int = 10_000, seed: int = 0
) -> Comparison:
    """Compare every group with the first one.

    Raises:
        RunError: there are no two groups, or two runs differ in annotations, queries or gallery.
    """
    runs = [run for several in groups.values() for run in several]
    if len(groups) < 2 or not all(groups.values()):
        raise RunError("a comparison needs at least two runs, or two groups with a run each")
    for name, several in groups.items():
        if len({run.folder.resolve() for run in several}) < len(several):
            raise RunError(f"the group {name!r} names a run twice; every seed counts once")
    for run in runs[1:]:
        _refuse_unlike(runs[0], run)
    clusters = {"t2v": runs[0].caption_video, "v2t": None}
    ranks = {name: {side: _stacked(several, side) for side in DIRECTIONS} for name, several in groups.items()}
    first, *others = groups
    return Comparison(
        groups={name: tuple(str(run.folder) for run in several) for name, several in groups.items()},
        protocol=" ".join(filter(None, (str(runs[0].report["protocol"]), str(runs[0].report["split"])))),
        spreads={name: {side: summarize_seeds(found[side]) for side in DIRECTIONS} for name, found in ranks.items()},
        differences={
            name: {
                side: compare_runs(
                    ranks[first][side],
                    ranks[name][side],
                    clusters=clusters[side],
                    samples=samples,
                    permutations=permutations,
                    seed=seed,
                )
                for side in DIRECTIONS
            }
            for name in others
        },
        least_p={name: _least_p(ranks[first]["t2v"], ranks[name]["t2v"]) for name in others},
    )


def render(comparison: Comparison) -> RenderableType:
    """Tables for ``rich.console.Console.print``, one for each difference and direction."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    first, *others = comparison.groups
    tables: list[RenderableType] = []
    for name in others:
        for side, title in DIRECTIONS.items():
            table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
            table.add_column(Text(title), no_wrap=True)
            for heading in (first, name):
                table.add_column(Text(heading), justify="right", overflow="fold")
            table.add_column("change", justify="right", no_wrap=True)
            for heading in ("95 %", "p query", *(["p seed"] if comparison.least_p[name] is not None else [])):
                table.add_column(heading, justify="right", no_wrap=True)
            spreads = [comparison.spreads[group][side] for group in (first, name)]
            for key, label in _LABELS.items():
                found = comparison.differences[name][side][key]
                cells = [*(_spread_cell(each[key], key) for each in spreads), *_difference_cells(found, key)]
                table.add_row(label, *cells[: len(table.columns) - 1])
            tables.append(table)
    return Group(*tables, *(Text(line) for line in _lines(comparison)))


def _refuse_unlike(one: Run, other: Run) -> None:
    differing = [told for key, told in _MUST_AGREE.items() if one.report.get(key) != other.report.get(key)]
    hashes = [sorted(run.report.get("annotations", {}).values()) for run in (one, other)]
    if hashes[0] != hashes[1]:
        differing.insert(0, "annotations")
    if not np.array_equal(one.caption_video, other.caption_video) and not differing:
        differing.append("captions' videos")
    if differing:
        raise RunError(
            f"{one.folder} and {other.folder} cannot be compared: they differ in {', '.join(differing)}; "
            "evaluate both on the same annotations and the same videos"
        )


def _stacked(runs: Sequence[Run], side: str) -> NDArray[np.int64]:
    """``(S, Q)``"""
    return np.stack([getattr(run, side) for run in runs])


def _least_p(first: NDArray[np.int64], second: NDArray[np.int64]) -> float | None:
    return smallest_p(first, second) if min(len(first), len(second)) > 1 else None


def _plain(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {side: {name: asdict(value) for name, value in numbers.items()} for side, numbers in found.items()}


def _shown(value: float, name: str) -> float:
    """All in percent but ranks."""
    return 100.0 * value if name == "mean_reciprocal_rank" else value


def _spread_cell(spread: Spread, name: str) -> str:
    mean = f"{_shown(spread.mean, name):.1f}"
    return mean if spread.std is None else f"{mean}±{_shown(spread.std, name):.1f}"


def _difference_cells(found: Difference, name: str) -> list[str]:
    change, low, high = (f"{_shown(value, name):+.1f}" for value in (found.difference, found.low, found.high))
    ps = [f"{p:.2g}" if p is not None else "–" for p in (found.p_queries, found.p_seeds)]
    return [change, f"{low} to {high}", *ps]


def _lines(comparison: Comparison) -> list[str]:
    several = any(least is not None for least in comparison.least_p.values())
    lines = [
        f"Protocol: {comparison.protocol}. Change: second minus first, with its 95 % interval by paired bootstrap",
        f"(videos are drawn with all their captions{', seeds too' if several else ''}).",
        "p query: the two sides' ranks are swapped, video by video. Two-sided, not corrected for many comparisons.",
    ]
    if any(len(folders) > 1 for folders in comparison.groups.values()):
        lines.append("Of several runs: mean ± standard deviation over runs; --json has their range and values.")
    for name, least in comparison.least_p.items():
        if least is not None:
            lines.append(f"p seed: all runs are dealt out anew; for {name} it can be no smaller than {least:.2g}.")
    return lines
