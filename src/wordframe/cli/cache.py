"""``wordframe cache``: decode the videos of a split once, encode them once, and train on what is kept."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wordframe.cli.data import read_benchmark
from wordframe.cli.options import JsonOption, print_json
from wordframe.disk import one_line
from wordframe.errors import counted

if TYPE_CHECKING:
    from wordframe.data import Benchmark, Split
    from wordframe.encoders import Encoder

app = typer.Typer(help="Decode and encode videos once, train on what is kept.", no_args_is_help=True)

_SHOWN = 20

BenchmarkOption = Annotated[
    str | None, typer.Option(help="A benchmark's name; wordframe data list shows them.", show_default=False)
]
AnnotationsOption = Annotated[
    Path | None,
    typer.Option(help="Folder of the benchmark's annotation files.", show_default=False, readable=False),
]
CaptionsOption = Annotated[
    Path | None,
    typer.Option(help="Captions of one's own videos, instead of a benchmark.", show_default=False, readable=False),
]
SplitOption = Annotated[str, typer.Option(help="train, val or test of the benchmark.")]
ToOption = Annotated[Path, typer.Option("--to", help="Folder of the cache.", show_default=False, readable=False)]
FramesOption = Annotated[
    int | None,
    typer.Option(
        "--frames", min=1, help="Frames a video at most; default: the benchmark's, or 12.", show_default=False
    ),
]


@app.command()
def frames(
    videos: Annotated[Path, typer.Option(help="Folder of the videos.", show_default=False, readable=False)],
    to: ToOption,
    benchmark: BenchmarkOption = None,
    annotations: AnnotationsOption = None,
    captions: CaptionsOption = None,
    split: SplitOption = "train",
    num_frames: FramesOption = None,
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

    chosen, part = _choose(benchmark, annotations, captions, split)
    matched = match_videos(videos, part.captions)
    settings = FrameSettings(
        num_frames=num_frames or chosen.num_frames, short_side=short_side, quality=None if exact else QUALITY
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


@app.command()
def features(
    to: ToOption,
    videos: Annotated[
        Path | None, typer.Option(help="Folder of the videos, decoded in passing.", show_default=False, readable=False)
    ] = None,
    frame_cache: Annotated[
        Path | None,
        typer.Option(
            help="Frames kept by wordframe cache frames, instead of videos.", show_default=False, readable=False
        ),
    ] = None,
    benchmark: BenchmarkOption = None,
    annotations: AnnotationsOption = None,
    captions: CaptionsOption = None,
    split: SplitOption = "train",
    encoder: Annotated[
        str, typer.Option(help="offline, a short name (wordframe encoders), a hub id, a folder, or OpenAI's .pt file.")
    ] = "offline",
    num_frames: FramesOption = None,
    num_words: Annotated[
        int | None,
        typer.Option(
            "--words",
            min=3,
            help="Token positions a CLIP encoder cuts captions to; default: the benchmark's, or the encoder's own.",
            show_default=False,
        ),
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Leave out videos that are missing or broken; the cache says so.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Keep an encoder's features of a split: frames, sentences and words, for training without a backbone.

    A split is a folder of its own. Running it again goes on where it was, and mends what is damaged.

    Examples:

        wordframe cache features --benchmark msrvtt_9k_1ka --annotations msrvtt --videos msrvtt/videos
        --encoder openai/clip-vit-base-patch32 --split train --to features/train

        wordframe cache features --captions clips/captions.json --frame-cache frames --to features/clips
    """
    from wordframe.data import build_feature_cache, open_frames_of
    from wordframe.interrupts import interrupts_noted

    if (videos is None) == (frame_cache is None):
        raise typer.BadParameter("give either --videos or --frame-cache")
    chosen, part = _choose(benchmark, annotations, captions, split)
    used = _load(encoder, num_words or chosen.num_words)
    wanted = num_frames or chosen.num_frames
    source = open_frames_of(
        part, used, num_frames=wanted, videos=videos, frame_cache=frame_cache, allow_missing=allow_missing
    )
    texts = len(part.queries()[0])
    with _two_bars(part, texts) as on_progress, interrupts_noted() as interrupted:
        summary = build_feature_cache(
            to,
            part,
            source,
            used,
            num_frames=wanted,
            annotations=chosen.file_hashes(),
            allow_missing=allow_missing,
            should_stop=interrupted.is_set,
            on_progress=on_progress,
        )
    if json:
        about = {"folder": str(to), "split": split, "encoder": used.name, "fingerprint": used.fingerprint}
        print_json(about | asdict(summary))
    _list("left out", summary.left_out)
    _list("damaged, kept as far as it goes", summary.damaged)
    if not json:
        there = _there(part, summary.encoded, summary.kept)
        print(f"{one_line(to)}: features of {there} and {counted(texts, 'caption')}")
    if not json and not summary.complete and not summary.interrupted:
        print("not complete: mend these videos and run the same command again, or say --allow-missing", file=sys.stderr)
    _end(interrupted=summary.interrupted, is_good=summary.complete)


def _choose(
    benchmark: str | None, annotations: Path | None, captions: Path | None, split: str
) -> tuple[Benchmark, Split]:
    """What is asked for; a split that is not the authors' own says what it is."""
    chosen = read_benchmark(benchmark, annotations, captions, [split])
    part = chosen.splits[split]
    if part.note:
        print(f"note: {part}: {part.note}", file=sys.stderr)
    return chosen, part


def _load(name: str, max_words: int | None) -> Encoder:
    """The encoder; CLIP's kind cuts captions before it reads them, as published."""
    from wordframe.encoders import load_encoder

    return load_encoder(name) if name == "offline" or max_words is None else load_encoder(name, max_words=max_words)


@contextlib.contextmanager
def _two_bars(split: Split, texts: int) -> Iterator[Callable[[str, int], None]]:
    """First the captions, then the videos."""
    from wordframe.cli._terminal import counting_progress

    with contextlib.ExitStack() as stack:
        bars: dict[str, Callable[[int], None]] = {}

        def show(what: str, done: int) -> None:
            if what not in bars:
                stack.pop_all().close()
                total = texts if what == "captions" else len(split)
                bars[what] = stack.enter_context(counting_progress(f"Encoding {what} of {split}", total))
            bars[what](done)

        yield show


def _there(split: Split, new: int, kept: int) -> str:
    return f"{counted(new + kept, 'video')} of {split} ({new:,} new, {kept:,} kept)"


def _list(what: str, videos: Mapping[str, str]) -> None:
    """Videos by name with a reason each, on standard error."""
    for video, reason in list(videos.items())[:_SHOWN]:
        line = reason if video in reason else f"{video}: {reason}"
        print(f"{what}: {one_line(line)}", file=sys.stderr)
    if len(videos) > _SHOWN:
        print(f"{what}: and {len(videos) - _SHOWN:,} more (--json lists all)", file=sys.stderr)


def _end(*, interrupted: bool, is_good: bool) -> None:
    if interrupted:
        print("interrupted: what was finished is kept; the same command goes on from here", file=sys.stderr)
        raise typer.Exit(130)
    if not is_good:
        raise typer.Exit(1)
