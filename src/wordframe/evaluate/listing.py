"""All runs below a folder with their figures: trainings, evaluations, evaluations of moments.

Folders are known by the files that they hold (``train/run_folder.py``, ``runs.py``, ``moment_report.py``); one that
cannot be read is listed with what is wrong, since a list that breaks off at the oldest run helps nobody.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from wordframe.errors import counted
from wordframe.evaluate.runs import REPORT, RunError

_TRAINING = "run.json"
_LOG = "metrics.jsonl"


@dataclass(frozen=True)
class RunEntry:
    """A run as a list shows it.

    kind: ``training``, ``evaluation`` or ``moments``; what: the recipe, or the model and what it was tested on;
    figures: in percent, by their names; state: ``done``, how far it is, or what is wrong; modified: seconds since 1970.
    """

    folder: str
    kind: str
    what: str
    state: str
    modified: float
    figures: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def list_runs(folder: str | os.PathLike[str]) -> list[RunEntry]:
    """The runs in ``folder`` and below, by path; what lies within a run is part of it.

    Raises:
        RunError: there is no such folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise RunError(f"{root} is not a folder; name one that holds runs")
    return [_entry(place) for place in _run_folders(root)]


def _run_folders(root: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(root):
        folders.sort()
        if _TRAINING in files or REPORT in files:
            folders.clear()
            yield Path(parent)


def _entry(place: Path) -> RunEntry:
    kind = "training" if (place / _TRAINING).exists() else "evaluation"
    newest = max((file.stat().st_mtime for file in place.iterdir() if file.is_file()), default=0.0)
    try:
        if kind == "training":
            return _training(place, newest)
        report = json.loads((place / REPORT).read_text(encoding="utf-8"))
        if "within_the_video" in report:
            return _moments(place, report, newest)
        figures = {
            f"R@1 {side}": report[side]["recall_at_1"]
            for side in ("t2v", "v2t")
            if report[side]["recall_at_1"] is not None
        }
        return RunEntry(str(place), kind, _tested(report), "done", newest, figures)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return RunEntry(str(place), kind, "", f"cannot be read ({type(error).__name__}: {error})", newest)


def _tested(report: Mapping[str, Any]) -> str:
    return " ".join(filter(None, (f"{report['model']} on", report["protocol"], report["split"])))


def _moments(place: Path, report: Mapping[str, Any], newest: float) -> RunEntry:
    inside, anywhere = report["within_the_video"], report["corpus_wide"]
    figures = {
        "R@1 IoU 0.5": inside["recall_at_1_iou_0.5"]["value"],
        "mAP": inside["map_average"]["value"],
        "corpus R@1 IoU 0.5": anywhere["recall_at_1_iou_0.5"]["value"],
    }
    return RunEntry(str(place), "moments", _tested(report), "done", newest, figures)


def _training(place: Path, newest: float) -> RunEntry:
    # the report, which comes last, names the recipe; a run that goes on has only what makes it the run it is
    done = (place / REPORT).exists()
    known = json.loads((place / (REPORT if done else _TRAINING)).read_text(encoding="utf-8"))
    recipe = known.get("recipe", {})
    name = recipe.get("name") or "not done yet"
    what = f"{name}, seed {recipe['seed']}" if "seed" in recipe else str(name)
    steps, best = 0, None
    for line in _log(place / _LOG):
        steps = max(steps, line["step"])
        found = line.get("validation")
        if found is not None and (best is None or found["metric"] > best["metric"]):
            best = found
    figures = {} if best is None else {f"R@1 {side}": best[side]["recall_at_1"] for side in ("t2v", "v2t")}
    state = f"done, {counted(steps, 'step')}" if done else f"{counted(steps, 'step')} so far"
    return RunEntry(str(place), "training", what, state, newest, figures)


def _log(path: Path) -> Iterator[dict[str, Any]]:
    """Line by line, since a log may be long; a last line that is being written is left out."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n") and line.strip():
                yield json.loads(line)
