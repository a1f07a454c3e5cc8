"""``wordframe search``: the videos and moments that fit a sentence, a picture or a clip. ``wordframe export``: one of
them as a file of its own."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from wordframe.addresses import is_address, parse_address
from wordframe.cli.options import JsonOption, LibraryOption, ModelOption, UntrainedOption, print_json
from wordframe.disk import in_utf8, one_line

if TYPE_CHECKING:
    from wordframe.search import BackgroundScores, Hit, WordShare

    Shares: TypeAlias = Mapping[str, Sequence[WordShare]]

_TOLD_LEAD_SECONDS = 0.01


def search(
    library: LibraryOption,
    text: Annotated[
        str | None, typer.Argument(help="What the moment shows, in a sentence.", show_default=False)
    ] = None,
    image: Annotated[Path | None, typer.Option(help="Search by a picture instead.", readable=False)] = None,
    clip: Annotated[Path | None, typer.Option(help="Search by a video instead.", readable=False)] = None,
    top: Annotated[int, typer.Option(min=1, help="How many videos to show.")] = 10,
    moments: Annotated[int, typer.Option(min=1, help="At most so many moments a video.")] = 3,
    path: Annotated[str | None, typer.Option(help="Only videos whose path fits this glob: 'holiday/*.mp4'.")] = None,
    min_seconds: Annotated[float | None, typer.Option(min=0, help="Only videos at least this long.")] = None,
    max_seconds: Annotated[float | None, typer.Option(min=0, help="Only videos at most this long.")] = None,
    after: Annotated[
        datetime.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Only files of this day or later.")
    ] = None,
    before: Annotated[
        datetime.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Only files older than this day.")
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Score the whole library, not only a shortlist.")] = False,
    model: ModelOption = "zero-shot",
    untrained: UntrainedOption = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say why each best moment fits: parts, and which frames each word sees.")
    ] = False,
    words: Annotated[
        bool,
        typer.Option(
            "--words/--no-words",
            help="Below each video, which words of the sentence found it: by how much the score falls without each.",
        ),
    ] = True,
    json: JsonOption = False,
) -> None:
    """Find the videos, and the moments in them, that fit a query.

    With a model that keeps something of each segment, searches are quick once wordframe prepare has made it.

    Examples:

        wordframe search "a dog runs on the beach" --library my-library

        wordframe search --image photo.jpg -l my-library --top 3

        wordframe search "a dog runs on the beach" -l my-library --model my-tcmgc --explain

        wordframe search "a talk" -l my-library --min-seconds 600 --after 2024-01-01 --json
    """
    if [text, image, clip].count(None) != 2:
        raise typer.BadParameter("give one query: a sentence, --image FILE or --clip FILE")
    from wordframe.cli._terminal import warn_if_unprepared
    from wordframe.library import Library
    from wordframe.search import Filters, Query, SearchEngine, background, encode, query_note, word_shares
    from wordframe.search import search as find

    filters = Filters(path=path, min_seconds=min_seconds, max_seconds=max_seconds, after=after, before=before)
    snapshot = SearchEngine.with_model(Library.open(library), model, untrained=untrained).snapshot()
    warn_if_unprepared(snapshot, model, untrained=untrained)
    query = encode(snapshot, Query(text=text and in_utf8(text), image=image, clip=clip))
    if query.text is not None and (note := query_note(snapshot.encoder, query.text)):
        print(one_line(f"note: {note}"), file=sys.stderr)
    hits = find(snapshot, query, top=top, moments=moments, filters=filters, exact=exact, explained=explain)
    level = background(snapshot, query)
    shares = word_shares(snapshot, query, [hit.moments[0].segment_id for hit in hits]) if words else {}
    if json:
        print_json([_as_json(hit, level, shares) for hit in hits])
    elif hits:
        _show(hits, level, shares)
    else:
        print("Nothing found: no video passes the filters.")


def _as_json(hit: Hit, level: BackgroundScores, shares: Shares) -> dict[str, Any]:
    """A hit with what was asked beside it; ``words`` where there is something to tell."""
    found = hit.to_json() | {"weak": level.is_weak(hit.score)}
    told = shares.get(hit.moments[0].segment_id)
    return found | {"words": [share.to_json() for share in told]} if told is not None else found


def _words_line(shares: Sequence[WordShare]) -> str:
    """``dog 46 % · beach 39 % · runs 15 %``: the words that counted, the strongest first."""
    told = sorted(shares, key=lambda each: -each.share)
    return " · ".join(
        f"{one_line(each.word)} {each.share:.0%}".replace("%", " %") for each in told if each.share > 0.05
    )


def _show(hits: list[Hit], level: BackgroundScores, shares: Shares) -> None:
    from wordframe.cli._terminal import reason_lines, timecode

    width = max(len(f"{timecode(hit.start_seconds)} – {timecode(hit.end_seconds)}") for hit in hits)
    weak = False
    for hit in hits:
        if level.is_weak(hit.score) and not weak:
            weak = True
            nothing = "nothing stands out: " if hit.rank == 1 else ""
            print(f"{'':5}{nothing}from here on no better than chance; other words may find more")
        span = f"{timecode(hit.start_seconds)} – {timecode(hit.end_seconds)}"
        print(f"{hit.rank:>3}  {hit.score:6.3f}  {span:<{width}}  {one_line(hit.path)}")
        for copy in hit.copies:
            print(f"{'':13}the same file as {one_line(copy)}")
        if len(hit.moments) > 1:
            others = ", ".join(
                f"{timecode(m.start_seconds)} – {timecode(m.end_seconds)} ({m.score:.3f})" for m in hit.moments[1:]
            )
            print(f"{'':13}also {others}")
        if not weak and (line := _words_line(shares.get(hit.moments[0].segment_id, ()))):
            print(f"{'':13}by {line}")
        if hit.explanation is not None:
            print("\n".join(f"{'':13}{line}" for line in reason_lines(hit.explanation)))


def export(
    video: Annotated[str, typer.Argument(help="The video, as search prints it.", show_default=False)],
    start: Annotated[str, typer.Argument(help="Where the moment starts: seconds or a timecode.", show_default=False)],
    end: Annotated[str, typer.Argument(help="Where it ends.", show_default=False)],
    to: Annotated[
        Path | None,
        typer.Option(help="The file to write; default: beside you, named by the times, as an .mkv or .mp4 if need be."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
    json: JsonOption = False,
) -> None:
    """Cut a moment out of a video with its sound, without encoding it again where the format allows.

    A copy starts at the keyframe before the moment; what is printed are the times of the file that was written.

    Example:

        wordframe export holiday.mp4 1:15 1:22.5 --to dog.mp4
    """
    from wordframe.cli._terminal import parse_timecode, timecode
    from wordframe.errors import VideoError
    from wordframe.library import local_copy
    from wordframe.video import export_moment

    video = parse_address(video, "a video lies in a folder", VideoError, is_any_key=True) or video
    begin, stop = parse_timecode(start), parse_timecode(end)
    if stop <= begin:
        raise typer.BadParameter(f"the end ({end}) must come after the start ({start})")
    name = Path(video)
    target = to or Path(f"{name.stem}_{begin:g}-{stop:g}s{name.suffix}")
    try:
        with local_copy(video) as (path, _):
            report = export_moment(Path(path), target, begin, stop, overwrite=overwrite, other_container=to is None)
    except OSError as error:
        if not is_address(video):
            raise
        raise VideoError(f"{one_line(video)}: {error.strerror}") from None
    if json:
        print_json(asdict(report) | {"target": str(report.target)})
        return
    how = ["copied without encoding"] if report.is_copy else []
    if begin - report.start_seconds > _TOLD_LEAD_SECONDS:
        how.append(f"from the keyframe before {timecode(begin, places=3)}")
    how += [one_line(note) for note in report.notes] + ([] if report.has_sound else ["no sound"])
    span = f"{timecode(report.start_seconds, places=3)} – {timecode(report.end_seconds, places=3)}"
    print(f"{one_line(str(report.target))}: {span} of {one_line(video)}, {', '.join(how)}")
