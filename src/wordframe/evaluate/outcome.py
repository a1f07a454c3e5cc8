"""Gathered features and a model into a report, with the ranks and lists that a run's folder keeps.

Neighbours: ``gathering.py`` and ``cached.py`` bring the features, ``evaluator.py`` ranks, ``folder.py`` is what the
command calls, ``run_folder.py`` keeps what comes out.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from wordframe.data import Benchmark
from wordframe.encoders import Encoder
from wordframe.evaluate.bootstrap import bootstrap_intervals
from wordframe.evaluate.evaluator import Measured, Progress, Rescored, measure_features
from wordframe.evaluate.gathering import Gathered, encode_texts
from wordframe.evaluate.metrics import Ranks, RetrievalMetrics
from wordframe.evaluate.report import EvaluationReport, Row
from wordframe.evaluate.rescoring import BETA
from wordframe.evaluate.tiles import Texts
from wordframe.models import TextVideoModel
from wordframe.video import decoder_version

BANK_SIZE = 5000
"""Captions of a query bank, drawn from all of training's: beyond some thousand more of them change little and cost
as much as the test itself."""
DSL_NOTE = "uses the whole query set of the test, which a search does not have"


@dataclass(frozen=True)
class Source:
    """Where queries come from; the fields are the report's."""

    protocol: str
    split: str = ""
    split_note: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @classmethod
    def of_captions(cls, file: str | Path) -> Source:
        """A folder of one's own, with its captions file."""
        return cls("folder", annotations={Path(file).name: sha256(Path(file))})

    @classmethod
    def of_benchmark(cls, benchmark: Benchmark, split: str) -> Source:
        """A split of a benchmark."""
        return cls(
            benchmark.name,
            split=split,
            split_note=benchmark.splits[split].note,
            annotations={file.name: sha256(file) for file in benchmark.files},
            problems=benchmark.problems,
        )


@dataclass(frozen=True)
class Bank:
    """Captions of training for QB-Norm. note: how many, and of which."""

    texts: Texts
    note: str


@dataclass(frozen=True)
class Outcome:
    """An evaluation with all that its folder keeps."""

    report: EvaluationReport
    measured: Measured
    names: tuple[str, ...]


def evaluate_gathered(
    gathered: Gathered,
    model: TextVideoModel,
    *,
    model_name: str,
    encoder: str,
    encoder_fingerprint: str,
    frames: str,
    words: str,
    source: Source,
    top: int | None = None,
    dsl: bool = False,
    bank: Bank | None = None,
    seed: int = 0,
    max_memory_mb: int = 1024,
    checkpoint: Path | None = None,
    on_progress: Progress = lambda done, total: None,
) -> Outcome:
    """Rank and report. ``frames`` and ``words`` say in words how they were chosen; the rest as ``measure_features``."""
    measured = measure_features(
        model,
        gathered.texts,
        gathered.videos,
        gathered.caption_video,
        top=top,
        dsl=dsl,
        bank=None if bank is None else bank.texts,
        max_memory_mb=max_memory_mb,
        checkpoint=checkpoint,
        on_progress=on_progress,
    )
    notes = {"dsl": DSL_NOTE, "qb_norm": "" if bank is None else bank.note}
    owners = [gathered.names[place] for place in gathered.caption_video.tolist()]
    report = EvaluationReport(
        evaluation=measured.ranks.evaluation(seed=seed),
        protocol=source.protocol,
        encoder=f"{encoder} ({encoder_fingerprint})",
        model=model_name,
        frames=frames,
        words=words,
        skipped=gathered.skipped,
        damaged=gathered.damaged,
        split=source.split,
        split_note=source.split_note,
        full_gallery=gathered.full_gallery,
        rows=tuple(_row(found, notes[found.name], measured.ranks, seed) for found in measured.rescored),
        checkpoint={
            "fingerprint": model.fingerprint,
            "trained": model.trained,
            "dimension": model.dimension,
            "settings": model.settings.to_dict(),
        },
        preprocessing=short_hash([encoder_fingerprint, frames, words]),
        annotations=source.annotations,
        problems=source.problems,
        queries_digest=short_hash(
            f"{name}\n{caption}" for name, caption in zip(owners, gathered.captions, strict=True)
        ),
        gallery_digest=short_hash(gathered.names),
        seed=seed,
        decoder=decoder_version(),
    )
    return Outcome(report, measured, gathered.names)


def bank_of(captions: Sequence[str], encoder: Encoder, *, num_words: int | None, seed: int) -> Bank:
    """A query bank of at most ``BANK_SIZE`` captions, the same ones for a seed."""
    chosen = bank_numbers(len(captions), seed)
    texts = encode_texts([captions[number] for number in chosen], encoder, num_words=num_words)
    return Bank(texts, bank_note(len(chosen), len(captions), seed))


def bank_numbers(total: int, seed: int) -> list[int]:
    """Which of ``total`` captions go into a bank, ascending."""
    return sorted(random.Random(seed).sample(range(total), min(BANK_SIZE, total)))


def bank_note(size: int, total: int, seed: int) -> str:
    """What a report says about a bank.

    >>> bank_note(5000, 180000, 0)
    'uses a bank of 5,000 of 180,000 training captions (seed 0), β = 20, beside the query'
    """
    return f"uses a bank of {size:,} of {total:,} training captions (seed {seed}), β = {BETA:g}, beside the query"


def sha256(file: Path) -> str:
    """SHA-256 of a file's bytes."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def short_hash(texts: Iterable[str]) -> str:
    """Short hash of some texts in their order."""
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogateescape")
        digest.update(f"{len(data)}:".encode() + data)
    return digest.hexdigest()[:16]


def _row(found: Rescored, note: str, plain: Ranks, seed: int) -> Row:
    """Numbers and intervals of post-processed ranks, drawn as those of the plain ones."""
    clusters = {"t2v": plain.caption_video.numpy(), "v2t": torch.unique(plain.caption_video).numpy()}
    gallery = {"t2v": plain.num_videos, "v2t": len(plain.v2t)}
    return Row(
        found.name,
        note,
        {
            direction: (
                RetrievalMetrics.from_ranks(ranks, gallery=gallery[direction]),
                bootstrap_intervals(ranks.numpy(), clusters=clusters[direction], seed=seed),
            )
            for direction, ranks in found.ranks.items()
        },
    )
