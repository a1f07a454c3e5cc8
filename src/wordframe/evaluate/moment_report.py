"""What an evaluation of moments says, and its folder.

    report.json  report.md                what ``wordframe evaluate --moments`` says
    values.npz                            every sentence's value in every number, and its video, to be paired
    predictions.jsonl                     a line a sentence, in the form that QVHighlights' own evaluation reads

Neighbours: ``moments.py`` has the numbers, ``moment_runs.py`` compares two folders, ``runs.py`` is the same for whole
videos.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wordframe.data import SALIENCY_CLIP_SECONDS, MomentQuery
from wordframe.disk import one_line, replacing, write_whole
from wordframe.errors import counted
from wordframe.evaluate.moments import DEPTHS, INSIDE, IOU_LEVELS, MomentAnswer, MomentFigure
from wordframe.evaluate.report import Skipped, installed_versions
from wordframe.evaluate.runs import REPORT, refuse_used

if TYPE_CHECKING:
    from rich.console import RenderableType

VALUES = "values.npz"
PREDICTIONS = "predictions.jsonl"
_OTHER_NUMBERS = {
    "map_iou_0.5": "mAP 0.5",
    "map_iou_0.75": "mAP 0.75",
    "map_average": "mAP average",
    "mean_iou": "mIoU",
    "hit_at_1": "HIT@1",
}
NUMBERS = {
    setting: {f"recall_at_{k}_iou_{level}": f"R@{k}, IoU {level}" for k in depths for level in IOU_LEVELS}
    | (_OTHER_NUMBERS if setting == INSIDE else {})
    for setting, depths in DEPTHS.items()
}
"""The name of each number, by setting."""
_SHOWN_SKIPPED = 10
METHODS = {
    "recall": "Wilson score interval on the effective number of sentences",
    "mean": "bootstrap-t over videos",
}


@dataclass(frozen=True)
class MomentReport:
    """One evaluation of moments. Numbers in percent.

    figures: by setting (within the video, corpus-wide) and number; videos: in the library that was searched, with
    ``seconds`` of video in ``segments``; others as in ``EvaluationReport``.
    """

    figures: Mapping[str, Mapping[str, MomentFigure]]
    protocol: str
    encoder: str
    model: str
    queries: int
    captioned: int
    videos: int
    segments: int
    seconds: float
    rated: bool = False
    split: str = ""
    skipped: tuple[Skipped, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    seed: int = 0
    versions: Mapping[str, str] = field(default_factory=installed_versions)

    def to_json(self) -> dict[str, Any]:
        """Plain lists, dicts and numbers for ``json.dumps``."""
        rest = {name: value for name, value in asdict(self).items() if name != "figures"}
        figures = {
            setting.replace(" ", "_").replace("-", "_"): {
                name: {"value": figure.value, "interval": [figure.low, figure.high]} for name, figure in numbers.items()
            }
            for setting, numbers in self.figures.items()
        }
        return {**figures, "interval_methods": dict(METHODS), **rest}


def moment_table(report: MomentReport) -> RenderableType:
    """The report as tables with a few lines under them, for ``rich.console.Console.print``."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    recalls = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    recalls.add_column("moments", no_wrap=True)
    for level in IOU_LEVELS:
        recalls.add_column(f"IoU {level} %", justify="right", no_wrap=True)
    for label, cells in _recall_rows(report):
        recalls.add_row(label, *(_cell(figure, "\n") for figure in cells))
    others = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for label in _OTHER_NUMBERS.values():
        others.add_column(f"{label} %", justify="right", no_wrap=True)
    others.add_row(*(_cell(report.figures[INSIDE][name], "\n") for name in _OTHER_NUMBERS))
    return Group(recalls, others, *(Text(line) for line in _lines(report)))


def moment_markdown(report: MomentReport) -> str:
    """The report as a page."""
    lines = [f"# {one_line(report.model)}: moments of {_protocol(report)}", ""]
    lines += [f"| | {' | '.join(f'IoU {level} %' for level in IOU_LEVELS)} |", "|---|" + "---:|" * len(IOU_LEVELS)]
    lines += [f"| {label} | {' | '.join(_cell(figure) for figure in cells)} |" for label, cells in _recall_rows(report)]
    lines += ["", f"| {' | '.join(f'{label} %' for label in _OTHER_NUMBERS.values())} |"]
    lines += ["|" + "---:|" * len(_OTHER_NUMBERS)]
    lines += [f"| {' | '.join(_cell(report.figures[INSIDE][name]) for name in _OTHER_NUMBERS)} |", ""]
    lines += [f"- {line.strip()}".replace("|", "\\|") for line in _lines(report)]
    return "\n".join(lines) + "\n"


