"""The whole of an evaluation: captioned videos or cached features, and a model, into a report with its ranks and lists.

``evaluate_videos`` decodes and encodes a folder's or a benchmark's videos; ``evaluate_cached`` starts from features on
disk: no video is read and no encoder loaded, and a run that was cut short goes on. Every caption is a text→video query,
video→text goes by the best of a video's captions.
Neighbours: ``gathering.py`` brings the features, ``evaluator.py`` ranks, ``runs.py`` keeps what comes out.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from wordframe.data import Benchmark, CachedFeatures, CacheError, FeatureDescription, FrameCache, MatchedVideos
from wordframe.disk import content_hash
from wordframe.encoders import Encoder
from wordframe.errors import CheckpointError
from wordframe.evaluate.evaluator import Measured, Rescored, measure_features
from wordframe.evaluate.gathering import CachedTexts, Gathered, Sampling, encode_texts, gather, gather_cached
from wordframe.evaluate.intervals import rank_intervals
from wordframe.evaluate.metrics import Ranks, RetrievalMetrics
from wordframe.evaluate.ranker import OnProgress
from wordframe.evaluate.ranking import Texts
from wordframe.evaluate.report import EvaluationReport, Row
from wordframe.evaluate.rescoring import BETA
from wordframe.evaluate.sharing import ALONE, Share
from wordframe.models import TextVideoModel
from wordframe.video import WHOLE_VIDEO, FrameRule, decoder_version

_BANK_SIZE = 5000
"""Captions of a query bank, drawn from all of training's: beyond some thousand more of them change little and cost
as much as the test itself."""
_DSL_NOTE = "uses the whole query set of the test, which a search does not have"


@dataclass(frozen=True)
class Provenance:
    """Where queries come from; the fields are the report's."""

    protocol: str
    split: str = ""
    split_note: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @classmethod
    def of_captions(cls, file: str | Path) -> Provenance:
        """A folder of one's own, with its captions file."""
        return cls("folder", annotations={Path(file).name: content_hash(file)})

    @classmethod
    def of_benchmark(cls, benchmark: Benchmark, split: str) -> Provenance:
        """A split of a benchmark."""
        return cls(
            benchmark.name,
            split=split,
            split_note=benchmark.splits[split].note,
            annotations={file.name: content_hash(file) for file in benchmark.files},
            problems=benchmark.problems,
        )


@dataclass(frozen=True)
class _Bank:
    """Captions of training for QB-Norm. note: how many, and of which."""

    texts: Texts
    note: str


@dataclass(frozen=True)
class _About:
    """What a report says of an evaluation beside its numbers. frames, words: in words, how they were chosen."""

    model_name: str
    encoder: str
    fingerprint: str
    frames: str
    words: str
    source: Provenance


@dataclass(frozen=True)
class Outcome:
    """An evaluation with all that its folder keeps."""

    report: EvaluationReport
    measured: Measured
    names: tuple[str, ...]


def evaluate_videos(
    matched: MatchedVideos,
    encoder: Encoder,
    model: TextVideoModel,
    *,
    model_name: str,
    source: Provenance | None = None,
    sampling: Sampling = "uniform",
    rule: FrameRule = WHOLE_VIDEO,
    num_frames: int = 12,
    num_words: int | None = None,
    allow_missing: bool = False,
    cache: FrameCache | None = None,
    top: int | None = None,
    dsl: bool = False,
    bank: Sequence[str] | None = None,
    seed: int = 0,
    max_memory_mb: int = 1024,
    share: Share = ALONE,
    on_read: Callable[[int], None] = lambda done: None,
    on_progress: OnProgress = lambda done, total: None,
) -> Outcome:
    """Both directions' numbers of ``model`` on captioned videos, with the ranks and lists behind them.

    Args:
        source: where the captions come from, for the report; a folder of one's own by default.
        sampling: ``uniform`` or ``seconds`` (see ``gathering.py``); rule: of ``seconds``, which ones.
        cache: frames that were decoded before, by the videos' names; ``matched`` is then ``match_cached``'s.
        num_frames: frames a video, ``F``; fewer if the model takes fewer.
        num_words: token positions a caption, ``W``; fewer if encoder or model take fewer.
        top: length of every query's list of candidates; None for no lists.
        dsl: rank by dual softmax too.
        bank: captions of the training split; rank by QB-Norm too.
        allow_missing: evaluate the other videos when some are not there or cannot be read.
        seed: of the mean rank's interval and of the bank.
        share: what this process does of it, where several do (``sharing.py``); the outcome is whole in each.
        on_read: called with the number of videos read so far.
        on_progress: called with the pairs scored and their total.

    Raises:
        AnnotationError: videos are missing or unreadable and that is not allowed, or none is left.
    """
    # never more than the model takes: the report must say what was scored, not what was asked for
    num_frames = min(num_frames, model.max_frames or num_frames)
    num_words = min((limit for limit in (num_words, model.max_words) if limit is not None), default=None)
    gathered = gather(
        matched,
        encoder,
        sampling=sampling,
        rule=rule,
        num_frames=num_frames,
        num_words=num_words,
        allow_missing=allow_missing,
        cache=cache,
        share=share,
        on_progress=on_read,
    )
    frames = f"{num_frames} a video, uniform" if sampling == "uniform" else rule.describe(num_frames)
    frames += "" if cache is None else f"; {cache.description}"
    words = _word_rule(num_words, encoder.max_words, encoder.text_cleaning)
    return _evaluate_gathered(
        gathered,
        model,
        _About(model_name, encoder.name, encoder.fingerprint, frames, words, source or Provenance("folder")),
        top=top,
        dsl=dsl,
        bank=None if bank is None else _encoded_bank(bank, encoder, num_words=num_words, seed=seed),
        seed=seed,
        max_memory_mb=max_memory_mb,
        share=share,
        on_progress=on_progress,
    )


