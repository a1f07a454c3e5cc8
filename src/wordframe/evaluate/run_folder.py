"""The folder of an evaluation, for people, for other tools, and to compare it with another.

    report.json  report.md  recall.png                 what ``wordframe evaluate`` says
    ranks.npz                                          every query's rank, also after post-processing
    run.t2v.trec  qrels.t2v.trec  (and v2t)            the first 100 candidates of every query, and the right ones

``report.json`` is written last: a folder without it is of a run that was cut short.
Neighbours: ``outcome.py`` makes what is kept, ``compare.py`` reads it again.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wordframe.errors import WordframeError
from wordframe.evaluate.figure import draw_recall
from wordframe.evaluate.outcome import Outcome
from wordframe.evaluate.tables import markdown
from wordframe.evaluate.trec import caption_ids, write_qrels, write_run

REPORT = "report.json"
RANKS = "ranks.npz"
TOP = 100
"""Candidates of a query in a TREC run."""


class RunError(WordframeError):
    """A folder that is no evaluation's, or cannot take one, or runs that cannot be compared."""


@dataclass(frozen=True)
class Run:
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
    """Raise RunError if ``folder`` holds an evaluation: results are never written over."""
    if (folder / REPORT).exists():
        raise RunError(f"{folder} holds an evaluation; choose another folder, or delete this one")


def write_folder(folder: Path, outcome: Outcome) -> None:
    """Write everything; lists and ranks must have been asked for with ``top``."""
    refuse_used(folder)
    measured, report = outcome.measured, outcome.report
    if measured.lists is None:
        raise ValueError(f"the evaluation has no lists; evaluate with top={TOP} to write its folder")
    folder.mkdir(parents=True, exist_ok=True)
    ranks, names = measured.ranks, outcome.names
    captioned = [names[video] for video in measured.lists.captioned.tolist()]
    captions = caption_ids(names, ranks.caption_video)
    write_run(folder / "run.t2v.trec", captions, names, measured.lists.text_lists(ranks.t2v))
    write_qrels(folder / "qrels.t2v.trec", captions, [names[video] for video in ranks.caption_video.tolist()])
    write_run(folder / "run.v2t.trec", captioned, names, measured.lists.video_lists(ranks.v2t))
    write_qrels(folder / "qrels.v2t.trec", captioned, captioned)
    arrays = {"t2v": ranks.t2v, "v2t": ranks.v2t, "caption_video": ranks.caption_video}
    for found in measured.rescored:
        arrays |= {f"{found.name}.{direction}": rescored for direction, rescored in found.ranks.items()}
    np.savez_compressed(folder / RANKS, allow_pickle=False, **{name: array.numpy() for name, array in arrays.items()})
    draw_recall(folder / "recall.png", ranks, title=f"{report.model} on {report.protocol}", seed=report.seed)
    (folder / "report.md").write_text(markdown(report), encoding="utf-8")
    unfinished = folder / f"{REPORT}.part"
    unfinished.write_text(json.dumps(report.to_json(), indent=2) + "\n", encoding="utf-8")
    unfinished.replace(folder / REPORT)


def read_run(folder: str | Path) -> Run:
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
    return Run(place, report, arrays["t2v"], arrays["v2t"], arrays["caption_video"])
