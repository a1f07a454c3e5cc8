"""``wordframe cache``: decode the videos of a split once, encode them once, and train on what is kept."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wordframe.cli.options import JsonOption, print_json

if TYPE_CHECKING:
    from wordframe.data import CacheSummary, FeatureSummary, FrameSource, Split
    from wordframe.encoders import Encoder

app = typer.Typer(help="Decode and encode videos once, train on what is kept.", no_args_is_help=True)

_TOLD = 20
_OWN_FRAMES = 12

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


@dataclass(frozen=True)
class _Chosen:
    """A split, and what its benchmark says of it. annotations: hashes of the files it was read from."""

    split: Split
    annotations: Mapping[str, str]
    num_words: int | None
    num_frames: int


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
    from wordframe.cli.progress import counting_progress
    from wordframe.data import QUALITY, FrameSettings, build_frame_cache, match_videos
    from wordframe.library import interrupts_noted

    chosen = _choose(benchmark, annotations, captions, split)
    matched = match_videos(videos, {video: [*several] for video, several in chosen.split.captions.items()})
    settings = FrameSettings(
        num_frames=num_frames or chosen.num_frames, short_side=short_side, quality=None if exact else QUALITY
    )
    paths = {pair.name: pair.path for pair in matched.pairs}
    with counting_progress("Decoding", len(paths)) as on_progress, interrupts_noted() as interrupted:
        summary = build_frame_cache(to, paths, settings, should_stop=interrupted.is_set, on_progress=on_progress)
    summary.failed |= {video: f"{video}: not in the folder {videos}" for video in matched.missing}
    if json:
        print_json({"folder": str(to), "settings": asdict(settings)} | asdict(summary))
    _tell("failed", summary.failed)
    _tell("damaged, kept as far as it goes", summary.damaged)
    if not json:
        _tell_frames(summary, to)
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
    encoder: Annotated[str, typer.Option(help="offline, a hub id, a folder, or OpenAI's .pt file.")] = "offline",
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
    from wordframe.data import build_feature_cache
    from wordframe.library import interrupts_noted

    if (videos is None) == (frame_cache is None):
        raise typer.BadParameter("give either --videos or --frame-cache")
    chosen = _choose(benchmark, annotations, captions, split)
    used = _load(encoder, num_words or chosen.num_words)
    wanted = num_frames or chosen.num_frames
    source, told = _source(chosen.split, videos, frame_cache, used, wanted, allow_missing)
    texts = sum(len(several) for several in chosen.split.captions.values())
    with _two_bars(texts, len(chosen.split)) as on_progress, interrupts_noted() as interrupted:
        summary = build_feature_cache(
            to,
            chosen.split.captions,
            source,
            used,
            num_frames=wanted,
            frames=told,
            benchmark=chosen.split.benchmark,
            split=chosen.split.name,
            note=chosen.split.note,
            annotations=chosen.annotations,
            allow_missing=allow_missing,
            should_stop=interrupted.is_set,
            on_progress=on_progress,
        )
    if json:
        print_json({"folder": str(to), "encoder": used.name, "fingerprint": used.fingerprint} | asdict(summary))
    _tell("left out", summary.left_out)
    _tell("damaged, kept as far as it goes", summary.damaged)
    if not json:
        _tell_features(summary, to, texts)
    _end(interrupted=summary.interrupted, is_good=summary.complete)


def _choose(benchmark: str | None, annotations: Path | None, captions: Path | None, split: str) -> _Chosen:
    import hashlib

    from wordframe.data import SPLITS, Split, load_benchmark, protocol, read_captions

    if (benchmark is None) == (captions is None) or (benchmark is None) != (annotations is None):
        raise typer.BadParameter("give either --benchmark with --annotations, or --captions")
    if split not in SPLITS:
        raise typer.BadParameter(f"--split {split!r} is not there; use {', '.join(SPLITS)}")
    if captions is not None:
        read = {video: tuple(several) for video, several in read_captions(captions).items()}
        digest = hashlib.sha256(captions.read_bytes()).hexdigest()
        return _Chosen(Split(captions.name, split, read), {captions.name: digest}, None, _OWN_FRAMES)
    assert benchmark is not None
    assert annotations is not None
    loaded, sizes = load_benchmark(benchmark, annotations, splits=(split,)), protocol(benchmark)
    for problem in loaded.problems:
        print(f"note: {problem}", file=sys.stderr)
    hashes = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in loaded.files}
    return _Chosen(loaded.splits[split], hashes, sizes.num_words, sizes.num_frames)


def _load(name: str, max_words: int | None) -> Encoder:
    """The encoder; CLIP's kind cuts captions before it reads them, as published."""
    from wordframe.encoders import load_encoder

    return load_encoder(name) if name == "offline" or max_words is None else load_encoder(name, max_words=max_words)


