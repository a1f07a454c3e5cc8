"""``wordframe data`` and ``wordframe cache``: a benchmark's captions and videos, looked at and kept for training.

``data`` says which benchmarks are known and whether their videos are all there; ``cache`` decodes the videos of a split
once, encodes them once, and keeps what comes of it.
"""

from __future__ import annotations

import json as json_lines
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wordframe.cli._storage import on_object_storage
from wordframe.cli.options import (
    AllowMissingOption,
    AnnotationsOption,
    BenchmarkOption,
    CaptionsOption,
    CutOption,
    FramesOption,
    JsonOption,
    SplitOption,
    VideosIfAnyOption,
    VideosOption,
    WordsOption,
    print_json,
)
from wordframe.disk import one_line, write_whole
from wordframe.errors import AnnotationError, counted

if TYPE_CHECKING:
    from wordframe.data import Benchmark, Split, SplitCheck
    from wordframe.encoders import Encoder

data = typer.Typer(help="Benchmarks: what is known, and whether the videos are all there.", no_args_is_help=True)
cache = typer.Typer(help="Decode and encode videos once, train on what is kept.", no_args_is_help=True)

_SHOWN = 5
_SHOWN_OF_CACHE = 20
_NOT_COMPLETE = "not complete: mend these videos and run the same command again, or say --allow-missing"

ToOption = Annotated[Path, typer.Option("--to", help="Folder of the cache.", show_default=False, readable=False)]
_AllOfTrainOption = Annotated[
    bool,
    typer.Option(
        "--all-of-train",
        help="Of train, all videos, also those that are held out as val where the benchmark has none; for recipes "
        "with validation.split=none.",
    ),
]
FrameCacheOption = Annotated[
    Path | None,
    typer.Option(help="Frames kept by wordframe cache frames, instead of videos.", show_default=False, readable=False),
]


@data.command("list")
def list_benchmarks(json: JsonOption = False) -> None:
    """List the benchmarks by their protocols' names, with the annotation files that each reads; those of moments, which
    evaluate --moments takes, at the end.

    Example:

        wordframe data list
    """
    from wordframe.data import BENCHMARKS, MOMENT_BENCHMARKS

    if json:
        fields = ("name", "title", "files", "counts", "num_words", "num_frames", "last_second", "held_out")
        told = [
            {name: getattr(protocol, name) for name in fields} | {"moments": False} for protocol in BENCHMARKS.values()
        ]
        for name, moments in MOMENT_BENCHMARKS.items():
            files = {split: [file] for split, file in moments.files.items()}
            given = {"name": name, "title": moments.title, "files": files, "counts": moments.counts}
            told.append(dict.fromkeys(fields) | given | {"moments": True})
        print_json(told)
        return
    for protocol in BENCHMARKS.values():
        counts = ", ".join(f"{split} {count:,}" for split, count in protocol.counts.items())
        held_out = f", {protocol.held_out:,} of train held out as val" if protocol.held_out else ""
        typer.echo(f"{protocol.name}\n  {protocol.title}\n  videos: {counts}{held_out}")
        seen = "" if protocol.last_second is None else f" of seconds 0 to {protocol.last_second}"
        typer.echo(f"  {protocol.num_words} words, {protocol.num_frames} frames{seen}")
        for what, names in protocol.files.items():
            typer.echo(f"  {what}: {' or '.join(names)}")
    for name, moments in MOMENT_BENCHMARKS.items():
        counts = ", ".join(f"{split} {count:,}" for split, count in moments.counts.items())
        typer.echo(f"{name}\n  {moments.title}\n  sentences: {counts}; for evaluate --moments")
        for split, file in moments.files.items():
            typer.echo(f"  {split}: {file}")


