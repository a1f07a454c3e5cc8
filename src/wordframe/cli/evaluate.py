"""``wordframe evaluate``: recall of a model on a benchmark, on a folder of captioned videos, or on cached features.

Neighbours: ``moments.py`` is its ``--moments``, ``runs.py`` compares what ``--to`` keeps.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wordframe.cli._evaluating import bars_of, evaluating, load_both
from wordframe.cli.data import FrameCacheOption
from wordframe.cli.options import (
    AllowMissingOption,
    AnnotationsOption,
    BenchmarkOption,
    CaptionsOption,
    CutOption,
    FramesOption,
    JsonOption,
    ModelOption,
    SplitOption,
    UntrainedOption,
    VideosIfAnyOption,
    WordsOption,
    print_json,
)

if TYPE_CHECKING:
    from wordframe.data import FrameCache, MatchedVideos
    from wordframe.encoders import Encoder
    from wordframe.evaluate import Outcome, Provenance, Share
    from wordframe.models import TextVideoModel
    from wordframe.video import Cut, FrameRule

_OWN_FRAMES = 12
_TRAIN = "train"
_UNFINISHED = "unfinished"
"""Where, in the run's folder, the state of a run is kept until it is done."""

_FeaturesOption = Annotated[
    str | None,
    typer.Option(
        help="Features kept by wordframe cache features, instead of videos; also s3://, gs:// or az:// BUCKET/PREFIX.",
        show_default=False,
    ),
]
_EncoderOption = Annotated[
    str | None,
    typer.Option(
        help="offline, a short name (wordframe encoders), a hub id, a folder, or OpenAI's .pt file; default: the "
        "model's own CLIP, else offline."
    ),
]
_DslOption = Annotated[
    bool, typer.Option("--dsl", help="Also after dual softmax, which uses the whole query set; rows of their own.")
]
_QbNormOption = Annotated[
    str | None,
    typer.Option(
        "--qb-norm",
        metavar="BANK",
        help="Also after QB-Norm with a bank of training captions: train (the benchmark's), a captions file, or "
        "with --features a folder of features.",
        show_default=False,
    ),
]


_MomentsOption = Annotated[
    bool,
    typer.Option(
        "--moments",
        help="How well moments are found: with captions that have start and end, or the benchmarks charades_sta and "
        "qvhighlights.",
    ),
]
_MomentsLibraryOption = Annotated[
    str | None,
    typer.Option(
        "--library",
        help="With --moments: index the videos into this library and keep it; default: one that is thrown away.",
        show_default=False,
    ),
]


def evaluate(
    videos: VideosIfAnyOption = None,
    captions: CaptionsOption = None,
    benchmark: BenchmarkOption = None,
    annotations: AnnotationsOption = None,
    split: SplitOption = "test",
    features: _FeaturesOption = None,
    frame_cache: FrameCacheOption = None,
    encoder: _EncoderOption = None,
    model: ModelOption = "zero-shot",
    untrained: UntrainedOption = False,
    frames: FramesOption = None,
    cut: CutOption = "uniform",
    words: WordsOption = None,
    allow_missing: AllowMissingOption = False,
    dsl: _DslOption = False,
    qb_norm: _QbNormOption = None,
    moments: _MomentsOption = False,
    library: _MomentsLibraryOption = None,
    to: Annotated[
        Path | None,
        typer.Option(help="New folder for report, ranks, TREC files and a plot.", show_default=False, readable=False),
    ] = None,
    max_memory: Annotated[int, typer.Option(min=16, metavar="MB", help="Memory for scoring.")] = 1024,
    json: JsonOption = False,
) -> None:
    """Measure how well captions find their videos, and videos their captions.

    Prints R@1, R@5, R@10, median and mean rank and the sum of recalls both ways, with 95 % intervals.

    Examples:

        wordframe evaluate --videos clips --captions clips/captions.json

        wordframe evaluate --benchmark msrvtt_9k_1ka --annotations msrvtt --videos msrvtt/videos --model my-tcmgc
        --to run

        wordframe evaluate --features features/test --model my-tcmgc --dsl --qb-norm features/train

        wordframe evaluate --benchmark msrvtt_9k_1ka --annotations msrvtt --frame-cache frames --model RUN/best

        wordframe evaluate --moments --videos clips --captions clips/moments.csv --library clips-library

        wordframe evaluate --moments --benchmark charades_sta --annotations charades --videos charades/videos
    """
    asked = _Asked(
        model, untrained, frames, cut, words, allow_missing, dsl, qb_norm, to, max_memory, videos, frame_cache
    )
    if cut != "uniform" and benchmark is None:
        raise typer.BadParameter(
            "--cut goes with --benchmark: a cache has made that choice, and of one's own videos "
            "frames are taken uniformly"
        )
    if library is not None and not moments:
        raise typer.BadParameter("--library goes with --moments")
    if moments and (dsl or cut != "uniform" or any(x is not None for x in (features, frame_cache, frames, qb_norm))):
        raise typer.BadParameter(
            "--moments indexes the videos; leave --features, --frame-cache, --frames, --cut, --dsl and --qb-norm out"
        )
    with evaluating() as share:
        _refuse_used(to, share)
        if moments:
            source = (captions, benchmark, annotations)
            _evaluate_moments(
                share, videos, source, split, library, encoder, model, untrained, words, allow_missing, to, json
            )
            return
        if features is not None:
            if any(given is not None for given in (videos, frame_cache, captions, benchmark, annotations, encoder)):
                raise typer.BadParameter("--features brings its videos, captions and encoder; leave the others out")
            outcome = _from_features(asked, features, share)
        elif (videos is None) == (frame_cache is None):
            raise typer.BadParameter("give --videos or --frame-cache with --captions or --benchmark, or --features")
        elif captions is not None and benchmark is None and annotations is None:
            outcome = _from_captions(asked, captions, encoder, share)
        elif benchmark is not None and annotations is not None and captions is None:
            outcome = _from_benchmark(asked, benchmark, annotations, split, encoder, share)
        else:
            raise typer.BadParameter("give either --captions, or --benchmark with --annotations")
        _keep(outcome, to, share)
    if share.rank == 0:
        _show(outcome, json=json)
    if outcome.report.skipped:  # videos that took no part end the command with status 1
        raise typer.Exit(1)