def evaluate_cached(
    folder: str | Path,
    model: TextVideoModel,
    *,
    model_name: str,
    num_frames: int | None = None,
    num_words: int | None = None,
    top: int | None = None,
    dsl: bool = False,
    bank: str | Path | None = None,
    seed: int = 0,
    max_memory_mb: int = 1024,
    share: Share = ALONE,
    checkpoint: Path | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> Outcome:
    """Both directions' numbers of ``model`` on the features in ``folder``; arguments as in ``evaluate_videos``.

    Args:
        num_frames, num_words: fewer than the cache holds; what it holds by default.
        bank: a folder with features of the training split, by the same encoder.
        checkpoint: where the state is kept; the same call goes on from there.

    Raises:
        CacheError: there is no complete feature cache, or it holds fewer frames or words than are asked for.
        CheckpointError: the bank was made by another encoder.
    """
    with share.failing_together():
        cache = CachedFeatures.open(folder)
        stored = cache.description
        _refuse_more(folder, "frames a video", "--frames", stored.num_frames, (num_frames, model.max_frames))
        _refuse_more(folder, "words a caption", "--words", stored.max_words, (num_words, model.max_words))
        num_frames = min(limit for limit in (num_frames, stored.num_frames, model.max_frames) if limit is not None)
        num_words = min(limit for limit in (num_words, stored.max_words, model.max_words) if limit is not None)
        gathered = gather_cached(cache, num_frames=num_frames, num_words=num_words)
        texts = None if bank is None else _cached_bank(cache, bank, num_words, seed)
    share.refuse_unlike(features=[cache.fingerprint])
    source = Provenance(stored.benchmark, stored.split, stored.note, stored.annotations)
    frames = _frame_rule(stored, num_frames)
    words = _word_rule(num_words, stored.max_words, stored.text_cleaning or "")
    return _evaluate_gathered(
        gathered,
        model,
        _About(model_name, stored.encoder, stored.fingerprint, frames, words, source),
        top=top,
        dsl=dsl,
        bank=texts,
        seed=seed,
        max_memory_mb=max_memory_mb,
        share=share,
        checkpoint=checkpoint,
        on_progress=on_progress,
    )


def _refuse_more(folder: str | Path, what: str, option: str, there: int, limits: tuple[int | None, int | None]) -> None:
    """limits: what is asked for, and what the model takes at most."""
    asked, of_model = limits
    if asked is not None and there < (asked if of_model is None else min(asked, of_model)):
        raise CacheError(f"{folder}: holds at most {there} {what}, {asked} are wanted; leave {option} out to use all")


def _evaluate_gathered(
    gathered: Gathered,
    model: TextVideoModel,
    about: _About,
    *,
    top: int | None,
    dsl: bool,
    bank: _Bank | None,
    seed: int,
    max_memory_mb: int,
    checkpoint: Path | None = None,
    share: Share,
    on_progress: OnProgress,
) -> Outcome:
    """Rank and report; the arguments are those of ``measure_features``."""
    measured = measure_features(
        model,
        gathered.texts,
        gathered.videos,
        gathered.caption_video,
        top=top,
        dsl=dsl,
        bank=None if bank is None else bank.texts,
        max_memory_mb=max_memory_mb,
        share=share,
        checkpoint=checkpoint,
        on_progress=on_progress,
    )
    notes = {"dsl": _DSL_NOTE, "qb_norm": "" if bank is None else bank.note}
    rows = tuple(_row(found, notes[found.name], measured.ranks, seed) for found in measured.rescored)
    return Outcome(_report(gathered, model, about, measured.ranks, rows, seed), measured, gathered.names)


def _report(
    gathered: Gathered, model: TextVideoModel, about: _About, ranks: Ranks, rows: tuple[Row, ...], seed: int
) -> EvaluationReport:
    source = about.source
    owners = [gathered.names[place] for place in gathered.caption_video.tolist()]
    return EvaluationReport(
        evaluation=ranks.evaluation(seed=seed),
        protocol=source.protocol,
        encoder=f"{about.encoder} ({about.fingerprint})",
        model=about.model_name,
        frames=about.frames,
        words=about.words,
        skipped=gathered.skipped,
        damaged=gathered.damaged,
        split=source.split,
        split_note=source.split_note,
        full_gallery=gathered.full_gallery,
        rows=rows,
        checkpoint={
            "fingerprint": model.fingerprint,
            "trained": model.trained,
            "dimension": model.dimension,
            "settings": model.settings.to_dict(),
        },
        preprocessing=_texts_hash([about.fingerprint, about.frames, about.words]),
        annotations=source.annotations,
        problems=source.problems,
        queries_digest=_texts_hash(
            f"{name}\n{caption}" for name, caption in zip(owners, gathered.captions, strict=True)
        ),
        gallery_digest=_texts_hash(gathered.names),
        seed=seed,
        decoder=decoder_version(),
    )


def _word_rule(num_words: int | None, max_words: int, cleaning: str = "") -> str:
    """How many token positions a caption may have, in words, and what was done to it first.

    >>> _word_rule(None, 77)
    'at most 77 token positions, SOS and EOS included'
    >>> _word_rule(32, 77, "lower case")
    'at most 32 token positions, SOS and EOS included; lower case'
    """
    limit = max_words if num_words is None else min(num_words, max_words)
    return f"at most {limit} token positions, SOS and EOS included" + (cleaning and f"; {cleaning}")


def _frame_rule(stored: FeatureDescription, num_frames: int) -> str:
    fewer = f", of these at most {num_frames}" if num_frames < stored.num_frames else ""
    return f"{stored.rule.describe(stored.num_frames)}{fewer}; from features in float16 ({stored.frames})"


def _encoded_bank(captions: Sequence[str], encoder: Encoder, *, num_words: int | None, seed: int) -> _Bank:
    """A query bank of at most ``_BANK_SIZE`` captions, the same ones for a seed."""
    chosen = bank_numbers(len(captions), seed)
    texts = encode_texts([captions[number] for number in chosen], encoder, num_words=num_words)
    return _Bank(texts, _bank_note(len(chosen), len(captions), seed))


def bank_numbers(total: int, seed: int) -> list[int]:
    """Which of ``total`` captions go into a bank, ascending."""
    return sorted(random.Random(seed).sample(range(total), min(_BANK_SIZE, total)))


def _bank_note(size: int, total: int, seed: int) -> str:
    """What a report says about a bank.

    >>> _bank_note(5000, 180000, 0)
    'uses a bank of 5,000 of 180,000 training captions (seed 0), β = 20, beside the query'
    """
    return f"uses a bank of {size:,} of {total:,} training captions (seed {seed}), β = {BETA:g}, beside the query"


def _texts_hash(texts: Iterable[str]) -> str:
    """Short hash of some texts in their order.

    Not ``disk.short_hash``: a benchmark's captions are not held a second time, and reports of earlier versions keep
    their hashes, so that they can be compared with new ones.
    """
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogateescape")
        digest.update(f"{len(data)}:".encode() + data)
    return digest.hexdigest()[:16]


def _row(found: Rescored, note: str, plain: Ranks, seed: int) -> Row:
    """Numbers and intervals of post-processed ranks, made as those of the plain ones."""
    clusters = {"t2v": plain.caption_video.numpy(), "v2t": torch.unique(plain.caption_video).numpy()}
    gallery = {"t2v": plain.num_videos, "v2t": len(plain.v2t)}
    return Row(
        found.name,
        note,
        {
            direction: (
                RetrievalMetrics.from_ranks(ranks, gallery=gallery[direction]),
                rank_intervals(ranks.numpy(), gallery=gallery[direction], clusters=clusters[direction], seed=seed),
            )
            for direction, ranks in found.ranks.items()
        },
    )


def _cached_bank(cache: CachedFeatures, folder: str | Path, num_words: int, seed: int) -> _Bank:
    found = CachedFeatures.open(folder)
    mine, theirs = cache.description, found.description
    if mine.fingerprint != theirs.fingerprint:
        raise CheckpointError(
            f"{folder} holds features of the encoder {theirs.encoder!r} (fingerprint {theirs.fingerprint}), the test's "
            f"are of {mine.encoder!r} (fingerprint {mine.fingerprint}); cache both with one encoder"
        )
    numbers = bank_numbers(len(found.video_of), seed)
    note = _bank_note(len(numbers), len(found.video_of), seed)
    return _Bank(CachedTexts(found, numbers=numbers, num_words=num_words), note)