@data.command()
def check(
    videos: VideosOption,
    benchmark: BenchmarkOption = None,
    annotations: AnnotationsOption = None,
    captions: CaptionsOption = None,
    split: Annotated[
        list[str] | None, typer.Option(help="A split of the benchmark to check; may be repeated. Default: all.")
    ] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Read every video through, not only its first frame.")] = False,
    to: Annotated[
        Path, typer.Option(help="Where the lists of missing and broken videos are written.", show_default=True)
    ] = Path("data-check.json"),
    json: JsonOption = False,
) -> None:
    """Say which videos of a benchmark, or of one's own captions, are missing or broken.

    Ends with status 1 if any is, so that a script can stop there. Missing videos make a gallery smaller and numbers
    better than they are.

    Examples:

        wordframe data check --benchmark msrvtt_9k_1ka --annotations msrvtt --videos msrvtt/videos --split test

        wordframe data check --captions clips/captions.json --videos clips --deep
    """
    if captions is not None and split:
        raise typer.BadParameter("--split goes with --benchmark: captions of your own are one split")
    checks = [
        _check(part, videos, deep) for part in read_benchmark(benchmark, annotations, captions, split).splits.values()
    ]
    result = [check.to_json() for check in checks]
    if json:
        print_json(result)
    else:
        for found in checks:
            typer.echo(_summary(found))
    try:  # last: hours of reading are not lost for a place that cannot be written
        write_whole(to, json_lines.dumps(result, indent=2) + "\n")
    except OSError as error:
        raise AnnotationError(f"{to}: cannot be written ({error.strerror}); choose another place with --to") from error
    if not json:
        typer.echo(f"The whole lists are in {one_line(to)}.")
    if any(found.missing or found.broken or found.damaged for found in checks):
        raise typer.Exit(1)


def read_benchmark(
    benchmark: str | None,
    annotations: Path | None,
    captions: Path | None,
    splits: Sequence[str] | None,
    *,
    hold_out: bool = True,
) -> Benchmark:
    """What ``--benchmark`` with ``--annotations``, or ``--captions``, and ``--split`` name; all splits by default.

    What is odd in the files is said on standard error.
    """
    from wordframe.data import SPLITS, load_benchmark, own_benchmark

    if (benchmark is None) == (captions is None) or (benchmark is None) != (annotations is None):
        raise typer.BadParameter("give either --benchmark with --annotations, or --captions")
    unknown = [name for name in splits or () if name not in SPLITS]
    if unknown:
        raise typer.BadParameter(f"--split {unknown[0]!r} is not there; use {', '.join(SPLITS)}")
    if benchmark is None or annotations is None:
        assert captions is not None
        return own_benchmark(captions, *(splits or ())[:1])
    loaded = load_benchmark(benchmark, annotations, splits=splits or SPLITS, hold_out=hold_out)
    for problem in loaded.problems:
        typer.echo(f"note: {one_line(problem)}", err=True)
    return loaded


def _check(split: Split, videos: Path, deep: bool) -> SplitCheck:
    from wordframe.cli._terminal import counting_progress
    from wordframe.data import check_split

    with counting_progress(f"Checking {split}", len(split)) as on_progress:
        return check_split(split, videos, deep=deep, on_progress=lambda done, total: on_progress(done))


def _summary(check: SplitCheck) -> str:
    """A split in lines for people: how much is there, and the first of what is not."""
    there = f"{check.readable:,} of {counted(check.captioned, 'video')}"
    lines = [f"{check.name}: {there} can be read ({check.coverage_percent:.1f} %)"]
    lines += [f"  {check.note}"] if check.note else []
    if check.long_captions:
        count = counted(len(check.long_captions), "caption")
        lines.append(f"  {count} of more than 75 words: CLIP reads 77 token positions at most, and the rest is cut off")
    faults = [f"broken: {fault.reason}" for fault in check.broken]
    faults += [f"damaged: {fault.video}: {fault.reason}" for fault in check.damaged]
    long = [f"too long: {caption}" for caption in check.long_captions]
    for faulty in ([f"missing: {video}" for video in check.missing], faults, long):
        lines += [f"  {one_line(line)}" for line in faulty[:_SHOWN]]
        lines += [f"  and {len(faulty) - _SHOWN:,} more"] if len(faulty) > _SHOWN else []
    return "\n".join(lines)