def _refuse_used(to: Path | None, share: Share) -> None:
    from wordframe.evaluate import refuse_used

    with share.failing_together():
        if to is not None and share.rank == 0:
            refuse_used(to)


def _keep(outcome: Outcome, to: Path | None, share: Share) -> None:
    """The first process writes the folder; each removes the state that it kept of its share."""
    from wordframe.evaluate import write_run

    if to is None:
        return
    with share.failing_together():
        if share.rank == 0 and (left_out := write_run(to, outcome)) is not None:
            print(left_out, file=sys.stderr)
    shutil.rmtree(to / _UNFINISHED, ignore_errors=True)


@dataclass(frozen=True)
class _Asked:
    """The options that all three forms share."""

    model: str
    untrained: bool
    frames: int | None
    cut: Cut
    words: int | None
    allow_missing: bool
    dsl: bool
    bank: str | None
    to: Path | None
    max_memory_mb: int
    videos: Path | None
    frame_cache: Path | None

    def match(self, captions: Mapping[str, Sequence[str]]) -> tuple[MatchedVideos, FrameCache | None]:
        """The captioned videos in the folder, or in the frame cache, whichever is given."""
        from wordframe.data import FrameCache, match_cached, match_videos

        if self.frame_cache is None:
            assert self.videos is not None
            return match_videos(self.videos, captions), None
        cache = FrameCache.open(self.frame_cache)
        return match_cached(cache, captions), cache

    @property
    def top(self) -> int | None:
        """Candidates of each query that the folder will hold."""
        from wordframe.evaluate import TOP

        return None if self.to is None else TOP


def _evaluate_moments(
    share: Share,
    videos: Path | None,
    source: tuple[Path | None, str | None, Path | None],
    split: str,
    library: str | None,
    encoder: str | None,
    model: str,
    untrained: bool,
    words: int | None,
    allow_missing: bool,
    to: Path | None,
    json: bool,
) -> None:
    from wordframe.cli.moments import MomentsAsked, evaluate_moments

    captions, benchmark, annotations = source
    if videos is None or (captions is None) == (benchmark is None) or (benchmark is None) != (annotations is None):
        raise typer.BadParameter("--moments takes --videos with --captions, or with --benchmark and --annotations")
    asked = MomentsAsked(
        videos, captions, benchmark, annotations, split, library, model, allow_missing=allow_missing, to=to, json=json
    )
    with share.failing_together():
        loaded = load_both(encoder, model, untrained, words)
    evaluate_moments(asked, *loaded, share)


def _from_features(asked: _Asked, features: str, share: Share) -> Outcome:
    from wordframe.data import CachedFeatures
    from wordframe.evaluate import evaluate_cached
    from wordframe.models import PRESETS, load_ready, refuse_other_features

    with share.failing_together():
        description = CachedFeatures.open(features).description
        model = load_ready(
            asked.model, dimension=description.dimension if asked.model in PRESETS else None, untrained=asked.untrained
        )
        refuse_other_features(
            model,
            asked.model,
            encoder=description.encoder,
            fingerprint=description.fingerprint,
            dimension=description.dimension,
            remedy="cache features by the model's own",
        )
    with bars_of(share) as on_progress:
        return evaluate_cached(
            features,
            model,
            model_name=asked.model,
            num_frames=asked.frames,
            num_words=asked.words,
            top=asked.top,
            dsl=asked.dsl,
            bank=asked.bank,
            max_memory_mb=asked.max_memory_mb,
            checkpoint=None if asked.to is None else asked.to / _UNFINISHED,
            share=share,
            on_progress=lambda done, total: on_progress("Scoring pairs", done, total),
        )


