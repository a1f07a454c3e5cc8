"""Which packets of a video must be decoded so that the frames at the wanted times come out exactly.

A frame is shown from its time to the time of the next frame. A packet is *wanted* when a wanted time lies in that
span. The others are decoded only as far as wanted ones need them:

- packets that no other packet refers to (most B-frames) are skipped by the decoder itself;
- everything up to the next keyframe is dropped when nothing wanted lies before it, nor among the pictures that follow
  the keyframe in the file but are shown before it (an open group of pictures leans on what came before);
- a reader that can seek does so when the next wanted time is far away.

The plan sees a window of packets ahead. Whatever the window does not show counts as wanted, so a short window costs
time, never a frame. Pure: it knows times and flags, nothing of the decoding library.
Neighbours: ``_reader.py`` gives the packets, ``decode.py`` takes the steps.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

_WINDOW_PACKETS = 64
"""Two seconds of most videos: longer than their runs of B-frames, so that the next picture on screen is in sight."""
_WINDOW_BYTES = 32 << 20
"""A packet of a 4K intra-only codec takes megabytes."""
_SEEK_SECONDS = 10.0
"""Reading on costs less than a seek for wanted times nearer than this."""
KEYFRAME_SECONDS = 0.9
"""About one a second: with 1.0, keyframes that stand 24 frames apart at 25 a second would be halved."""
_MAX_PENDING = 100_000
"""Wanted times looked up ahead of the decoder; beyond it the plan says "wanted" without looking."""


@dataclass(frozen=True, slots=True)
class PlannedPacket:
    """One packet as the plan sees it: when it is shown (None: the file does not say), what it is, and the packet."""

    seconds: float | None
    is_key: bool
    is_hidden: bool
    size: int
    packet: Any


@dataclass(frozen=True, slots=True)
class Step:
    """Decode ``planned``; ``restart``: the decoder must be emptied first; ``is_wanted`` False: may be skipped
    by the decoder if no other packet refers to it; ``alone``: the decoder is emptied behind it."""

    planned: PlannedPacket
    is_wanted: bool
    restart: bool
    alone: bool = False


class KeyframePlan:
    """Iterates over the steps that decode keyframes alone, ``KEYFRAME_SECONDS`` apart at least; the first always."""

    def __init__(self, source: Iterator[PlannedPacket]) -> None:
        self._source = source

    def __iter__(self) -> Iterator[Step]:
        last = -math.inf
        for planned in self._source:
            if not planned.is_key or planned.is_hidden:
                continue
            if planned.seconds is None or planned.seconds - last >= KEYFRAME_SECONDS:
                last = last if planned.seconds is None else planned.seconds
                # without a display time a frame has that of the packet that pushes it out: its own, when alone
                yield Step(planned, is_wanted=True, restart=False, alone=planned.seconds is None)


class PacketSource(Iterator[PlannedPacket], Protocol):
    """Packets in file order."""

    def seek_towards(self, seconds: float, *, position: float) -> bool:
        """Move to a keyframe after ``position`` and not after ``seconds``; False, and no move, if there is none."""


class WantedTimes:
    """The wanted times that are still to come, in seconds, ascending; possibly without end.

    >>> times = WantedTimes([0.0, 1.0, 2.0])
    >>> times.pop(), times.peek(), times.any_within(1.5, 1.9), times.any_within(1.5, 2.1)
    (0.0, 1.0, False, True)
    """

    def __init__(self, times: Iterable[float]) -> None:
        self._source = iter(times)
        self._pending: deque[float] = deque()
        self._last = -math.inf

    def _pull(self) -> bool:
        for value in self._source:
            if not (math.isfinite(value) and value >= max(0.0, self._last)):
                raise ValueError(f"times must be ascending seconds from 0 on, got {value} after {self._last}")
            self._last = float(value)
            self._pending.append(self._last)
            return True
        return False

    def peek(self) -> float | None:
        """The next wanted time, None when there is none."""
        return self._pending[0] if self._pending or self._pull() else None

    def pop(self) -> float:
        """The next wanted time, taken off."""
        self.peek()
        return self._pending.popleft()

    def taken_before(self, stop: float) -> Iterator[float]:
        """The next wanted times before ``stop``, each taken off when it is given."""
        while (time := self.peek()) is not None and time < stop:
            yield self.pop()

    def first_from(self, start: float) -> float:
        """The first wanted time not before ``start``; infinity when there is none."""
        # from the front: times before the packet in hand are popped soon, so the answer is among the first few
        for time in self._pending:
            if time >= start:
                return time
        while len(self._pending) < _MAX_PENDING:
            if not self._pull():
                return math.inf
            if self._last >= start:
                return self._last
        return start  # not looked further: "wanted" at once, which costs a decoded packet and loses nothing

    def any_within(self, start: float, stop: float) -> bool:
        """Whether a wanted time lies in ``[start, stop)``."""
        return self.first_from(start) < stop


class DecodePlan:
    """Iterates over the steps that show the ``wanted`` times exactly.

    Until ``wanted`` is set, every packet is decoded; so it is after a packet whose time is unknown.
    """

    def __init__(self, source: PacketSource, wanted: WantedTimes | None = None) -> None:
        self.wanted = wanted
        self._source = source
        self._window: deque[PlannedPacket] = deque()
        self._window_bytes = 0
        self._window_keys = 0
        self._known: list[float] = []  # times of the packets in the window and of those just before it, sorted
        self._is_blind = False  # a packet without a time was seen
        self._at_end = False
        self._drop_left = 0  # packets still to be dropped up to the next keyframe
        self._restart = False  # the step to come is that keyframe
        self._no_drop_for = 0  # packets for which the answer is known: the same wanted one lies ahead

    def __iter__(self) -> Iterator[Step]:
        while True:
            if self.wanted is not None and not self._is_blind:
                self._fill()
            planned = self._take()
            if planned is None:
                return
            step = self._decide(planned)
            if step is not None:
                yield step

    def _read(self) -> PlannedPacket | None:
        if self._at_end:
            return None
        planned = next(self._source, None)
        self._at_end = planned is None
        return planned

    def _fill(self) -> None:
        while len(self._window) < _WINDOW_PACKETS and self._window_bytes < _WINDOW_BYTES and not self._is_blind:
            planned = self._read()
            if planned is None:
                return
            self._window.append(planned)
            self._window_bytes += planned.size
            self._window_keys += planned.is_key
            if planned.seconds is None:
                self._is_blind = True  # its place on the screen is anywhere, so no span is certain any more
            elif not planned.is_hidden:  # a hidden picture ends no other's span
                insort(self._known, planned.seconds)

    def _take(self) -> PlannedPacket | None:
        if not self._window:
            return self._read()
        planned = self._window.popleft()
        self._window_bytes -= planned.size
        self._window_keys -= planned.is_key
        return planned

    def _decide(self, planned: PlannedPacket) -> Step | None:
        if self._drop_left:
            self._drop_left -= 1
            return None
        # The order matters: a jump in the file leaves out more than a drop, and both more than what the decoder skips.
        self._forget_the_past()
        if self.wanted is None or self._is_blind or self._is_wanted(planned):
            return self._decode(planned, is_wanted=True)
        if self._seek(planned):
            return None
        distance = self._droppable()
        if distance is not None and not self._is_last_picture(planned):
            self._drop_left = distance
            self._restart = True
            return None
        return self._decode(planned, is_wanted=False)

    def _decode(self, planned: PlannedPacket, *, is_wanted: bool) -> Step:
        restart, self._restart = self._restart, False
        return Step(planned, is_wanted, restart)

    def _is_wanted(self, planned: PlannedPacket) -> bool:
        assert self.wanted is not None
        if planned.is_hidden:
            return False
        if planned.seconds is None:
            return True
        # The next packet in the file is often not the next on screen, hence the sorted times. One beyond the window may
        # still be shown in between: the span then seems too long, and the packet is decoded for nothing.
        after = bisect_right(self._known, planned.seconds)
        stop = self._known[after] if after < len(self._known) else math.inf
        return self.wanted.any_within(planned.seconds, stop)

    def _forget_the_past(self) -> None:
        """Keep the list of known times as short as the window; a time missing from it only widens a span."""
        if len(self._known) > 4 * _WINDOW_PACKETS:
            first = min((planned.seconds for planned in self._window if planned.seconds is not None), default=math.inf)
            del self._known[: max(0, bisect_right(self._known, first) - 1)]

    def _droppable(self) -> int | None:
        """How many packets lie between the unwanted one just taken and the next keyframe, if none of them is needed."""
        if self._no_drop_for > 0:
            self._no_drop_for -= 1
            return None
        if not self._window_keys:
            return None
        key_place: int | None = None
        for place, planned in enumerate(self._window):
            if key_place is None:
                if planned.is_key:
                    key_place, key_seconds = place, planned.seconds
                    continue
            # the first packet shown after the keyframe ends the pictures that are stored behind it and shown before it
            elif planned.is_key or planned.seconds is None or key_seconds is None or planned.seconds > key_seconds:
                return key_place
            if self._is_wanted(planned):
                self._no_drop_for = place if key_place is None else key_place
                return None
        if key_place is not None and self._at_end:
            return key_place
        return None  # the window ends among those pictures; asked again with the next packet

    def _is_last_picture(self, planned: PlannedPacket) -> bool:
        """Whether all wanted times lie before: the next decoded picture then ends the stream, so none is dropped."""
        assert self.wanted is not None
        return planned.seconds is not None and self.wanted.first_from(planned.seconds) == math.inf

    def _seek(self, planned: PlannedPacket) -> bool:
        """Jump ahead of the window, to a keyframe that is shown no later than the next wanted time."""
        assert self.wanted is not None
        if planned.seconds is None or not self._known:
            return False
        position = self._known[-1]  # the furthest that was read: a seek to before it would go back
        if not max(position, planned.seconds + _SEEK_SECONDS) < self.wanted.first_from(planned.seconds) < math.inf:
            return False
        # pictures ahead in the file may be shown before this one: a time wanted among them must not be passed over
        earliest = min((later.seconds for later in self._window if later.seconds is not None), default=planned.seconds)
        time = self.wanted.first_from(min(earliest, planned.seconds))
        if time <= position:
            return False
        if not self._source.seek_towards(time, position=position):
            return False
        self._window.clear()
        self._window_bytes = self._window_keys = 0
        self._known.clear()
        self._restart, self._at_end, self._no_drop_for = True, False, 0
        return True
