"""``wordframe data``: the benchmarks that are known, and whether their videos are all there."""

from __future__ import annotations

import json as json_lines
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wordframe.cli.options import JsonOption, print_json
from wordframe.disk import one_line, write_whole
from wordframe.errors import AnnotationError, counted

if TYPE_CHECKING:
    from wordframe.data import Benchmark, Split, SplitCheck

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
        held_out = f", {protocol.held_out:,} of train held out as val" if protocol.held_out else ""
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
    checks = [
        _check(part, videos, deep) for part in read_benchmark(benchmark, annotations, captions, split).splits.values()
    ]
    result = [check.to_json() for check in checks]
    try:
        write_whole(to, json_lines.dumps(result, indent=2) + "\n")
    except OSError as error:
        raise AnnotationError(f"{to}: cannot be written ({error.strerror}); choose another place with --to") from error
    if json:
        print_json(result)
    else:
        for found in checks:
            typer.echo(_summary(found))
        typer.echo(f"The whole lists are in {one_line(to)}.")
    if any(found.missing or found.broken or found.damaged for found in checks):
        raise typer.Exit(1)


def read_benchmark(
    benchmark: str | None, annotations: Path | None, captions: Path | None, splits: Sequence[str] | None
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
    loaded = load_benchmark(benchmark, annotations, splits=splits or SPLITS)
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
    faults = [f"broken: {fault.reason}" for fault in check.broken]
    faults += [f"damaged: {fault.video}: {fault.reason}" for fault in check.damaged]
    for faulty in ([f"missing: {video}" for video in check.missing], faults):
        lines += [f"  {one_line(line)}" for line in faulty[:_SHOWN]]
        lines += [f"  and {len(faulty) - _SHOWN:,} more"] if len(faulty) > _SHOWN else []
    return "\n".join(lines)
