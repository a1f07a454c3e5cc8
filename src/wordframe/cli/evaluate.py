"""``wordframe evaluate``: recall of a model on a benchmark, on a folder of captioned videos, or on cached features.

Neighbours: ``_sources.py`` reads what is measured, ``moments.py`` is its ``--moments``, ``runs.py`` compares what
``--to`` keeps.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wordframe.cli._evaluating import evaluating, load_both
from wordframe.cli._sources import UNFINISHED, Asked, from_benchmark, from_captions, from_features
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
    UntrainedOption,
    VideosIfAnyOption,
    WordsOption,
    print_json,
)

if TYPE_CHECKING:
    from wordframe.evaluate import Outcome, Share

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
_MEMORY_MB = 1024
_SplitOption = Annotated[
    str | None, typer.Option(help="train, val or test of the benchmark; default: test.", show_default=False)
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
    split: _SplitOption = None,
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
    max_memory: Annotated[
        int | None,
        typer.Option(min=16, metavar="MB", help=f"Memory for scoring; default: {_MEMORY_MB}.", show_default=False),
    ] = None,
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
    memory_mb = max_memory or _MEMORY_MB
    asked = Asked(model, untrained, frames, cut, words, allow_missing, dsl, qb_norm, to, memory_mb, videos, frame_cache)
    if cut != "uniform" and benchmark is None:
        raise typer.BadParameter(
            "--cut goes with --benchmark: a cache has made that choice, and of one's own videos "
            "frames are taken uniformly"
        )
    if split is not None and benchmark is None:
        raise typer.BadParameter("--split goes with --benchmark: nothing else has splits")
    split = split or "test"
    if library is not None and not moments:
        raise typer.BadParameter("--library goes with --moments")
    of_whole_videos = (features, frame_cache, frames, qb_norm, max_memory)
    if moments and (dsl or cut != "uniform" or any(given is not None for given in of_whole_videos)):
        raise typer.BadParameter(
            "--moments indexes the videos; leave --features, --frame-cache, --frames, --cut, --dsl, --qb-norm and "
            "--max-memory out"
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
            brought = (videos, frame_cache, captions, benchmark, annotations, encoder)
            if allow_missing or any(given is not None for given in brought):
                raise typer.BadParameter(
                    "--features brings its videos, captions and encoder; leave their options and --allow-missing out"
                )
            outcome = from_features(asked, features, share)
        elif (videos is None) == (frame_cache is None):
            raise typer.BadParameter("give --videos or --frame-cache with --captions or --benchmark, or --features")
        elif captions is not None and benchmark is None and annotations is None:
            outcome = from_captions(asked, captions, encoder, share)
        elif benchmark is not None and annotations is not None and captions is None:
            outcome = from_benchmark(asked, benchmark, annotations, split, encoder, share)
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
    shutil.rmtree(to / UNFINISHED, ignore_errors=True)


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
    if words is not None and loaded[0].name == "offline":
        raise typer.BadParameter("--moments --words goes with an encoder of CLIP's kind: offline reads sentences whole")
    evaluate_moments(asked, *loaded, share)


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
