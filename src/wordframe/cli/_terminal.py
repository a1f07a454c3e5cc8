"""What people read at a terminal: times, lengths and numbers, the reasons behind a hit, bars while something goes on.

Bars and warnings go to standard error, which is quiet where it is no terminal; results alone go to standard output.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from wordframe.disk import one_line, shown_command
from wordframe.errors import WordframeError, counted

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from wordframe.library import IndexProgress, Snapshot
    from wordframe.search import Explanation

_LEVELS = "▁▂▃▄▅▆▇█"
_STRIP_WIDTH = 48

# Numbers -------------------------------------------------------------------------------------------------------------


def timecode(seconds: float, places: int = 1) -> str:
    """Minutes and seconds, hours when there are any, cut to ``places`` behind the point.

    >>> timecode(7.25), timecode(75), timecode(3725.04), timecode(7.0666, places=3)
    ('0:07.2', '1:15.0', '1:02:05.0', '0:07.066')
    """
    unit = 10**places
    units = int(seconds * unit + 1e-6)  # cut, not rounded: a player that is sent there must not be past the moment
    minutes, rest = divmod(units, 60 * unit)
    hours, minutes = divmod(minutes, 60)
    tail = f"{rest // unit:02d}.{rest % unit:0{places}d}"
    return f"{hours}:{minutes:02d}:{tail}" if hours else f"{minutes}:{tail}"


def parse_timecode(text: str) -> float:
    """Seconds of ``12.5``, ``1:15`` or ``1:02:05.2``.

    Raises:
        WordframeError: it is none of these.

    >>> parse_timecode("12.5"), parse_timecode("1:15"), parse_timecode("1:02:05.2")
    (12.5, 75.0, 3725.2)
    """
    try:
        parts = [float(part) for part in text.split(":")]
        if not 1 <= len(parts) <= 3 or not all(0 <= part < float("inf") for part in parts):
            raise ValueError
    except ValueError:
        raise WordframeError(f"{text!r} is not a time; write seconds (12.5) or a timecode (1:15, 1:02:05.2)") from None
    seconds = 0.0
    for part in parts:
        seconds = 60 * seconds + part
    return seconds


def duration(seconds: float) -> str:
    """A rough length.

    >>> duration(8.31), duration(754), duration(11_000)
    ('8.3 s', '12 min 34 s', '3 h 3 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


# Reasons -------------------------------------------------------------------------------------------------------------


def reason_lines(reasons: Explanation) -> list[str]:
    """Lines for people; one that says so where the model has nothing to tell but its score."""
    lines = []
    if reasons.parts:
        weights = reasons.part_weights or {}
        parts = [
            f"{name.replace('_', '-')} {value:.3f}" + (f" ({weights[name]:.0%})" if name in weights else "")
            for name, value in reasons.parts.items()
        ]
        lines.append(f"parts     {' · '.join(parts)}")
    strips = [] if reasons.sentence_attention is None else [("sentence", reasons.sentence_attention)]
    strips += [(f"  {one_line(word.word)}", word.attention) for word in reasons.words or ()]
    width = max((len(label) for label, _ in strips), default=0)
    lines += [f"{label:<{width}}  {_strip(reasons, attention)}" for label, attention in strips]
    return lines or ["this model gives its score alone: no parts, no attention"]


def _strip(reasons: Explanation, attention: Sequence[float]) -> str:
    second, share = reasons.strongest(attention)
    start, end = timecode(reasons.seconds[0]), timecode(reasons.seconds[-1])
    return f"{start} {heat_strip(attention)} {end}  most at {timecode(second)} ({share:.0%})"


def heat_strip(values: Sequence[float], width: int = _STRIP_WIDTH) -> str:
    """A character a frame, as high as its share of the largest; neighbours share one where there are too many.

    >>> heat_strip([0.0, 0.1, 0.2, 0.7]), heat_strip([0.1, 0.3, 0.1, 0.5], width=2)
    ('▁▂▃█', '▅█')
    """
    size = -(-len(values) // width)
    bins = [max(values[start : start + size]) for start in range(0, len(values), size)]
    top = max(bins) or 1.0
    return "".join(_LEVELS[round(value / top * (len(_LEVELS) - 1))] for value in bins)


# Encodings -----------------------------------------------------------------------------------------------------------

_PLAIN = dict(zip(f"{_LEVELS}–·×…“”’", '_.:-=+*#-*x.""\'', strict=True))


def print_as_the_terminal_can() -> None:
    """What a terminal's encoding lacks (cp1252, cp932, ASCII) becomes something like it or ``?``, never a traceback."""
    codecs.register_error("wordframe", _likeness)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None where there is no terminal at all
            stream.reconfigure(errors="wordframe")


def _likeness(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(character, "?") for character in lacking), error.end


# What goes on --------------------------------------------------------------------------------------------------------


def warn_if_unprepared(snapshot: Snapshot, model: str, *, untrained: bool) -> None:
    """A line on standard error where searches with the model have to make what could be stored."""
    missing = len(snapshot.unprepared())
    if missing:
        words = ["wordframe", "prepare", model, *(["--untrained"] if untrained else [])]
        command = shown_command(*words, "--library", str(snapshot.place))
        print(
            f"not prepared for {one_line(model)}: {counted(missing, 'segment')} of {snapshot.num_segments:,}; searches "
            f"are slower and may miss something until: {command}",
            file=sys.stderr,
        )


def _bar(unit: str) -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


@contextlib.contextmanager
def indexing_progress() -> Iterator[Callable[[IndexProgress], None]]:
    """A bar over the bytes of the files to read, with frames a second."""
    with _bar("{task.fields[detail]}") as bar:
        task = bar.add_task("Looking for videos", total=None, detail="")

        def show(progress: IndexProgress) -> None:
            elapsed = max(bar.tasks[0].elapsed or 0.0, 1e-9)  # the first word may come before the clock has moved
            bar.update(
                task,
                description="Indexing",
                completed=progress.bytes_done,
                total=max(progress.bytes_total, 1),
                detail=f"{progress.files_done}/{progress.files_total} files, {progress.frames / elapsed:.0f} frames/s",
            )

        yield show


@contextlib.contextmanager
def counting_progress(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar over a number of things; call with how many are done."""
    with _bar("{task.completed}/{task.total}") as bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.update(task, completed=done)


@contextlib.contextmanager
def bars_in_turn() -> Iterator[Callable[[str, int, int], None]]:
    """One bar after the other: call with what is done, how much of it, and the total."""
    with contextlib.ExitStack() as stack:
        bars: dict[str, Callable[[int], None]] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in bars:
                stack.pop_all().close()
                bars[what] = stack.enter_context(counting_progress(what, total))
            bars[what](done)

        yield show
