"""``wordframe data``: the benchmarks that are known, and whether their videos are all there."""

from __future__ import annotations

import json as json_lines
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wordframe.cli.options import JsonOption, print_json

if TYPE_CHECKING:
    from wordframe.data import Split, SplitCheck

app = typer.Typer(help="Benchmarks: what is known, and whether the videos are all there.", no_args_is_help=True)
_SHOWN = 5


@app.command("list")
def list_benchmarks(json: JsonOption = False) -> None:
    """List the benchmarks by their protocols' names, with the annotation files that each reads.

    Example:

        wordframe data list
    """
    from wordframe.data import BENCHMARKS

    if json:
        fields = ("name", "title", "files", "counts", "num_words", "num_frames", "held_out")
        print_json([{name: getattr(protocol, name) for name in fields} for protocol in BENCHMARKS.values()])
        return
    for protocol in BENCHMARKS.values():
        counts = ", ".join(f"{split} {count:,}" for split, count in protocol.counts.items())
        held_out = f", {protocol.held_out} of train held out as val" if protocol.held_out else ""
        typer.echo(f"{protocol.name}\n  {protocol.title}\n  videos: {counts}{held_out}")
        typer.echo(f"  {protocol.num_words} words, {protocol.num_frames} frames")
        for what, names in protocol.files.items():
            typer.echo(f"  {what}: {' or '.join(names)}")


@app.command()
def check(
    videos: Annotated[Path, typer.Option(help="Folder of the videos.", show_default=False, readable=False)],
    benchmark: Annotated[str | None, typer.Option(help="A benchmark's name; wordframe data list shows them.")] = None,
    annotations: Annotated[
        Path | None, typer.Option(help="Folder of the benchmark's annotation files.", readable=False)
    ] = None,
    captions: Annotated[
        Path | None, typer.Option(help="Captions of one's own videos, instead of a benchmark.", readable=False)
    ] = None,
    split: Annotated[list[str] | None, typer.Option(help="A split to check; may be repeated. Default: all.")] = None,
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
    checks = [_check(split, videos, deep) for split in _splits(benchmark, annotations, captions, split)]
    result = [check.to_json() for check in checks]
    _write(to, json_lines.dumps(result, indent=2))
    if json:
        print_json(result)
    else:
        for found in checks:
            typer.echo(_told(found))
        typer.echo(f"The whole lists are in {to}.")
    if any(found.missing or found.broken or found.damaged for found in checks):
        raise typer.Exit(1)


def _splits(
    benchmark: str | None, annotations: Path | None, captions: Path | None, wanted: list[str] | None
) -> list[Split]:
    from wordframe.data import SPLITS, Split, load_benchmark, read_captions

    if (benchmark is None) == (captions is None) or (benchmark is None) != (annotations is None):
        raise typer.BadParameter("give either --benchmark with --annotations, or --captions")
    unknown = [name for name in wanted or () if name not in SPLITS]
    if unknown:
        raise typer.BadParameter(f"--split {unknown[0]!r} is not there; use {', '.join(SPLITS)}")
    if captions is not None:
        read = {video: tuple(several) for video, several in read_captions(captions).items()}
        return [Split(captions.name, "test", read)]
    assert benchmark is not None
    assert annotations is not None
    loaded = load_benchmark(benchmark, annotations, splits=wanted or SPLITS)
    for problem in loaded.problems:
        typer.echo(f"note: {problem}", err=True)
    return list(loaded.splits.values())


def _check(split: Split, videos: Path, deep: bool) -> SplitCheck:
    from wordframe.cli.progress import counting_progress
    from wordframe.data import check_split

    name = f"{split.benchmark} {split.name}"
    with counting_progress(f"Checking {name}", len(split)) as on_progress:
        return check_split(
            name, split.captions, videos, deep=deep, note=split.note, on_progress=lambda done, total: on_progress(done)
        )


def _told(check: SplitCheck) -> str:
    from wordframe.cli.text import printable

    there = check.captioned - len(check.missing) - len(check.broken)
    lines = [f"{check.name}: {there:,} of {check.captioned:,} videos can be read ({check.coverage_percent:.1f} %)"]
    lines += [f"  {check.note}"] if check.note else []
    faults = [f"broken: {fault.reason}" for fault in check.broken]
    faults += [f"damaged: {fault.video}: {fault.reason}" for fault in check.damaged]
    for faulty in ([f"missing: {video}" for video in check.missing], faults):
        lines += [f"  {printable(line)}" for line in faulty[:_SHOWN]]
        lines += [f"  and {len(faulty) - _SHOWN} more"] if len(faulty) > _SHOWN else []
    return "\n".join(lines)


def _write(file: Path, text: str) -> None:
    """The whole file or the one before."""
    from wordframe.errors import AnnotationError

    part = file.with_name(f"{file.name}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text + "\n", encoding="utf-8")
        os.replace(part, file)
    except OSError as error:
        raise AnnotationError(
            f"{file}: cannot be written ({error.strerror}); choose another place with --to"
        ) from error
