"""What an evaluation says: the numbers of both directions with everything needed to read and repeat them.

``EvaluationReport.to_json`` is what ``wordframe evaluate --json`` prints; ``tables.py`` shows it to people.
Neighbours: ``metrics.py`` makes the numbers, ``bootstrap.py`` their intervals, ``run_folder.py`` keeps it all.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from wordframe.evaluate.bootstrap import NAMES, Intervals
from wordframe.evaluate.metrics import TIE_RULE, Evaluation, RetrievalMetrics

DIRECTIONS = {"t2v": "text → video", "v2t": "video → text"}


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
        seed: of the intervals, and of the query bank where there is one.
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
