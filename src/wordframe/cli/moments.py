"""``wordframe evaluate --moments``: how well a library's search finds the moments that sentences speak of.

The videos are indexed as ``wordframe index`` does, into a library that is named or into one that is thrown away after.
Neighbours: ``evaluate.py`` has the command and its options.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from wordframe.cli.options import print_json
from wordframe.errors import AnnotationError, WordframeError, counted

if TYPE_CHECKING:
    from wordframe.data import MatchedVideos, MomentQuery, MomentSet
    from wordframe.encoders import Encoder
    from wordframe.evaluate import MomentReport, Share, Skipped
    from wordframe.library import Library
    from wordframe.models import TextVideoModel

_SHOWN = 60
"""Characters of a sentence that is spoken of."""


@dataclass(frozen=True)
class MomentsAsked:
    """What the command line names. library: kept, where one is named."""

    videos: Path
    captions: Path | None
    benchmark: str | None
    annotations: Path | None
    split: str
    library: str | None
    model_name: str
    allow_missing: bool
    to: Path | None
    json: bool


def evaluate_moments(asked: MomentsAsked, encoder: Encoder, model: TextVideoModel, share: Share) -> None:
    """Index what is missing, ask every sentence, print the numbers; videos that took no part end it with status 1.

    Of several processes each asks its share of the sentences, of a library that lies on its machine.
    """
    from wordframe.cli._evaluating import bars_of
    from wordframe.data import match_videos
    from wordframe.evaluate import moment_figures, moment_values, write_moment_run
    from wordframe.library import Library
    from wordframe.search import answer_moments

    with share.failing_together():
        wanted = _read(asked)
        matched = match_videos(asked.videos, wanted.captions)
        if not asked.allow_missing:
            matched.refuse_missing()
    with _library_folder(asked.library) as folder:
        for turn in range(share.processes):  # a library has one writer, and processes of one machine may share it
            with share.failing_together():
                if turn == share.rank:
                    library = Library.open(folder, encoder=encoder)
                    ids, skipped = _indexed(library, matched, allow_missing=asked.allow_missing)
        with share.failing_together(), bars_of(share) as on_progress:
            snapshot = library.snapshot(model)
            queries = [query for query in wanted.queries if query.video in ids]
            own = share.own(queries)
            answers = answer_moments(
                snapshot, own, ids, on_progress=lambda done: on_progress("Asking sentences", done, len(own))
            )
            videos = snapshot.videos()
            ends = {video.video_id: video.duration_seconds for video in videos}
            late = [query for query in queries if all(start >= ends[ids[query.video]] for start, _ in query.windows)]
            num_segments = snapshot.num_segments
    share.refuse_unlike(sentences=[f"{query.video} {query.text}" for query in queries], segments=[str(num_segments)])
    answers = share.whole(answers)
    values = moment_values(queries, answers)
    places = {video: place for place, video in enumerate(ids)}
    from numpy import array

    report = _report(
        asked,
        wanted,
        encoder,
        skipped,
        problems=(*wanted.problems, *_behind_the_end(late)),
        figures=moment_figures(values, array([places[query.video] for query in queries])),
        queries=len(queries),
        captioned=len(ids),
        videos=len(videos),
        segments=num_segments,
        seconds=sum(video.duration_seconds for video in videos),
        rated=any(query.saliency for query in queries),
    )
    with share.failing_together():
        if asked.to is not None and share.rank == 0:
            write_moment_run(asked.to, report, queries, answers, values)
    if share.rank == 0:
        _show(report, json=asked.json)
    if report.skipped:
        raise typer.Exit(1)


def _read(asked: MomentsAsked) -> MomentSet:
    from wordframe.data import load_moments, read_moments
    from wordframe.search import check_query

    if asked.captions is not None:
        wanted = read_moments(asked.captions)
    else:
        assert asked.benchmark is not None
        assert asked.annotations is not None
        wanted = load_moments(asked.benchmark, asked.annotations, asked.split)
    for query in wanted.queries:  # now, and not after an hour of indexing
        try:
            check_query(query.text)
        except WordframeError as error:
            place = asked.captions or asked.annotations
            raise AnnotationError(f"{place}: {query.text[:_SHOWN]!r} … of {query.video}: {error}") from error
    return wanted


@contextlib.contextmanager
def _library_folder(named: str | None) -> Iterator[str | Path]:
    if named is not None:
        yield named
        return
    with tempfile.TemporaryDirectory(prefix="wordframe-moments-") as folder:
        yield Path(folder) / "library"


def _indexed(
    library: Library, matched: MatchedVideos, *, allow_missing: bool
) -> tuple[dict[str, str], tuple[Skipped, ...]]:
    """The library's id of each captioned video that it holds once it is up to date, and what it could not read."""
    from wordframe.cli._terminal import indexing_progress
    from wordframe.evaluate import Skipped

    if not matched.pairs:
        raise AnnotationError("none of the captioned videos is in the folder; name the folder that holds them")
    with indexing_progress() as on_progress:
        summary = library.index([pair.path for pair in matched.pairs], on_progress=on_progress)
    if summary.interrupted:
        print("interrupted: with --library what was indexed is kept; the same command goes on", file=sys.stderr)
        raise typer.Exit(130)
    by_path = {os.path.realpath(video.path): video.video_id for video in library.videos()} if library.exists else {}
    found = {pair.name: by_path.get(os.path.realpath(pair.path)) for pair in matched.pairs}
    reasons = {os.path.realpath(path): reason for path, reason in {**summary.failed, **summary.known_failures}.items()}
    skipped = [Skipped(name, "not in the folder") for name in matched.missing]
    skipped += [
        Skipped(pair.name, reasons.get(os.path.realpath(pair.path), "could not be indexed"))
        for pair in matched.pairs
        if found[pair.name] is None
    ]
    ids = {name: video_id for name, video_id in found.items() if video_id is not None}
    if not ids or (skipped and not allow_missing):
        raise AnnotationError(
            f"{counted(len(skipped), 'video')} could not be read, such as {skipped[0].file} ({skipped[0].reason}); "
            "mend them, or say --allow-missing to evaluate the others"
        )
    return ids, tuple(skipped)


def _behind_the_end(late: list[MomentQuery]) -> tuple[str, ...]:
    """What is told of sentences whose moments all begin where their video has ended."""
    if not late:
        return ()
    such = f"such as {late[0].text!r} of {late[0].video}"
    return (f"{counted(len(late), 'sentence')} with moments behind their video's end, {such}, which count as missed",)


def _report(
    asked: MomentsAsked, wanted: MomentSet, encoder: Encoder, skipped: tuple[Skipped, ...], **rest: object
) -> MomentReport:
    from wordframe.evaluate import MomentReport

    return MomentReport(
        protocol=wanted.name,
        split=wanted.split,
        annotations=wanted.annotations,
        encoder=f"{encoder.name} ({encoder.fingerprint})",
        model=asked.model_name,
        skipped=skipped,
        **rest,  # type: ignore[arg-type]
    )


def _show(report: MomentReport, *, json: bool) -> None:
    from wordframe.disk import one_line
    from wordframe.evaluate import moment_table

    for video in report.skipped:
        print(f"skipped: {one_line(video.file)}: {one_line(video.reason)}", file=sys.stderr)
    if json:
        print_json(report.to_json())
    else:
        from rich.console import Console

        Console().print(moment_table(report))
