"""A report as people read it: a table for the terminal, a page of Markdown for a run's folder.

Neighbours: ``report.py`` holds what is shown, ``run_folder.py`` keeps the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from wordframe.evaluate.bootstrap import NAMES, Intervals
from wordframe.evaluate.metrics import TIE_RULE, RetrievalMetrics
from wordframe.evaluate.report import DIRECTIONS, EvaluationReport, Skipped

if TYPE_CHECKING:
    from rich.console import RenderableType

HEADINGS = ("R@1 %", "R@5 %", "R@10 %", "MdR", "MnR")
LABELS = {"dsl": "DSL", "qb_norm": "QB-Norm"}
_SHOWN_SKIPPED = 10


def render(report: EvaluationReport) -> RenderableType:
    """The report as a table with a few lines under it, for ``rich.console.Console.print``."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("queries in gallery", no_wrap=True)
    for heading in HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True)
    for (direction, method), metrics, intervals in _rows(report):
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
    for (direction, method), metrics, intervals in _rows(report):
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


def _rows(report: EvaluationReport) -> Iterator[tuple[tuple[str, str], RetrievalMetrics, Intervals]]:
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
        "Under each number its 95 % bootstrap interval over queries; captions of a video are drawn together.",
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
    shown = [f"  {_printable(video.file)}: {_printable(video.reason)}" for video in videos[:_SHOWN_SKIPPED]]
    return [f"{what} ({len(videos)}):", *shown, *more]


def _printable(name: str) -> str:
    """A file name may hold newlines and bytes that are no UTF-8; a line may not."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


def _escaped(text: str) -> str:
    return _printable(text).replace("|", "\\|")
