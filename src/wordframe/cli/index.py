"""``wordframe index``: bring a library up to date with folders of videos."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from wordframe.cli.options import (
    JsonOption,
    LibraryOption,
    RayActorsOption,
    RayCoresOption,
    RayOption,
    RuntimeOption,
    print_json,
    ray_executor,
)

if TYPE_CHECKING:
    from wordframe.library import IndexSummary


def index(
    paths: Annotated[
        list[str],
        typer.Argument(help="Folders (with all below them) and video files, or s3://, gs:// or az:// BUCKET/PREFIX."),
    ],
    library: LibraryOption,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="offline (default for a new library), a short name (wordframe encoders lists them), a hub id, a "
            "folder, or OpenAI's .pt file.",
            show_default=False,
        ),
    ] = None,
    runtime: RuntimeOption = "auto",
    prune: Annotated[bool, typer.Option("--prune", help="Forget videos whose files are gone.")] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="With --prune: also those of empty folders, as of a drive that is not mounted."),
    ] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Try unchanged files again that failed before.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail also for unchanged files that could not be read before.")
    ] = False,
    every_frame: Annotated[
        bool | None,
        typer.Option(
            help="Encode also frames that hardly differ from the last one encoded. Kept for later runs, too.",
            show_default=False,
        ),
    ] = None,
    sampling: Annotated[
        str | None,
        typer.Option(
            help="seconds: a frame a second (default). keyframes: decode only those, far faster for long 4K files, "
            "with coarser moments. The library keeps the choice for later runs.",
            show_default=False,
        ),
    ] = None,
    ray: RayOption = None,
    ray_actors: RayActorsOption = None,
    ray_cores: RayCoresOption = None,
    ray_gpus: Annotated[
        float | None,
        typer.Option(
            min=0.0, help="With --ray: GPUs for each, or a share of one; default 1 if any.", show_default=False
        ),
    ] = None,
    model: Annotated[str | None, typer.Option("--model", hidden=True)] = None,
    json: JsonOption = False,
) -> None:
    """Index all videos below PATHS into a library.

    Unchanged files cost nothing, moved ones are recognised, and a run that was cut short goes on where it was. It fails
    for a file that cannot be read, once: the next run names it and goes on, so that a timer can run this command.
    Hidden folders, bins and snapshots of systems are passed over, and what a .wordframeignore names (patterns as in
    git's .gitignore).

    Examples:

        wordframe index ~/Videos --library my-library

        wordframe index /archive/2024 talk.mkv -l my-library --prune

        wordframe index ~/Videos --library clip-library --encoder clip-b32

        wordframe index s3://bucket/videos --library s3://bucket/library

        wordframe index /shared/archive --library /shared/library --ray auto
    """
    from wordframe.cli._terminal import indexing_progress

    if model is not None:
        raise typer.BadParameter(
            "index takes no --model: an encoder (--encoder) makes a library's features, whatever scores them; "
            "--model goes with search, serve and evaluate, and wordframe prepare MODEL stores what a model needs"
        )
    if force and not prune:
        raise typer.BadParameter("--force goes with --prune: it forgets videos also where a whole folder is empty")
    with ray_executor(ray, ray_actors, ray_cores, ray_gpus) as executor, indexing_progress() as on_progress:
        from wordframe.library import Library  # loads LanceDB, which a cluster that starts must not fork

        opened = Library.open(library, encoder=encoder, runtime=runtime)
        summary = opened.index(
            paths,
            prune=prune,
            force=force,
            retry=retry,
            every_frame=every_frame,
            sampling=sampling,
            on_progress=on_progress,
            executor=executor,
        )
    if json:
        print_json(asdict(summary))
    print_problems(summary)
    if not json:
        print_summary(summary, library)
    if summary.interrupted:
        raise typer.Exit(130)
    refused = prune and bool(summary.away)
    if summary.failed or refused or not summary.videos_met or (strict and summary.known_failures):
        raise typer.Exit(1)


def print_problems(summary: IndexSummary) -> None:
    """What did not go well, a line each on standard error."""
    from wordframe.disk import one_line
    from wordframe.errors import counted

    for path, problem in sorted(summary.partly.items()):
        print(f"partly indexed: {one_line(path)}: {one_line(problem)}", file=sys.stderr)
    for path, note in sorted(summary.noted.items()):
        print(f"note: {one_line(path)}: {one_line(note)}", file=sys.stderr)
    for reason in sorted(summary.failed.values()):
        print(f"failed: {one_line(reason)}", file=sys.stderr)
    for reason in sorted(summary.known_failures.values()):
        print(f"failed before, unchanged: {one_line(reason)} (--retry tries again)", file=sys.stderr)
    for model, reason in sorted(summary.not_prepared.items()):
        print(f"no longer prepared for {one_line(model)}: {one_line(reason)}", file=sys.stderr)
    for path in summary.missing:
        print(f"file is gone: {one_line(path)} (--prune forgets it)", file=sys.stderr)
    for place, paths in summary.away.items():
        print(
            f"not forgotten: {counted(len(paths), 'video')} of {one_line(place)}, which holds no videos now: is a "
            "drive not mounted? (--prune --force forgets them)",
            file=sys.stderr,
        )
    for advice in summary.advice:
        print(f"note: {advice}", file=sys.stderr)
    if summary.interrupted:
        print("interrupted: what was finished is kept; the same command goes on from here", file=sys.stderr)
    elif not summary.videos_met and not summary.failed:
        print("wordframe: no video files found below the given paths", file=sys.stderr)


def print_summary(summary: IndexSummary, library: str) -> None:
    """What was done, on standard output."""
    from wordframe.cli._terminal import duration
    from wordframe.disk import one_line, shown_command
    from wordframe.errors import counted

    parts = [f"{counted(len(summary.indexed), 'video')} indexed"]
    if summary.indexed:
        reused = f", {summary.frames_reused / summary.frames:.0%} hardly changed" if summary.frames_reused else ""
        speed = summary.seconds_of_video / max(summary.seconds_taken, 1e-9)
        parts[0] += (
            f" ({duration(summary.seconds_of_video)} of video, {counted(summary.frames, 'frame')}{reused}) "
            f"in {duration(summary.seconds_taken)}, {speed:.{0 if speed >= 9.95 else 1}f} times as fast as they play"
        )
    for paths, word in (
        (summary.unchanged, "unchanged"),
        (summary.moved, "moved"),
        (summary.copied, "copied"),
        (summary.pruned, "forgotten"),
        (list(summary.failed), "failed"),
        (list(summary.known_failures), "failed before"),
    ):
        if paths:
            parts.append(f"{len(paths):,} {word}")
    print(" · ".join(parts))
    if summary.passed_over:
        told = ", ".join(f"{number:,} {one_line(what)}" for what, number in summary.passed_over.items())
        print(f"passed over: {told}")
    if summary.indexed and summary.sampling == "keyframes":
        apart = summary.seconds_of_video / max(summary.frames, 1)
        print(f"only keyframes were looked at, {apart:.1f} s apart on average, and no moment is finer than that")
    for model, segments in sorted(summary.prepared.items()):
        if segments:
            print(f"{counted(segments, 'segment')} prepared for {one_line(model)}")
    if summary.indexed:
        print(f'Search it with: wordframe search "a sentence" {shown_command("--library", library)}')