def _from_captions(asked: _Asked, file: Path, encoder: str | None, share: Share) -> Outcome:
    from wordframe.data import read_captions
    from wordframe.evaluate import Provenance

    if asked.bank == _TRAIN:
        raise typer.BadParameter("--qb-norm train goes with --benchmark; name a file of training captions")
    with share.failing_together():
        matched = asked.match(read_captions(file))
        loaded = load_both(encoder, asked.model, asked.untrained, asked.words)
        bank = None if asked.bank is None else _captions_of(read_captions(Path(asked.bank)))
        source = Provenance.of_captions(file)
    return _evaluate(asked, share, matched, loaded, source, None, asked.frames or _OWN_FRAMES, asked.words, bank)


def _from_benchmark(
    asked: _Asked, name: str, annotations: Path, split: str, encoder: str | None, share: Share
) -> Outcome:
    from wordframe.data import SPLITS, load_benchmark, protocol, read_captions
    from wordframe.evaluate import Provenance

    if split not in SPLITS:
        raise typer.BadParameter(f"--split {split!r} is not there; use {', '.join(SPLITS)}")
    with share.failing_together():
        sizes, benchmark = protocol(name), load_benchmark(name, annotations, splits=(split,))
        found: Mapping[str, Sequence[str]] = {}
        if asked.bank is not None:
            is_train = asked.bank == _TRAIN
            train = load_benchmark(name, annotations, splits=(_TRAIN,)).splits[_TRAIN].captions if is_train else None
            found = train if train is not None else read_captions(Path(asked.bank))
        matched = asked.match(benchmark.splits[split].captions)
        words = asked.words or sizes.num_words
        loaded = load_both(encoder, asked.model, asked.untrained, words)
    bank = None if asked.bank is None else _captions_of(found)
    source = Provenance.of_benchmark(benchmark, split)
    rule = benchmark.splits[split].rule(asked.cut)
    return _evaluate(asked, share, matched, loaded, source, rule, asked.frames or sizes.num_frames, words, bank)


def _evaluate(
    asked: _Asked,
    share: Share,
    found: tuple[MatchedVideos, FrameCache | None],
    loaded: tuple[Encoder, TextVideoModel],
    source: Provenance,
    rule: FrameRule | None,
    frames: int,
    words: int | None,
    bank: list[str] | None,
) -> Outcome:
    from wordframe.evaluate import evaluate_videos
    from wordframe.video import WHOLE_VIDEO

    (matched, cache), (encoder, model) = found, loaded
    if cache is not None:
        frames = frames if asked.frames else min(frames, cache.settings.num_frames)
        cache.refuse_less(num_frames=frames, short_side=encoder.short_side)
        if rule is None:
            rule = cache.rule
        else:
            cache.refuse_other_rule(rule)
    with bars_of(share) as on_progress:
        return evaluate_videos(
            matched,
            encoder,
            model,
            model_name=asked.model,
            source=source,
            sampling="uniform" if rule is None else "seconds",
            rule=rule or WHOLE_VIDEO,
            num_frames=frames,
            num_words=words,
            allow_missing=asked.allow_missing,
            cache=cache,
            top=asked.top,
            dsl=asked.dsl,
            bank=bank,
            max_memory_mb=asked.max_memory_mb,
            share=share,
            on_read=lambda done: on_progress("Reading videos", done, len(share.own(matched.pairs))),
            on_progress=lambda done, total: on_progress("Scoring pairs", done, total),
        )


def _captions_of(captions: Mapping[str, Sequence[str]]) -> list[str]:
    return [caption for several in captions.values() for caption in several]


def _show(outcome: Outcome, *, json: bool) -> None:
    """Print the report, and on the side what is odd."""
    from wordframe.disk import one_line
    from wordframe.evaluate import report_table

    report = outcome.report
    for video in report.skipped:
        print(f"skipped: {one_line(video.file)}: {one_line(video.reason)}", file=sys.stderr)
    for video in report.damaged:
        print(f"damaged, read as far as it goes: {one_line(video.file)}: {one_line(video.reason)}", file=sys.stderr)
    if json:
        print_json(report.to_json())
    else:
        from rich.console import Console

        Console().print(report_table(report))
