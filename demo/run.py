"""The demo: make a small library of videos out of installed packages, index it, search it, show what was found.

    make demo                       or: python demo/run.py

    pictures.py  photographs into films ─► films.py  26 videos ─► wordframe index ─► queries.py  a dozen sentences
                                                                      └─► answers.py  right? ─► sheet.py  one page

Everything is written to demo/output. A second run finds videos and features in place and only searches.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from answers import Answer, count
from films import build
from queries import QUERIES
from rich.console import Console
from rich.text import Text
from sheet import write_sheet

import wordframe as wf
from wordframe.cli import main as wordframe
from wordframe.cli import timecode

SHOWN_HITS = 3
SHEET_HITS = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo. Exit status 0: it ran, whatever the queries found; else that of the failing command."""
    parser = argparse.ArgumentParser(description="Index a small library of videos, search it, show what was found.")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("output"), help="where to write")
    output = from_here(parser.parse_args(argv).output)
    console = Console(highlight=False)

    started = time.monotonic()
    videos = build(output / "videos")
    console.print(f"{len(videos)} videos in {output / 'videos'} ({time.monotonic() - started:.0f} s)", soft_wrap=True)

    started = time.monotonic()
    status = wordframe(["index", str(output / "videos"), "--library", str(output / "library"), "--prune"])
    if status != 0:
        return status
    indexing_seconds = time.monotonic() - started

    engine = wf.SearchEngine(wf.Library.open(output / "library"))
    engine.search(QUERIES[0].text, top=1)  # loads the encoder, so that what follows times searches alone
    answers, times = [], []
    for query in QUERIES:
        started = time.monotonic()
        hits = engine.search(query.text, top=SHEET_HITS)
        times.append(time.monotonic() - started)
        answers.append(Answer.of(query, hits))

    for answer in answers:
        show(console, answer)
    facts = (
        f"{len(videos)} videos, the index up to date in {indexing_seconds:.0f} s; "
        f"a query takes {1000 * median(times):.0f} ms in an open process (median)."
    )
    write_sheet(output / "results.html", answers, summary=count(answers), facts=facts)
    console.print(f"\n{count(answers)}\n{facts}\n\nThe page with pictures: {output / 'results.html'}", soft_wrap=True)
    command = from_here(Path(sys.executable).with_name("wordframe"))
    console.print(f'Ask it yourself: {command} search "a starry sky" --library {output / "library"}', soft_wrap=True)
    return 0


def from_here(path: Path) -> Path:
    """The path as it is shortest to type in this folder."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def show(console: Console, answer: Answer) -> None:
    """A query, its verdict, and the first hits with their times."""
    style = "red" if not answer.right_video else "yellow" if answer.right_moment is False else "green"
    console.print(Text.assemble("\n", (answer.query.text, "bold"), "   ", (answer.verdict, style)))
    for hit in answer.hits[:SHOWN_HITS]:
        times = f"{timecode(hit.start_seconds)} – {timecode(hit.end_seconds)}"
        console.print(Text(f"  {hit.rank}  {times:17}  {hit.score:.3f}  {Path(hit.path).name}"))
    if not answer.right_video or answer.right_moment is False:
        wanted = "; ".join(f"{p.file} {timecode(p.start_seconds)} – {timecode(p.end_seconds)}" for p in answer.truth)
        console.print(Text(f"     expected: {wanted}", "dim"))


if __name__ == "__main__":
    sys.exit(main())
