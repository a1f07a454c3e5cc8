"""The three standard streams in every state that a program is started with: closed, full, or with nobody who reads.

What cannot be written to standard error is lost, and changes neither the work nor the exit status. Standard output is
the result: if that cannot be written, the command has failed, unless its reader left because it had seen enough. Who
closes it wants none: that is told, and is no failure.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any, TextIO

from wordframe.disk import one_line

__all__ = ["is_lost", "output_fault", "prepare_streams", "tell"]


def prepare_streams() -> None:
    """Put the null device in the place of standard streams that were closed, and watch standard output.

    Else the next files that are opened get their numbers, and what a C library says to standard error lands in a
    video or in a table.
    """
    closed = set()
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            closed.add(number)
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    _remember_output_faults(is_closed=1 in closed)


def tell(line: str) -> None:
    """A line of one's own to standard error, if that takes it."""
    with contextlib.suppress(OSError):
        print(f"wordframe: {one_line(line)}", file=sys.stderr, flush=True)


def output_fault(out: TextIO) -> OSError | None:
    """Why ``out`` does not take what was printed to it; BrokenPipeError if nobody reads it. It is silent from then on,
    so that the interpreter, which tries once more at its end, has nothing to complain of."""
    try:
        out.flush()
        watched = _watched(out)
        fault = None if watched is None else watched.fault
    except OSError as error:
        fault = error
    if fault is not None:
        with contextlib.suppress(OSError, ValueError):  # not a file at all
            os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
    return fault


def is_lost(out: TextIO) -> bool:
    """Whether something was printed to ``out``, which was closed when the program began."""
    watched = _watched(out)
    return watched is not None and watched.is_lost


def _watched(out: TextIO) -> _Output | None:
    """What ``prepare_streams`` put below standard output; None for any other stream."""
    raw = getattr(getattr(out, "buffer", None), "raw", None)
    return raw if isinstance(raw, _Output) else None


class _Output(io.FileIO):
    """A file that remembers why it could not be written: Python's own forgets, and its error names no file."""

    fault: OSError | None = None
    is_closed = is_lost = False

    def write(self, data: Any, /) -> int:
        self.is_lost = self.is_closed
        try:
            return super().write(data)
        except OSError as error:
            self.fault = error
            raise


def _remember_output_faults(*, is_closed: bool) -> None:
    if sys.stdout.isatty():  # is never full, and on Windows no ordinary file
        return
    before, output = sys.stdout, _Output(sys.stdout.fileno(), "wb", closefd=False)
    output.is_closed = is_closed
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(output),
        encoding=before.encoding,
        errors=before.errors,
        line_buffering=getattr(before, "line_buffering", False),
        write_through=getattr(before, "write_through", False),
    )
