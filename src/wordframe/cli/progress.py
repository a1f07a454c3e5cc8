"""Progress bars on standard error; quiet when that is no terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from wordframe.library import Progress


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
def indexing_progress() -> Iterator[Callable[[Progress], None]]:
    """A bar over the bytes of the files to read, with frames a second."""
    with _bar("{task.fields[detail]}") as bar:
        task = bar.add_task("Looking for videos", total=None, detail="")

        def show(progress: Progress) -> None:
            elapsed = max(bar.tasks[0].elapsed or 0.0, 1e-9)
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
