"""Evaluates captioned videos: decode, encode, score, rank, report.

``evaluate_folder`` for a folder of one's own, ``evaluate_videos`` for that and for the benchmarks, with all options.
Every caption is a text→video query, video→text goes by the best of a video's captions.
Neighbours: ``gathering.py`` reads videos, ``outcome.py`` reports, ``cached.py`` starts from stored features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wordframe.data import MatchedVideos
from wordframe.encoders import Encoder
from wordframe.evaluate.evaluator import Progress
from wordframe.evaluate.gathering import gather
from wordframe.evaluate.outcome import Outcome, Source, bank_of, evaluate_gathered
from wordframe.evaluate.report import EvaluationReport
from wordframe.models import TextVideoModel

UNIFORM, SECONDS = "uniform", "seconds"
FRAME_RULES = {
    UNIFORM: "{} a video, uniform",
    SECONDS: "1 a second, then at most {} spread evenly",
}


def evaluate_folder(
    matched: MatchedVideos,
    encoder: Encoder,
    model: TextVideoModel,
    *,
    model_name: str,
    num_frames: int = 12,
    allow_missing: bool = False,
    on_progress: Callable[[int], None] = lambda done: None,
) -> EvaluationReport:
    """Both directions' numbers of ``model`` on captioned videos.

    Args:
        num_frames: frames a video, ``F``; fewer if the model takes fewer.
        allow_missing: evaluate the other videos when some are not there or cannot be read.
        on_progress: called with the number of videos read so far.

    Raises:
        AnnotationError: videos are missing or unreadable and that is not allowed, or none is left.
    """
    return evaluate_videos(
        matched,
        encoder,
        model,
        model_name=model_name,
        source=Source("folder"),
        num_frames=num_frames,
        allow_missing=allow_missing,
        on_read=on_progress,
    ).report


def evaluate_videos(
    matched: MatchedVideos,
    encoder: Encoder,
    model: TextVideoModel,
    *,
    model_name: str,
    source: Source,
    sampling: str = UNIFORM,
    num_frames: int = 12,
    num_words: int | None = None,
    allow_missing: bool = False,
    top: int | None = None,
    dsl: bool = False,
    bank: Sequence[str] | None = None,
    seed: int = 0,
    max_memory_mb: int = 1024,
    on_read: Callable[[int], None] = lambda done: None,
    on_progress: Progress = lambda done, total: None,
) -> Outcome:
    """``evaluate_folder`` with the ranks and lists behind the report.

    Args:
        source: where the captions come from, for the report.
        sampling: ``uniform`` or ``seconds`` (see ``gathering.py``).
        num_words: token positions a caption, ``W``; fewer if encoder or model take fewer.
        top: length of every query's list of candidates; None for no lists.
        dsl: rank by dual softmax too.
        bank: captions of the training split; rank by QB-Norm too.
        seed: of the intervals and of the bank.
        on_read: called with the number of videos read so far.
        on_progress: called with the pairs scored and their total.
    """
    num_frames = min(num_frames, model.max_frames or num_frames)
    num_words = min((limit for limit in (num_words, model.max_words) if limit is not None), default=None)
    gathered = gather(
        matched,
        encoder,
        sampling=sampling,
        num_frames=num_frames,
        num_words=num_words,
        allow_missing=allow_missing,
        on_progress=on_read,
    )
    return evaluate_gathered(
        gathered,
        model,
        model_name=model_name,
        encoder=encoder.name,
        encoder_fingerprint=encoder.fingerprint,
        frames=FRAME_RULES[sampling].format(num_frames),
        words=word_rule(num_words, encoder.max_words),
        source=source,
        top=top,
        dsl=dsl,
        bank=None if bank is None else bank_of(bank, encoder, num_words=num_words, seed=seed),
        seed=seed,
        max_memory_mb=max_memory_mb,
        on_progress=on_progress,
    )


def word_rule(num_words: int | None, max_words: int) -> str:
    """How many token positions a caption may have, in words.

    >>> word_rule(32, 77), word_rule(None, 77)
    ('at most 32 token positions, SOS and EOS included', 'at most 77 token positions, SOS and EOS included')
    """
    limit = max_words if num_words is None else min(num_words, max_words)
    return f"at most {limit} token positions, SOS and EOS included"
