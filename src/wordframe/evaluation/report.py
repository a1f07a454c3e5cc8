"""What an evaluation says: the numbers of both directions with everything needed to read and repeat them.

``EvaluationReport.to_json`` is what ``wordframe evaluate --json`` prints, ``render`` what the terminal shows.
Neighbours: ``metrics.py`` makes the numbers, ``bootstrap.py`` their intervals.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from wordframe.evaluation.bootstrap import NAMES, Intervals
from wordframe.evaluation.metrics import TIE_RULE, Evaluation, RetrievalMetrics

if TYPE_CHECKING:
    from rich.console import RenderableType

_SHOWN_SKIPPED = 10


@dataclass(frozen=True)
class Skipped:
    """A video that took no part in the evaluation, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class EvaluationReport:
    """One evaluation. Recalls in percent.

    Attributes:
        evaluation: both directions and their 95 % intervals.
        protocol: the split and its rules by name: ``folder``, ``msrvtt_9k_1ka`` …
        encoder: the encoder's name and fingerprint.
        model: the preset, folder or hub id that scored.
        frames: how frames were chosen, in words.
        skipped: the videos that were asked for and took no part. They are not in ``gallery``.
        post_processing: what looked at the whole query set (DSL, QB-Norm); ``none`` otherwise.
    """

    evaluation: Evaluation
    protocol: str
    encoder: str
    model: str
    frames: str
    skipped: tuple[Skipped, ...] = ()
    post_processing: str = "none"
    versions: Mapping[str, str] = field(default_factory=lambda: installed_versions())

    @property
    def captions_per_video(self) -> float:
        """Mean number of captions of the videos that have any."""
        return self.evaluation.t2v.queries / self.evaluation.v2t.queries

    def to_json(self) -> dict[str, Any]:
        """Plain lists, dicts and numbers for ``json.dumps``."""
        return {
            "t2v": _direction(self.evaluation.t2v, self.evaluation.intervals["t2v"]),
            "v2t": _direction(self.evaluation.v2t, self.evaluation.intervals["v2t"]),
            "gallery": self.evaluation.t2v.gallery,
            "queries": self.evaluation.t2v.queries,
            "protocol": self.protocol,
            "captions_per_video": self.captions_per_video,
            "post_processing": self.post_processing,
            "tie_rule": TIE_RULE,
            "encoder": self.encoder,
            "model": self.model,
            "frames": self.frames,
            "versions": dict(self.versions),
            "skipped": [asdict(video) for video in self.skipped],
        }


def _direction(metrics: RetrievalMetrics, intervals: Intervals) -> dict[str, Any]:
    return {**metrics.to_json(), "intervals": {name: list(intervals[name]) for name in NAMES}}


def installed_versions() -> dict[str, str]:
    """Versions of what can change a number."""
    versions = {"python": platform.python_version()}
    for package in ("wordframe", "torch", "transformers", "numpy", "av"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def render(report: EvaluationReport) -> RenderableType:
    """The report as a table with a few lines under it, for ``rich.console.Console.print``."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("queries in gallery", no_wrap=True)
    for heading in ("R@1 %", "R@5 %", "R@10 %", "MdR", "MnR"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_row(*_row("text → video", report.evaluation.t2v, report.evaluation.intervals["t2v"]))
    table.add_row(*_row("video → text", report.evaluation.v2t, report.evaluation.intervals["v2t"]))
    return Group(table, *(Text(line) for line in _lines(report)))


def _row(name: str, metrics: RetrievalMetrics, intervals: Intervals) -> list[str]:
    numbers = metrics.to_json()
    cells = [f"{numbers[key]:.1f}\n{intervals[key][0]:.1f}–{intervals[key][1]:.1f}" for key in NAMES]
    return [f"{name}\n{metrics.queries} in {metrics.gallery}", *cells]


def _lines(report: EvaluationReport) -> list[str]:
    lines = [
        "Under each number its 95 % bootstrap interval over queries; captions of a video are drawn together.",
        f"Protocol: {report.protocol}, {report.captions_per_video:.4g} captions a video. "
        f"Post-processing: {report.post_processing}.",
        f"Encoder: {report.encoder}. Model: {report.model}. Frames: {report.frames}.",
        f"Ties: {TIE_RULE}.",
        f"Versions: {', '.join(f'{name} {number}' for name, number in report.versions.items())}.",
    ]
    if report.skipped:
        lines.append(f"Took no part and are missing from the gallery ({len(report.skipped)}):")
        lines += [f"  {_printable(video.file)}: {video.reason}" for video in report.skipped[:_SHOWN_SKIPPED]]
        hidden = len(report.skipped) - _SHOWN_SKIPPED
        lines += [f"  and {hidden} more; --json lists them all"] if hidden > 0 else []
    return lines


def _printable(name: str) -> str:
    """A file name may hold newlines and bytes that are no UTF-8; a terminal line may not."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)
