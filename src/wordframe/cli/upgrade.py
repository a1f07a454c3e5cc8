"""``wordframe upgrade``: a library of an older wordframe, or one of another encoder, made into what is wanted now."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from wordframe.cli.index import print_problems, print_summary
from wordframe.cli.options import JsonOption, LibraryOption, RuntimeOption, print_json

if TYPE_CHECKING:
    from wordframe.library import EncoderChange, Library


def upgrade(
    library: LibraryOption,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Make the library anew with this encoder: offline, a short name (wordframe encoders), a hub id, a "
            "folder, or OpenAI's .pt file.",
            show_default=False,
        ),
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="With --encoder: leave out videos whose files are gone.")
    ] = False,
    runtime: RuntimeOption = "auto",
    json: JsonOption = False,
) -> None:
    """Bring a library up to date: to this wordframe's format, or to another encoder.

    Without --encoder the library's format is brought up to date in place, in moments; features stay as they are.

    With --encoder all its videos are read again, from the same folders, into a new library beside it (its name with
    .upgrading at the end), which takes its place when it is complete. Until then the library stays as it is. Cut short,
    the same command goes on. What was kept for models is gone then: wordframe prepare makes it again.

    Examples:

        wordframe upgrade --library my-library

        wordframe upgrade --library my-library --encoder clip-b32

        wordframe upgrade --library my-library --encoder offline --json
    """
    from wordframe.disk import one_line
    from wordframe.library import FORMAT, Library

    if encoder is not None:
        _change_encoder(library, encoder, runtime, allow_missing, json)
        return
    if allow_missing or runtime != "auto":
        raise typer.BadParameter("--allow-missing and --runtime go with --encoder")
    changed = Library.upgrade(library)
    advice = _advice(Library.open(library))
    if json:
        print_json({"upgraded": changed, "format": FORMAT, "encoder_is_current": advice is None})
    else:
        done = f"{library}: brought up to library format {FORMAT}" if changed else f"{library}: is up to date"
        print(one_line(done if advice is None or changed else f"{library}: its format is up to date"))
    if advice is not None:
        print(one_line(advice), file=sys.stderr)


def _advice(library: Library) -> str | None:
    """What to do where the offline encoder makes other features by now; it alone changes with wordframe, and it alone
    is told without loading anything."""
    from wordframe.encoders import load_encoder
    from wordframe.errors import LibraryError

    if library.manifest.encoder != "offline":
        return None
    try:
        library.manifest.check(load_encoder("offline"), library.place)
    except LibraryError as error:
        return str(error)
    return None


def _change_encoder(library: str, encoder: str, runtime: str, allow_missing: bool, json: bool) -> None:
    from wordframe.cli._terminal import indexing_progress
    from wordframe.library import change_encoder

    with indexing_progress() as on_progress:
        change = change_encoder(library, encoder, runtime=runtime, allow_missing=allow_missing, on_progress=on_progress)
    if json:
        print_json(asdict(change))
    _tell(change, library, json)
    if not change.done:
        raise typer.Exit(130)
    if change.summary is not None and change.summary.failed:
        raise typer.Exit(1)


def _tell(change: EncoderChange, library: str, json: bool) -> None:
    from wordframe.disk import one_line, shown_command
    from wordframe.errors import counted

    if change.summary is None:
        if not json:
            print(one_line(f"{library}: has the features of {change.after} already"))
        return
    if change.started_over:
        print("begun anew: what had been made was of another encoder", file=sys.stderr)
    print_problems(change.summary)
    for path in change.left_out:
        print(f"left out, its file is gone: {one_line(path)}", file=sys.stderr)
    if not change.done:
        return
    for model in change.models_gone:
        print(
            f"no longer prepared for {one_line(model)}: it was for {one_line(change.before)}; if it takes the features "
            f"of {one_line(change.after)}: {shown_command('wordframe', 'prepare', model, '--library', library)}",
            file=sys.stderr,
        )
    if not json:
        print_summary(change.summary, library)
        videos = counted(change.summary.videos_met, "video")
        print(one_line(f"{library}: {videos}, made with {change.after} in place of {change.before}"))
