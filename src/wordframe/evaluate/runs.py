"""The folder of an evaluation, for people, for other tools, and to compare it with another.

    report.json  report.md  recall.png                 what ``wordframe evaluate`` says
    ranks.npz                                          every query's rank, also after post-processing
    run.t2v.trec  qrels.t2v.trec  (and v2t)            the first 100 candidates of every query, and the right ones

``report.json`` is written last: a folder without it is of a run that was cut short.
Runs on the same queries and the same gallery can be compared (``compare_folders``), others are refused with what
differs. The first group is what the others are compared with; a group is one run, or several seeds of one training.
Neighbours: ``outcome.py`` makes what is kept, ``compare.py`` computes.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from wordframe.disk import one_line, replacing, write_whole
from wordframe.errors import MissingExtraError, WordframeError
from wordframe.evaluate.compare import COMPARED, Difference, Spread, compare_runs, summarize_seeds
from wordframe.evaluate.outcome import Outcome
from wordframe.evaluate.permutation import smallest_p
from wordframe.evaluate.report import DIRECTIONS, draw_recall, markdown
from wordframe.evaluate.toplists import caption_ids, write_trec_qrels, write_trec_run

if TYPE_CHECKING:
    from rich.console import RenderableType

REPORT = "report.json"
RANKS = "ranks.npz"
TOP = 100
"""Candidates of a query in a TREC run."""
SIGNIFICANT = 0.05
_LABELS = dict(zip(COMPARED, ("R@1 %", "R@5 %", "R@10 %", "MdR", "MRR %"), strict=True))
_ALSO_TOLD = ("encoder", "frames", "words")
"""Parts of a report that a comparison does not need alike, but tells."""
_MUST_AGREE = {"gallery_digest": "gallery", "queries_digest": "queries"}


class RunError(WordframeError):
    """A folder that is no evaluation's, or cannot take one, or runs that cannot be compared."""


@dataclass(frozen=True)
class EvaluationRun:
    """An evaluation as its folder tells it.

    folder: where it was read; report: what ``--json`` prints; t2v: ``(T,)`` ranks, v2t: ``(C,)``; caption_video:
    ``(T,)``, the video of each caption.
    """

    folder: Path
    report: Mapping[str, Any]
    t2v: NDArray[np.int64]
    v2t: NDArray[np.int64]
    caption_video: NDArray[np.int64]


def refuse_used(folder: Path) -> None:
    """Raise RunError if ``folder`` holds an evaluation, which is never written over, or cannot be written at all: asked
    before the work, which would be lost. Leaves everything as it was."""
    if (folder / REPORT).exists():
        raise RunError(f"{folder} holds an evaluation; choose another folder, or delete this one")
    if folder.is_file():
        raise RunError(f"{folder} is a file; give a new folder")
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):  # tried out: permissions do not tell of a disk that is read-only
            pass
    except OSError as error:
        raise RunError(
            f"{folder}: cannot be written ({(error.strerror or '').lower()}); choose another folder"
        ) from error
    finally:
        for place in made:
            with contextlib.suppress(OSError):
                place.rmdir()


def write_run(folder: Path, outcome: Outcome) -> str | None:
    """Write everything; lists and ranks must have been asked for with ``top``.

    Returns what was left out, and the line that brings it: the plot needs a library that not everybody has, and an
    evaluation of hours is not lost for it.
    """
    refuse_used(folder)
    measured, report = outcome.measured, outcome.report
    if measured.lists is None:
        raise ValueError(f"the evaluation has no lists; evaluate with top={TOP} to write its folder")
    folder.mkdir(parents=True, exist_ok=True)
    ranks, names = measured.ranks, outcome.names
    captioned = [names[video] for video in measured.lists.captioned.tolist()]
    captions = caption_ids(names, ranks.caption_video)
    write_trec_run(folder / "run.t2v.trec", captions, names, measured.lists.text_lists(ranks.t2v))
    write_trec_qrels(folder / "qrels.t2v.trec", captions, [names[video] for video in ranks.caption_video.tolist()])
    write_trec_run(folder / "run.v2t.trec", captioned, names, measured.lists.video_lists(ranks.v2t))
    write_trec_qrels(folder / "qrels.v2t.trec", captioned, captioned)
    arrays = {"t2v": ranks.t2v, "v2t": ranks.v2t, "caption_video": ranks.caption_video}
    for found in measured.rescored:
        arrays |= {f"{found.name}.{direction}": rescored for direction, rescored in found.ranks.items()}
    with replacing(folder / RANKS) as part:
        np.savez_compressed(part, allow_pickle=False, **{name: array.numpy() for name, array in arrays.items()})
    write_whole(folder / "report.md", markdown(report))
    left_out = None
    try:
        draw_recall(folder / "recall.png", ranks, title=f"{report.model} on {report.protocol}")
    except MissingExtraError as error:
        left_out = f"recall.png was left out: {error}"
    write_whole(folder / REPORT, json.dumps(report.to_json(), indent=2) + "\n")
    return left_out


