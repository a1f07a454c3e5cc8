"""Evaluations of moments read back from their folders, and compared sentence by sentence.

Neighbours: ``moment_report.py`` writes the folders, ``paired_values.py`` has the tests, ``runs.py`` is the same for
whole videos and shows either.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wordframe.evaluate.moment_report import NUMBERS, PREDICTIONS, VALUES
from wordframe.evaluate.moments import CORPUS, INSIDE
from wordframe.evaluate.paired_values import compare_values, spread_of
from wordframe.evaluate.runs import REPORT, Comparison, RunError, least_p, protocol_of, refuse_few, unlike_in


@dataclass(frozen=True)
class MomentRun:
    """An evaluation of moments as its folder tells it.

    report: what ``--json`` prints; sentences: video and text of each, ``Q`` of them; values: ``(Q,)`` by setting and
    number, in percent.
    """

    folder: Path
    report: Mapping[str, Any]
    sentences: Sequence[tuple[str, str]]
    values: Mapping[str, Mapping[str, NDArray[np.float64]]]


def is_moment_run(folder: str | Path) -> bool:
    """Whether an evaluation of moments was written there."""
    return (Path(folder) / VALUES).exists()


def read_moment_run(folder: str | Path) -> MomentRun:
    """Read what ``write_moment_run`` wrote.

    Raises:
        RunError: it is not the folder of an evaluation of moments, or not a whole one.
    """
    place = Path(folder)
    try:
        report = json.loads((place / REPORT).read_text(encoding="utf-8"))
        lines = [json.loads(line) for line in (place / PREDICTIONS).read_text(encoding="utf-8").splitlines()]
        sentences = [(str(line["vid"]), str(line["query"])) for line in lines]
        with np.load(place / VALUES, allow_pickle=False) as stored:
            values = {
                setting: {name: stored[f"{setting}.{name}"].astype(np.float64) for name in NUMBERS[setting]}
                for setting in (INSIDE, CORPUS)
            }
        queries, _ = report["queries"], protocol_of(report)
    except FileNotFoundError as error:
        raise RunError(
            f"{place} is not the folder of an evaluation of moments: {Path(error.filename).name} is missing; "
            "make one with wordframe evaluate --moments … --to FOLDER"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise RunError(
            f"{place} cannot be read as an evaluation of moments ({error}); evaluate again into a new folder"
        ) from error
    lengths = {len(sentences), *(len(each) for numbers in values.values() for each in numbers.values())}
    if lengths != {queries}:
        raise RunError(f"{place}: {VALUES}, {PREDICTIONS} and {REPORT} do not belong together; evaluate again")
    return MomentRun(place, report, sentences, values)


def compare_moment_folders(
    groups: Mapping[str, Sequence[MomentRun]], *, permutations: int = 10_000, seed: int = 0
) -> Comparison:
    """Compare every group with the first one, in each number; sentences about one video are swapped together.

    Raises:
        RunError: there are no two groups, two runs differ in their sentences, annotations or the number of videos that
            were searched, or all sentences are about one video.
    """
    runs = refuse_few(groups)
    for run in runs[1:]:
        _refuse_unlike(runs[0], run)
    _, videos = np.unique([video for video, _ in runs[0].sentences], return_inverse=True)
    if videos.max() < 1:
        raise RunError(f"{runs[0].folder} is about a single video; a comparison needs sentences about at least two")
    values = {
        name: {
            setting: {number: np.stack([run.values[setting][number] for run in several]) for number in numbers}
            for setting, numbers in NUMBERS.items()
        }
        for name, several in groups.items()
    }
    first, *others = groups
    return Comparison(
        groups={name: tuple(str(run.folder) for run in several) for name, several in groups.items()},
        protocol=protocol_of(runs[0].report),
        sides={setting: setting for setting in NUMBERS},
        labels={number: f"{label} %" for numbers in NUMBERS.values() for number, label in numbers.items()},
        spreads={
            name: {
                setting: {number: spread_of(each) for number, each in numbers.items()}
                for setting, numbers in found.items()
            }
            for name, found in values.items()
        },
        differences={
            name: {
                setting: {
                    number: compare_values(
                        values[first][setting][number], each, clusters=videos, permutations=permutations, seed=seed
                    )
                    for number, each in numbers.items()
                }
                for setting, numbers in values[name].items()
            }
            for name in others
        },
        least_p={name: least_p(groups[first], groups[name]) for name in others},
        unlike=unlike_in(groups),
    )


def _refuse_unlike(one: MomentRun, other: MomentRun) -> None:
    differing = []
    if sorted(one.report.get("annotations", {}).values()) != sorted(other.report.get("annotations", {}).values()):
        differing.append("annotations")
    if one.sentences != other.sentences:
        differing.append("sentences")
    if one.report.get("videos") != other.report.get("videos"):
        differing.append("number of videos searched")
    if differing:
        raise RunError(
            f"{one.folder} and {other.folder} cannot be compared: they differ in {', '.join(differing)}; "
            "evaluate both on the same annotations and the same videos"
        )
