"""The sound of a file whose times start anew inside, moved as its pictures are: what was together stays together.

The sound's own times break off where a part ends, and which part that is the pictures tell: the two are stored side by
side, though the first sound of a part may lie before its first picture or behind it. So the sound is cut into stretches
at these breaks; a stretch belongs to the part among whose pictures most of it is stored, and is moved by as much as
they. Sound that is longer than the pictures of its part ends where the sound of another part begins with its own.
Neighbours: ``_clock.py`` moves the pictures, ``_copying.py`` reads the sound of other files, ``_encoding.py`` makes the
track.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wordframe.video._copying import MISSING_SECONDS, Stretch, open_for_export, sound_of
from wordframe.video._reader import Reader

_BACK_SECONDS, _AHEAD_SECONDS = 0.3, 1.0
"""Sound goes on without a break within these: less than the pictures' clock believes. A break too many does no harm."""
_WARM_UP_SECONDS = 1.0
"""Sound so long before the moment is decoded for what follows."""


class JoinedSound:
    """The sound of ``[start, end)`` seconds on the one clock, for encoding.

    Attributes:
        stream: of the sound, as ``sound_of`` chooses it; there must be one.
        zero: what the packets' times say, in seconds, where the file's clock is 0.
    """

    def __init__(self, source: Path, start_seconds: float, end_seconds: float) -> None:
        reader = open_for_export(source)
        try:
            self._stretches = _stretches(reader)
        finally:
            reader.container.close()
        self._start_seconds, self._end_seconds = start_seconds - _WARM_UP_SECONDS, end_seconds
        self._reader = open_for_export(source)
        self.stream: Any = sound_of(self._reader)
        self.zero = -self._reader.seconds(0)

    def in_stretches(self) -> Iterator[tuple[Stretch, Any]]:
        """Each packet with its stretch, put on the file's clock."""
        numbers = _Numbers(self.stream)
        for packet in self._reader.stored():
            stamp = packet.dts if packet.pts is None else packet.pts
            if stamp is None:
                continue
            if packet.stream_index == self._reader.stream.index:
                if self._reader.seconds(stamp) >= self._end_seconds + MISSING_SECONDS:
                    return
            elif packet.stream_index == self.stream.index:
                number = numbers.of(stamp, packet.duration)
                if number >= len(self._stretches):  # the file has grown meanwhile
                    return
                stretch = self._stretches[number]
                packet.pts = packet.dts = stamp + round(stretch.shift_seconds / self.stream.time_base)
                seconds = float(packet.pts * self.stream.time_base) - self.zero
                if self._start_seconds <= seconds < self._end_seconds:
                    yield stretch, packet

    def close(self) -> None:
        """Give the file back."""
        self._reader.container.close()


class _Numbers:
    """Which stretch each packet of a sound belongs to, told in the order of the file."""

    def __init__(self, stream: Any) -> None:
        self._tick = float(stream.time_base)
        self._number = 0
        self._due: int | None = None

    def of(self, stamp: int, duration: int | None) -> int:
        """The number of the packet's stretch, from 0 on."""
        if self._due is not None and not -_BACK_SECONDS <= (stamp - self._due) * self._tick <= _AHEAD_SECONDS:
            self._number += 1
        self._due = stamp + (duration or 0)
        return self._number


def _stretches(reader: Reader) -> list[Stretch]:
    """All of a file, which is read to its end."""
    sound, clock = sound_of(reader), reader.clock
    assert sound is not None
    assert clock is not None
    numbers = _Numbers(sound)
    shift_seconds: dict[int, float] = {0: 0.0}
    votes: dict[int, Counter[int]] = {}
    for packet in reader.stored():
        shift_seconds[clock.part] = reader.in_seconds(clock.shift)
        stamp = packet.dts if packet.pts is None else packet.pts
        if packet.stream_index == sound.index and stamp is not None:
            votes.setdefault(numbers.of(stamp, packet.duration), Counter())[clock.part] += 1
    parts = [max(vote, key=lambda part: vote[part]) for vote in votes.values()]
    starts, ends = [-math.inf], []
    for before, after in itertools.pairwise(parts):
        joined_at = reader.joins[after - 1].seconds if after > before else None
        ends.append(math.inf if joined_at is None else joined_at)
        starts.append(-math.inf if joined_at is None else joined_at)
    ends.append(math.inf)
    shifts = [shift_seconds[part] for part in parts]
    return [Stretch(*each) for each in zip(shifts, starts, ends, strict=False)]
