"""``wordframe export``: cut a found moment to a file of its own."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from wordframe.cli.options import JsonOption, print_json


def export(
    video: Annotated[Path, typer.Argument(help="The video, as search prints it.", show_default=False, readable=False)],
    start: Annotated[str, typer.Argument(help="Where the moment starts: seconds or a timecode.", show_default=False)],
    end: Annotated[str, typer.Argument(help="Where it ends.", show_default=False)],
    to: Annotated[Path | None, typer.Option(help="The file to write; default: beside you, named by the times.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
    json: JsonOption = False,
) -> None:
    """Cut a moment out of a video, without encoding it again where the format allows.

    Example:

        wordframe export holiday.mp4 1:15 1:22.5 --to dog.mp4
    """
    from wordframe.cli._terminal import parse_timecode, timecode
    from wordframe.disk import one_line
    from wordframe.video import export_moment

    begin, stop = parse_timecode(start), parse_timecode(end)
    if stop <= begin:
        raise typer.BadParameter(f"the end ({end}) must come after the start ({start})")
    target = to or Path(f"{video.stem}_{begin:g}-{stop:g}s{video.suffix}")
    report = export_moment(video, target, begin, stop, overwrite=overwrite)
    if json:
        print_json(asdict(report) | {"target": str(report.target)})
        return
    how = "copied without encoding" if report.is_copy else "encoded anew, since it cannot be cut as it is"
    sound = "" if report.has_sound else ", no sound"
    span = f"{timecode(report.start_seconds)} – {timecode(report.end_seconds)}"
    print(f"{one_line(str(report.target))}: {span} of {one_line(str(video))}, {how}{sound}")
