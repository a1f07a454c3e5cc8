"""What an evaluation says: the numbers of both directions with everything needed to read and repeat them.

``EvaluationReport.to_json`` is what ``wordframe evaluate --json`` prints, ``report_table`` what people see in a
terminal, ``markdown`` and ``draw_recall`` what a run's folder keeps for them.
Neighbours: ``metrics.py`` makes the numbers, ``intervals.py`` their intervals, ``runs.py`` keeps it all.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wordframe.disk import one_line
from wordframe.errors import needs_extra
from wordframe.evaluate.intervals import METHODS, NAMES, Intervals, recall_curve
from wordframe.evaluate.metrics import TIE_RULE, Evaluation, Ranks, RetrievalMetrics

if TYPE_CHECKING:
    from rich.console import RenderableType

DIRECTIONS = {"t2v": "text → video", "v2t": "video → text"}
HEADINGS = ("R@1 %", "R@5 %", "R@10 %", "MdR", "MnR")
LABELS = {"dsl": "DSL", "qb_norm": "QB-Norm"}
_SHOWN_SKIPPED = 10
_MAX_PLACE = 100
_MARKED = (1, 5, 10)


@dataclass(frozen=True)
class Skipped:
    """A video that took no part in the evaluation, or only in part, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class Row:
    """Numbers after post-processing: one of ``rescoring.py``'s methods, apart from the plain numbers.

    numbers: by direction, where the method has it, with their intervals.
    """

    name: str
    note: str
    numbers: Mapping[str, tuple[RetrievalMetrics, Intervals]]


@dataclass(frozen=True)
class EvaluationReport:
    """One evaluation. Recalls in percent.

    Attributes:
        evaluation: both directions and their 95 % intervals.
        protocol: the split's rules by name: ``folder``, ``msrvtt_9k_1ka`` …
        encoder: the encoder's name and fingerprint.
        model: the preset, folder or hub id that scored.
        frames: how frames were chosen, in words; words: how many token positions a caption may have, in words.
        skipped: the videos that were asked for and took no part. They are not in ``gallery``.
        damaged: the videos of which only a part could be read, and that did take part.
        split: of the benchmark; split_note: how it came about where it is not the authors' own.
        full_gallery: the number of videos of the whole split.
        rows: post-processed numbers.
        checkpoint: fingerprint, settings and state of the model.
        preprocessing: short hash of the encoder's fingerprint and of how frames and words were chosen.
        annotations: SHA-256 by file name; problems: what is odd in those files.
        queries_digest, gallery_digest: short hashes of captions and videos; runs that share them can be compared.
        seed: of the mean rank's interval, and of the query bank where there is one.
    """

    evaluation: Evaluation
    protocol: str
    encoder: str
    model: str
    frames: str
    words: str = "as many as the encoder takes"
    skipped: tuple[Skipped, ...] = ()
    damaged: tuple[Skipped, ...] = ()
    split: str = ""
    split_note: str = ""
    full_gallery: int | None = None
    rows: tuple[Row, ...] = ()
    checkpoint: Mapping[str, Any] = field(default_factory=dict)
    preprocessing: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    queries_digest: str = ""
    gallery_digest: str = ""
    seed: int = 0
    decoder: str = ""
    versions: Mapping[str, str] = field(default_factory=lambda: installed_versions())

    @property
    def captions_per_video(self) -> float:
        """Mean number of captions of the videos that have any."""
        return self.evaluation.t2v.queries / self.evaluation.v2t.queries

    @property
    def gallery_note(self) -> str:
        """A warning where videos of the split are not in the gallery; empty where it is whole."""
        gallery, full = self.evaluation.t2v.gallery, self.full_gallery
        if full is None or gallery == full:
            return ""
        return f"gallery {gallery:,} of {full:,}: not comparable with published numbers"

    def to_json(self) -> dict[str, Any]:
        """Plain lists, dicts and numbers for ``json.dumps``."""
        t2v, v2t, intervals = self.evaluation
        return {
            "t2v": _direction(t2v, intervals["t2v"]),
            "v2t": _direction(v2t, intervals["v2t"]),
            "recall_sum": t2v.recall_sum + v2t.recall_sum,
            "gallery": t2v.gallery,
            "queries": t2v.queries,
            "gallery_note": self.gallery_note,
            "protocol": self.protocol,
            "split": self.split,
            "split_note": self.split_note,
            "captions_per_video": self.captions_per_video,
            "interval_methods": dict(METHODS),
            "post_processing": "none",
            "post_processed": {row.name: _post_processed(row) for row in self.rows},
            "tie_rule": TIE_RULE,
            "encoder": self.encoder,
            "model": self.model,
            "checkpoint": dict(self.checkpoint),
            "frames": self.frames,
            "words": self.words,
            "preprocessing": self.preprocessing,
            "annotations": dict(self.annotations),
            "problems": list(self.problems),
            "queries_digest": self.queries_digest,
            "gallery_digest": self.gallery_digest,
            "seed": self.seed,
            "decoder": self.decoder,
            "versions": dict(self.versions),
            "skipped": [asdict(video) for video in self.skipped],
            "damaged": [asdict(video) for video in self.damaged],
        }