def read_run(folder: str | Path) -> EvaluationRun:
    """Read what ``write_folder`` wrote.

    Raises:
        RunError: it is no evaluation's folder, or not a whole one.
    """
    place = Path(folder)
    try:
        report = json.loads((place / REPORT).read_text(encoding="utf-8"))
        with np.load(place / RANKS, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in ("t2v", "v2t", "caption_video")}
        queries = report["queries"]
    except FileNotFoundError as error:
        raise RunError(
            f"{place} is not the folder of an evaluation: {Path(error.filename).name} is missing; "
            "make one with wordframe evaluate … --to FOLDER"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise RunError(
            f"{place} cannot be read as an evaluation ({error}); evaluate again into a new folder"
        ) from error
    if not len(arrays["t2v"]) == len(arrays["caption_video"]) == queries:
        raise RunError(
            f"{place}: {RANKS} holds {len(arrays['t2v'])} queries, {REPORT} says {queries}; "
            "the two files do not belong together: evaluate again into a new folder"
        )
    return EvaluationRun(place, report, arrays["t2v"], arrays["v2t"], arrays["caption_video"])


@dataclass(frozen=True)
class Comparison:
    """Groups of runs and their differences to the first group, by side: a direction, or a setting of moments.

    groups: folders by the group's name; sides, labels: titles of the sides and of the numbers, by their keys; spreads:
    ``[group][side][number]``; differences: the same for all groups but the first; least_p: the smallest p that dealing
    the runs out anew could give, where it was done; unlike: what else than the model tells the groups apart, ``[what]
    [group]`` with each value once: a change may be due to it.
    """

    groups: Mapping[str, tuple[str, ...]]
    protocol: str
    sides: Mapping[str, str]
    labels: Mapping[str, str]
    spreads: Mapping[str, Mapping[str, Mapping[str, Spread]]]
    differences: Mapping[str, Mapping[str, Mapping[str, Difference]]]
    least_p: Mapping[str, float | None]
    unlike: Mapping[str, Mapping[str, tuple[str, ...]]]

    def to_json(self) -> dict[str, Any]:
        """Plain lists, dicts and numbers for ``json.dumps``."""
        return {
            "baseline": next(iter(self.groups)),
            "protocol": self.protocol,
            "unlike": {what: {name: list(told) for name, told in found.items()} for what, found in self.unlike.items()},
            "groups": {
                name: {"runs": list(folders), **_plain(self.spreads[name])} for name, folders in self.groups.items()
            },
            "differences": {
                name: {**_plain(found), "smallest_p_seeds": self.least_p[name]}
                for name, found in self.differences.items()
            },
        }


def compare_folders(
    groups: Mapping[str, Sequence[EvaluationRun]], *, samples: int = 2000, permutations: int = 10_000, seed: int = 0
) -> Comparison:
    """Compare every group with the first one.

    Raises:
        RunError: there are no two groups, two runs differ in annotations, queries or gallery, or there is one video.
    """
    runs = refuse_few(groups)
    for run in runs[1:]:
        _refuse_unlike(runs[0], run)
    if len(runs[0].v2t) < 2:
        raise RunError(f"{runs[0].folder} is about a single video; a comparison needs captions of at least two")
    clusters = {"t2v": runs[0].caption_video, "v2t": None}
    ranks = {name: {side: _stacked(several, side) for side in DIRECTIONS} for name, several in groups.items()}
    first, *others = groups
    return Comparison(
        groups={name: tuple(str(run.folder) for run in several) for name, several in groups.items()},
        protocol=protocol_of(runs[0].report),
        sides=DIRECTIONS,
        labels=_LABELS,
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
        least_p={name: least_p(groups[first], groups[name]) for name in others},
        unlike=unlike_in(groups),
    )


def comparison_table(comparison: Comparison) -> RenderableType:
    """Tables for ``rich.console.Console.print``, one for each difference and direction. Say ``crop=False`` to it: where
    there is no room for all columns, a line that goes on below is better than numbers that are not there."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    first, *others = comparison.groups
    tables: list[RenderableType] = []
    for name in others:
        for side, title in comparison.sides.items():
            table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
            spreads = [comparison.spreads[group][side] for group in (first, name)]
            rows = [
                [
                    comparison.labels[key],
                    *(_spread_cell(each[key], key) for each in spreads),
                    *_difference_cells(found, key),
                ]
                for key, found in comparison.differences[name][side].items()
            ]
            dealt = ["p seed"] if comparison.least_p[name] is not None else []
            for place, heading in enumerate([title, first, name, "change", "95 %", "p query", *dealt]):
                is_name = place in (1, 2)  # a long name may be folded, no number is cut
                widest = max([len(row[place]) for row in rows] + ([] if is_name else [len(heading)]))
                table.add_column(
                    Text(heading),
                    justify="left" if place == 0 else "right",
                    overflow="fold",
                    no_wrap=not is_name,
                    min_width=widest,
                )
            for row in rows:
                table.add_row(*row[: len(table.columns)])
            tables.append(table)
    return Group(*tables, *(Text(line) for line in _lines(comparison)))


def protocol_of(report: Mapping[str, Any]) -> str:
    """Protocol and split, as far as a report names them."""
    return " ".join(filter(None, (str(report["protocol"]), str(report["split"]))))


class _HasFolder(Protocol):
    @property
    def folder(self) -> Path: ...

    @property
    def report(self) -> Mapping[str, Any]: ...


_Run = TypeVar("_Run", bound=_HasFolder)


def unlike_in(groups: Mapping[str, Sequence[_Run]]) -> dict[str, dict[str, tuple[str, ...]]]:
    """What ``Comparison.unlike`` tells; seeds of one training, each an encoder of its own, differ in that alone."""
    told = {
        what: {
            name: tuple(dict.fromkeys(str(run.report[what]) for run in several if what in run.report))
            for name, several in groups.items()
        }
        for what in _ALSO_TOLD
    }
    return {what: found for what, found in told.items() if len(set(map(frozenset, found.values()))) > 1}


def refuse_few(groups: Mapping[str, Sequence[_Run]]) -> list[_Run]:
    """All runs; RunError unless there are two groups with a run each, and no run twice."""
    if len(groups) < 2 or not all(groups.values()):
        raise RunError("a comparison needs at least two runs, or two groups with a run each")
    for name, several in groups.items():
        if len({run.folder.resolve() for run in several}) < len(several):
            raise RunError(f"the group {name!r} names a run twice; every seed counts once")
    for (one, runs), (other, more) in itertools.combinations(groups.items(), 2):
        if shared := {run.folder.resolve() for run in runs} & {run.folder.resolve() for run in more}:
            raise RunError(
                f"the groups {one!r} and {other!r} share the run {min(shared)}; it would be compared with itself"
            )
    return [run for several in groups.values() for run in several]


def _refuse_unlike(one: EvaluationRun, other: EvaluationRun) -> None:
    differing = [what for key, what in _MUST_AGREE.items() if one.report.get(key) != other.report.get(key)]
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


def _stacked(runs: Sequence[EvaluationRun], side: str) -> NDArray[np.int64]:
    """``(S, Q)``"""
    return np.stack([getattr(run, side) for run in runs])


def least_p(first: Sequence[object], second: Sequence[object]) -> float | None:
    """The smallest p that dealing out the runs of two groups could give; None where a group is a single run."""
    return smallest_p(len(first), len(second)) if min(len(first), len(second)) > 1 else None


def _plain(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {side: {name: asdict(value) for name, value in numbers.items()} for side, numbers in found.items()}


def _shown(value: float, name: str) -> float:
    """All in percent but ranks."""
    return 100.0 * value if name == "mean_reciprocal_rank" else value


def _spread_cell(spread: Spread, name: str) -> str:
    mean = f"{_shown(spread.mean, name):.1f}"
    return mean if spread.std is None else f"{mean}±{_shown(spread.std, name):.1f}"


def _difference_cells(found: Difference, name: str) -> list[str]:
    # 0.0 is added since a mean that is zero but for rounding would be shown as -0.0
    shown = (round(_shown(value, name), 1) + 0.0 for value in (found.difference, found.low, found.high))
    change, low, high = (f"{value:+.1f}" for value in shown)
    ps = [f"{p:.2g}" if p is not None else "–" for p in (found.p_queries, found.p_seeds)]
    return [change, f"{low} to {high}", *ps]


def _lines(comparison: Comparison) -> list[str]:
    several = any(len(folders) > 1 for folders in comparison.groups.values())
    lines = [
        f"Protocol: {comparison.protocol}. Change: second minus first, with its 95 % interval: Student's t by the "
        f"variance over queries, captions of a video together{', and over seeds where there are several' * several}.",
        "p query: what the two sides gave is swapped, video by video. Two-sided, not corrected for many comparisons.",
    ]
    for what, found in comparison.unlike.items():
        more = {name: f" and {len(told) - 1} more" if len(told) > 1 else "" for name, told in found.items()}
        values = "; ".join(f"{name}: {told[0] if told else 'not told'}{more[name]}" for name, told in found.items())
        lines.append(f"They differ in {what}, too: {one_line(values)}.")
    if several:
        lines.append("Of several runs: mean ± standard deviation over runs; --json has their range and values.")
    for name, least in comparison.least_p.items():
        if least is not None:
            never = ": with so few runs it never falls below 0.05; 4 against 4 can" if least > SIGNIFICANT else ""
            lines.append(
                f"p seed: all runs are dealt out anew; for {name} it can be no smaller than {least:.2g}{never}."
            )
    return lines