def _source(
    split: Split, videos: Path | None, frame_cache: Path | None, encoder: Encoder, num_frames: int, allow_missing: bool
) -> tuple[FrameSource, str]:
    """Where the frames come from, and that in words; what is missing is refused before the work starts."""
    from wordframe.data import CacheError, FrameCache, VideoFiles, match_videos

    if videos is not None:
        matched = match_videos(videos, {video: [*several] for video, several in split.captions.items()})
        if not allow_missing:
            matched.refuse_missing()
        paths = {pair.name: pair.path for pair in matched.pairs}
        return VideoFiles(paths, encoder.short_side), f"videos at a short side of {encoder.short_side} pixels"
    assert frame_cache is not None
    cache = FrameCache.open(frame_cache)
    cache.refuse_less(num_frames=num_frames, short_side=encoder.short_side)
    missing = [video for video in split.captions if video not in cache]
    if missing and not allow_missing:
        raise CacheError(
            f"{frame_cache}: {len(missing)} of {len(split)} captioned videos are not in it, the first: {missing[0]!r}; "
            "run wordframe cache frames for this split, or say --allow-missing"
        )
    return cache, f"cached frames: {cache.settings}"


@contextlib.contextmanager
def _two_bars(texts: int, videos: int) -> Iterator[Callable[[str, int], None]]:
    """First the captions, then the videos."""
    from wordframe.cli.progress import counting_progress

    with contextlib.ExitStack() as stack:
        bars: dict[str, Callable[[int], None]] = {}

        def show(what: str, done: int) -> None:
            if what not in bars:
                stack.pop_all().close()
                total = texts if what == "captions" else videos
                bars[what] = stack.enter_context(counting_progress(f"Encoding {what}", total))
            bars[what](done)

        yield show


def _tell(what: str, videos: Mapping[str, str]) -> None:
    from wordframe.cli.text import printable

    for video, reason in list(videos.items())[:_TOLD]:
        line = reason if video in reason else f"{video}: {reason}"
        print(f"{what}: {printable(line)}", file=sys.stderr)
    if len(videos) > _TOLD:
        print(f"{what}: and {len(videos) - _TOLD:,} more (--json lists all)", file=sys.stderr)


def _tell_frames(summary: CacheSummary, to: Path) -> None:
    from wordframe.cli.text import counted

    there = counted(len(summary.made) + len(summary.kept), "video")
    print(f"{to}: frames of {there} ({len(summary.made):,} new, {len(summary.kept):,} kept)")


def _tell_features(summary: FeatureSummary, to: Path, texts: int) -> None:
    from wordframe.cli.text import counted

    there = counted(summary.encoded + summary.kept, "video")
    print(f"{to}: features of {there} ({summary.encoded:,} new, {summary.kept:,} kept) and {counted(texts, 'caption')}")
    if not summary.complete and not summary.interrupted:
        print("not complete: mend these videos and run the same command again, or say --allow-missing", file=sys.stderr)


def _end(*, interrupted: bool, is_good: bool) -> None:
    if interrupted:
        print("interrupted: what was finished is kept; the same command goes on from here", file=sys.stderr)
        raise typer.Exit(130)
    if not is_good:
        raise typer.Exit(1)
