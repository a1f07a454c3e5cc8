"""What one file may cost at most, whatever it claims: pixels, seconds, bytes, frames and work.

A file of a few kilobytes can name a picture of gigapixels, a length of years, a million frames a second, or pictures
that stay for an hour each. Honest files stay far below all of these: a day and night of a fixed camera at one frame a
second is 86,400 frames. Where a bound ends the reading of a file, what came before it counts, and the file's
``problem`` says so. Neighbours: ``_reader.py`` and ``decode.py`` hold the bounds.
"""

from __future__ import annotations

from time import perf_counter

MAX_PIXELS = 1 << 26
"""8192 × 8192, twice an 8K frame. A header that says more is damaged, or its frames need gigabytes."""
MAX_DURATION_SECONDS = 30 * 24 * 3600.0
"""A header that says more is damaged; the length then counts as unknown."""
MAX_FRAME_RATE = 1000.0
"""A header that says more is damaged; the rate then counts as unknown."""
MAX_GAP_SECONDS = 3600.0
"""A picture that stays longer than this is a damaged timestamp."""
MAX_READ_ERRORS = 100
"""In a row. After an error the library looks for the next packet by itself; in a torn file that may never come."""
MAX_EXPANSION = 16
"""A file read to more than this many times its size is read in circles (Matroska may compress its packets)."""
MAX_PACKETS_WITHOUT_FRAME = 1000
"""A decoder that took this many wanted packets and gave nothing will not recover in this file."""
MAX_FRAMES = 200_000
"""Given out of one file: 55 hours at one a second."""
MAX_REPEATS = 12
"""How often a library looks at one picture that stays, spread over its time: as many frames as a segment has."""
_WORK_SECONDS, _BYTES_A_WORK_SECOND = 600.0, 10_000
"""Ten minutes for any file, and a second more for each 10 kB: the slowest honest case, a 4K recording of a screen at
200 kbit a second on one slow core, takes a second for each 25 kB."""


class Allowance:
    """The seconds of work that a file may cost, counted while its reader works and not while the caller does."""

    def __init__(self, num_bytes: int) -> None:
        self.seconds = _WORK_SECONDS + num_bytes / _BYTES_A_WORK_SECOND
        self._spent = 0.0
        self._since: float | None = None

    def __enter__(self) -> None:
        self._since = perf_counter()

    def __exit__(self, *_: object) -> None:
        assert self._since is not None
        self._spent += perf_counter() - self._since
        self._since = None

    def is_spent(self) -> bool:
        """Whether the work so far, that under way included, took longer."""
        under_way = 0.0 if self._since is None else perf_counter() - self._since
        return self._spent + under_way > self.seconds


def spread(values: list[float], count: int) -> list[float]:
    """At most ``count`` of ``values``, evenly spread, the first and the last among them.

    >>> spread([0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5], 3), spread([1.0], 3)
    ([0.5, 3.5, 6.5], [1.0])
    """
    if len(values) <= count:
        return values
    if count == 1:
        return values[:1]
    return [values[place * (len(values) - 1) // (count - 1)] for place in range(count)]