def write_moment_run(
    folder: Path,
    report: MomentReport,
    queries: Sequence[MomentQuery],
    answers: Sequence[MomentAnswer],
    values: Mapping[str, Mapping[str, NDArray[np.float64]]],
) -> None:
    """Write everything; ``report.json`` last, so that a folder without it is of a run that was cut short.

    Raises:
        RunError: the folder holds an evaluation.
    """
    refuse_used(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(_prediction(query, answer)) for query, answer in zip(queries, answers, strict=True)]
    write_whole(folder / PREDICTIONS, "\n".join(lines) + "\n")
    arrays = {f"{setting}.{name}": each for setting, numbers in values.items() for name, each in numbers.items()}
    with replacing(folder / VALUES) as part:
        np.savez_compressed(part, allow_pickle=False, video=np.array([query.video for query in queries]), **arrays)
    write_whole(folder / "report.md", moment_markdown(report))
    write_whole(folder / REPORT, json.dumps(report.to_json(), indent=2) + "\n")


def _prediction(query: MomentQuery, answer: MomentAnswer) -> dict[str, Any]:
    """In QVHighlights' form: windows with their scores, and a saliency for each clip of two seconds from the start."""
    clips = 1 + int(max(answer.seconds, default=-1.0) // SALIENCY_CLIP_SECONDS)
    saliency = np.zeros(max(clips, 0))
    for second, value in zip(answer.seconds, answer.heat, strict=True):
        clip = int(second // SALIENCY_CLIP_SECONDS)
        saliency[clip] = max(saliency[clip], value)
    return {
        "qid": int(query.query_id) if query.query_id.isdecimal() else query.query_id,
        "query": query.text,
        "vid": query.video,
        "pred_relevant_windows": [
            [round(moment.start_seconds, 3), round(moment.end_seconds, 3), round(moment.score, 6)]
            for moment in answer.inside
        ],
        "pred_saliency_scores": saliency.round(4).tolist(),
        "corpus": [
            [moment.video, round(moment.start_seconds, 3), round(moment.end_seconds, 3), round(moment.score, 6)]
            for moment in answer.corpus
        ],
    }


def _recall_rows(report: MomentReport) -> list[tuple[str, list[MomentFigure]]]:
    """Label and figures of each row: R@k of a setting, at each level."""
    rows = []
    for setting, depths in DEPTHS.items():
        for k in depths:
            numbers = report.figures[setting]
            rows.append((f"{setting}, R@{k}", [numbers[f"recall_at_{k}_iou_{level}"] for level in IOU_LEVELS]))
    return rows


def _cell(figure: MomentFigure, between: str = " ") -> str:
    interval = f"{figure.low:.1f}–{figure.high:.1f}"
    return f"{figure.value:.1f}{between}" + (interval if between == "\n" else f"({interval})")


def _protocol(report: MomentReport) -> str:
    return f"{report.protocol}, {report.split}" if report.split else report.protocol


def _lines(report: MomentReport) -> list[str]:
    apart = report.seconds / max(report.segments, 1)
    hit = (
        "the most salient clip of 2 s was rated very good"
        if report.rated
        else "the most salient second lies in a moment of the sentence (no ratings here)"
    )
    lines = [
        "R@k, IoU: share of sentences with a moment among the first k that overlaps theirs by so much or more; "
        "corpus-wide the video must be right, too. mAP over at most 10 moments of the sentence's video, "
        f"average: over IoU 0.5 to 0.95. HIT@1: {hit}.",
        "With each number its 95 % interval over sentences, where those about one video count together: "
        "for shares Wilson's, for mAP and mIoU the bootstrap-t.",
        f"Protocol: {_protocol(report)}: {counted(report.queries, 'sentence')} about "
        f"{counted(report.captioned, 'video')}; searched: {counted(report.videos, 'video')} in "
        f"{counted(report.segments, 'segment')} of {apart:.1f} s on average.",
        f"Encoder: {report.encoder}. Model: {report.model}.",
        f"Versions: {', '.join(f'{name} {number}' for name, number in report.versions.items())}.",
    ]
    lines += [f"Annotations: {problem}." for problem in report.problems]
    if report.skipped:
        lines.append(f"Took no part ({len(report.skipped)}):")
        shown = report.skipped[:_SHOWN_SKIPPED]
        lines += [f"  {one_line(video.file)}: {one_line(video.reason)}" for video in shown]
        hidden = len(report.skipped) - len(shown)
        lines += [f"  and {hidden:,} more; --json lists them all"] if hidden else []
    return lines