# What is kept ---------------------------------------------------------------------------------------------------------


@cache.command()
def frames(
    videos: VideosOption,
    to: ToOption,
    benchmark: BenchmarkOption = None,
    annotations: AnnotationsOption = None,
    captions: CaptionsOption = None,
    split: SplitOption = "train",
    all_of_train: _AllOfTrainOption = False,
    num_frames: FramesOption = None,
    cut: CutOption = "uniform",
    short_side: Annotated[int, typer.Option(min=16, help="Pixels; larger frames are scaled down to it.")] = 224,
    exact: Annotated[
        bool, typer.Option("--exact", help="Keep every pixel (PNG) instead of JPEG: four to five times the disk.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Keep the frames of a split's videos, so that they are decoded once.

    One frame a second, and of these as many as the benchmark's protocol takes. Run it for each split with the same
    --to; running it again goes on where it was, and mends what is damaged.

    Examples:

        wordframe cache frames --benchmark msrvtt_9k_1ka --annotations msrvtt --videos msrvtt/videos --to frames

        wordframe cache frames --captions clips/captions.json --videos clips --to frames
    """
    from wordframe.cli._terminal import counting_progress
    from wordframe.data import QUALITY, FrameSettings, build_frame_cache, match_videos
    from wordframe.interrupts import interrupts_noted

    chosen, part = _choose(benchmark, annotations, captions, split, all_of_train=all_of_train)
    matched = match_videos(videos, part.captions)
    settings = FrameSettings(
        num_frames=num_frames or chosen.num_frames,
        short_side=short_side,
        quality=None if exact else QUALITY,
        last_second=part.rule().last_second,
        cut=cut,
    )
    paths = {pair.name: pair.path for pair in matched.pairs}
    with counting_progress(f"Decoding {part}", len(paths)) as on_progress, interrupts_noted() as interrupted:
        summary = build_frame_cache(to, paths, settings, should_stop=interrupted.is_set, on_progress=on_progress)
    summary.failed |= {video: f"{video}: not in the folder {videos}" for video in matched.missing}
    if json:
        print_json({"folder": str(to), "split": split, "settings": asdict(settings)} | asdict(summary))
    _list("failed", summary.failed)
    _list("damaged, kept as far as it goes", summary.damaged)
    if not json:
        print(f"{one_line(to)}: frames of {_there(part, len(summary.made), len(summary.kept))}")
    _end(interrupted=summary.interrupted, is_good=not summary.failed)


@cache.command()
@on_object_storage
def features(
    to: ToOption,
    videos: VideosIfAnyOption = None,
    frame_cache: FrameCacheOption = None,
    benchmark: BenchmarkOption = None,
    annotations: AnnotationsOption = None,
    captions: CaptionsOption = None,
    split: SplitOption = "train",
    all_of_train: _AllOfTrainOption = False,
    encoder: Annotated[
        str, typer.Option(help="offline, a short name (wordframe encoders), a hub id, a folder, or OpenAI's .pt file.")
    ] = "offline",
    num_frames: FramesOption = None,
    cut: CutOption = "uniform",
    num_words: WordsOption = None,
    allow_missing: AllowMissingOption = False,
    json: JsonOption = False,
) -> None:
    """Keep an encoder's features of a split: frames, sentences and words, for training without a backbone.

    A split is a folder of its own. Running it again goes on where it was, and mends what is damaged.

    Examples:

        wordframe cache features --benchmark msrvtt_9k_1ka --annotations msrvtt --videos msrvtt/videos
        --encoder openai/clip-vit-base-patch32 --split train --to features/train

        wordframe cache features --captions clips/captions.json --frame-cache frames --to features/clips
    """
    from wordframe.cli._terminal import bars_in_turn
    from wordframe.data import build_feature_cache, open_frames_of
    from wordframe.interrupts import interrupts_noted

    if (videos is None) == (frame_cache is None):
        raise typer.BadParameter("give either --videos or --frame-cache")
    if encoder == "offline" and num_words is not None:
        raise typer.BadParameter(
            "--words cuts what an encoder of CLIP's kind reads, and offline reads all; a recipe's model.max_words, or "
            "evaluate --words, cuts the words that were kept"
        )
    chosen, part = _choose(benchmark, annotations, captions, split, all_of_train=all_of_train)
    used = load_cutting(encoder, num_words or chosen.num_words)
    wanted = num_frames or chosen.num_frames
    source = open_frames_of(
        part, used, num_frames=wanted, videos=videos, frame_cache=frame_cache, cut=cut, allow_missing=allow_missing
    )
    totals = {"captions": len(part.queries()[0]), "videos": len(part)}
    with bars_in_turn() as show, interrupts_noted() as interrupted:
        summary = build_feature_cache(
            to,
            part,
            source,
            used,
            num_frames=wanted,
            annotations=chosen.file_hashes(),
            allow_missing=allow_missing,
            should_stop=interrupted.is_set,
            on_progress=lambda what, done: show(f"Encoding {what} of {part}", done, totals[what]),
        )
    if json:
        about = {"folder": str(to), "split": split, "encoder": used.name, "fingerprint": used.fingerprint}
        print_json(about | asdict(summary))
    _list("left out", summary.left_out)
    _list("damaged, kept as far as it goes", summary.damaged)
    if not json:
        there = _there(part, summary.encoded, summary.kept)
        print(f"{one_line(to)}: features of {there} and {counted(totals['captions'], 'caption')}")
        if not summary.complete and not summary.interrupted:
            print(_NOT_COMPLETE, file=sys.stderr)
    _end(interrupted=summary.interrupted, is_good=summary.complete)


def _choose(
    benchmark: str | None, annotations: Path | None, captions: Path | None, split: str, *, all_of_train: bool
) -> tuple[Benchmark, Split]:
    """What is asked for; a split that is not the authors' own says what it is."""
    if all_of_train and (benchmark is None or split != "train"):
        raise typer.BadParameter(
            "--all-of-train goes with --benchmark and its train: of nothing else is a part held out"
        )
    chosen = read_benchmark(benchmark, annotations, captions, [split], hold_out=not all_of_train)
    part = chosen.splits[split]
    if part.note:
        print(f"note: {part}: {part.note}", file=sys.stderr)
    return chosen, part


def load_cutting(name: str, max_words: int | None) -> Encoder:
    """The encoder; CLIP's kind cuts captions to ``max_words`` before it reads them, as published."""
    from wordframe.encoders import load_encoder

    return load_encoder(name) if name == "offline" or max_words is None else load_encoder(name, max_words=max_words)


def _there(split: Split, new: int, kept: int) -> str:
    return f"{counted(new + kept, 'video')} of {split} ({new:,} new, {kept:,} kept)"


def _list(what: str, videos: Mapping[str, str]) -> None:
    """Videos by name with a reason each, on standard error."""
    for video, reason in list(videos.items())[:_SHOWN_OF_CACHE]:
        line = reason if video in reason else f"{video}: {reason}"
        print(f"{what}: {one_line(line)}", file=sys.stderr)
    if len(videos) > _SHOWN_OF_CACHE:
        print(f"{what}: and {len(videos) - _SHOWN_OF_CACHE:,} more (--json lists all)", file=sys.stderr)


def _end(*, interrupted: bool, is_good: bool) -> None:
    if interrupted:
        print("interrupted: what was finished is kept; the same command goes on from here", file=sys.stderr)
        raise typer.Exit(130)  # as a shell tells of Ctrl-C, so that a script stops as well
    if not is_good:
        raise typer.Exit(1)