def _direction(metrics: RetrievalMetrics, intervals: Intervals) -> dict[str, Any]:
    return {**metrics.to_json(), "intervals": {name: list(intervals[name]) for name in NAMES}}


def _post_processed(row: Row) -> dict[str, Any]:
    return {"note": row.note, **{name: _direction(*numbers) for name, numbers in row.numbers.items()}}


def installed_versions() -> dict[str, str]:
    """Versions of what can change a number."""
    versions = {"python": platform.python_version()}
    for package in ("wordframe", "torch", "transformers", "numpy", "av"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def report_table(report: EvaluationReport) -> RenderableType:
    """The report as a table with a few lines under it, for ``rich.console.Console.print``."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("queries in gallery", no_wrap=True)
    for heading in HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True)
    for (direction, method), metrics, intervals in _shown_rows(report):
        numbers = metrics.to_json()
        cells = [f"{numbers[key]:.1f}\n{intervals[key][0]:.1f}–{intervals[key][1]:.1f}" for key in NAMES]
        label = [direction, f"after {method}" if method else "", f"{metrics.queries:,} in {metrics.gallery:,}"]
        table.add_row("\n".join(filter(None, label)), *cells)
    return Group(table, *(Text(line) for line in _lines(report)))


def markdown(report: EvaluationReport) -> str:
    """The report as a page."""
    lines = [f"# {report.model} on {_protocol(report)}", ""]
    if report.gallery_note:
        lines += [f"**{report.gallery_note}.**", ""]
    lines += [f"| | queries | gallery | {' | '.join(HEADINGS)} | RSum |", "|---|" + "---:|" * (len(HEADINGS) + 3)]
    for (direction, method), metrics, intervals in _shown_rows(report):
        numbers = metrics.to_json()
        cells = [f"{numbers[key]:.1f} ({intervals[key][0]:.1f}–{intervals[key][1]:.1f})" for key in NAMES]
        sizes = f"{metrics.queries:,} | {metrics.gallery:,}"
        name = f"{direction}, after {method}" if method else direction
        lines.append(f"| {name} | {sizes} | {' | '.join(cells)} | {metrics.recall_sum:.1f} |")
    lines += ["", *(f"- {_escaped(line.strip())}" for line in _lines(report))]
    details = {
        "Model fingerprint": report.checkpoint.get("fingerprint", ""),
        "Model settings": report.checkpoint.get("settings", ""),
        "Preprocessing": report.preprocessing,
        "Decoder": report.decoder,
        "Seed": report.seed,
        "Queries": report.queries_digest,
        "Gallery": report.gallery_digest,
        **{f"SHA-256 of {file}": digest for file, digest in report.annotations.items()},
    }
    lines += ["", "| | |", "|---|---|"]
    lines += [f"| {_escaped(name)} | {_escaped(str(value))} |" for name, value in details.items()]
    return "\n".join(lines) + "\n"


def _shown_rows(report: EvaluationReport) -> Iterator[tuple[tuple[str, str], RetrievalMetrics, Intervals]]:
    """Direction and method; the plain numbers first, then those that look at more than a search sees."""
    yield (DIRECTIONS["t2v"], ""), report.evaluation.t2v, report.evaluation.intervals["t2v"]
    yield (DIRECTIONS["v2t"], ""), report.evaluation.v2t, report.evaluation.intervals["v2t"]
    for row in report.rows:
        for direction, (metrics, intervals) in row.numbers.items():
            yield (DIRECTIONS[direction], LABELS[row.name]), metrics, intervals


def _protocol(report: EvaluationReport) -> str:
    return f"{report.protocol}, {report.split}" if report.split else report.protocol


def _lines(report: EvaluationReport) -> list[str]:
    lines = [f"{report.gallery_note}."] if report.gallery_note else []
    t2v, v2t = report.evaluation.t2v.recall_sum, report.evaluation.v2t.recall_sum
    lines += [
        f"RSum: {t2v:.1f} + {v2t:.1f} = {t2v + v2t:.1f}.",
        "Under each number its 95 % interval over queries, where captions of a video count together: for recalls "
        "Wilson's score interval, for the median order statistics, for the mean the bootstrap-t.",
        f"Protocol: {_protocol(report)}, {report.captions_per_video:.4g} captions a video. "
        f"Post-processing: none{' in the first two rows' if report.rows else ''}.",
        *(f"{LABELS[row.name]}: {row.note}." for row in report.rows),
        f"Encoder: {report.encoder}. Model: {report.model}. Frames: {report.frames}. Words: {report.words}.",
        f"Ties: {TIE_RULE}.",
        f"Versions: {', '.join(f'{name} {number}' for name, number in report.versions.items())}.",
    ]
    lines += [f"Split: {report.split_note}."] if report.split_note else []
    lines += [f"Annotations: {problem}." for problem in report.problems]
    lines += _listed("Took no part and are missing from the gallery", report.skipped)
    return lines + _listed("Were read in part, and took part", report.damaged)


def _listed(what: str, videos: tuple[Skipped, ...]) -> list[str]:
    if not videos:
        return []
    hidden = len(videos) - _SHOWN_SKIPPED
    more = [f"  and {hidden} more; --json lists them all"] if hidden > 0 else []
    shown = [f"  {one_line(video.file)}: {one_line(video.reason)}" for video in videos[:_SHOWN_SKIPPED]]
    return [f"{what} ({len(videos)}):", *shown, *more]


def _escaped(text: str) -> str:
    return one_line(text).replace("|", "\\|")


def draw_recall(path: Path, ranks: Ranks, *, title: str) -> None:
    """Write a PNG with both directions' recall at K against K, and its 95 % intervals.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with needs_extra("report", "a plot of recall"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    # not pyplot: that keeps every figure, and picks a window system where there is none
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    owners = ranks.caption_video.numpy()
    sides = (("t2v", ranks.t2v.numpy(), owners), ("v2t", ranks.v2t.numpy(), None))
    last = min(_MAX_PLACE, ranks.num_videos)
    for direction, found, clusters in sides:
        places = np.unique(np.geomspace(1, last, 40).round().astype(int)).tolist()
        places = sorted({*places, *(place for place in _MARKED if place <= last)})
        middle, low, high = recall_curve(found, places, clusters=clusters)
        (line,) = axes.plot(places, middle, label=f"{DIRECTIONS[direction]}, R@1 {middle[0]:.1f} %")
        axes.fill_between(places, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    axes.set(xscale="log", xlim=(1, max(last, 2)), ylim=(0, 100), xlabel="K", ylabel="R@K, % of queries", title=title)
    ticks = [place for place in (1, 2, 5, 10, 20, 50, 100) if place <= last]
    axes.set_xticks(ticks, labels=[str(place) for place in ticks])
    axes.set_xticks([], minor=True)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=150)
