"""One clock for a file whose times start anew on the way: parts that were joined byte for byte, recorders that restart.

Each part of such a file brings times of its own. A packet whose time cannot follow the one before it begins a part, and
that part is moved to where the last one ended. Only formats without an index do this: a stream of MPEG packets may be
cut and joined anywhere and says nothing of it. Where an index states each packet's time (mp4, Matroska, AVI, ASF), a
picture that stays for five minutes is meant to, and is believed up to ``_limits.MAX_GAP_SECONDS``.

Pure: numbers in, numbers out. Neighbours: ``_reader.py`` asks it of each packet, ``_joined_sound.py`` moves the sound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from wordframe.video._limits import MAX_GAP_SECONDS

MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
"""FFmpeg's name of QuickTime and all that came of it."""
LONGEST_GAP_SECONDS = {"mpegts": 10.0, "mpeg": 10.0, "flv": MAX_GAP_SECONDS}
"""Formats whose times may restart, and the longest believable time between two of their packets. MPEG streams are made
at a steady rate, and 10 s is what FFmpeg's own programs believe; FLV holds recordings of screens, where nothing moves
for minutes. Within a gap that is not believed nothing was stored, so nothing is lost by leaving it out."""
_BACK_SECONDS = 1.0
"""Decoding times ascend. Muxers that count them out from display times are wrong by some frames, not by this."""
_USUAL_GAPS = 4
"""A gap is believed, too, that is not so many times as long as the longest before it: slides of a minute each."""
_TOLD = 3


@dataclass(frozen=True)
class Join:
    """Where times start anew: ``seconds`` on the one clock; the file's own jump there by ``jump_seconds``."""

    seconds: float
    jump_seconds: float


class Clock:
    """By how much each packet of a stream must be moved, told in the order of the file. In ticks of the stream.

    Args:
        longest_gap: the longest believable time between two packets; infinite if only jumps back are not believed.
        back: how far a time may lie before the last one.
    """

    def __init__(self, longest_gap: float, back: float) -> None:
        self._longest_gap, self._back = longest_gap, back
        self.shift = 0
        """What was added to the times of the last packet."""
        self.part = 0
        """How many joins lie before it."""
        self._last: int | None = None  # the furthest time of the part so far, in the file's own numbers
        self._step = 0  # how long a picture stays there
        self._longest_step = 0
        self._delay = 0  # of a part's first picture: from its decoding to its display
        self.end = 0
        """Where the picture that is shown last, of those so far, ends on the one clock."""

    def shift_of(self, dts: int | None, pts: int | None, duration: int = 0) -> tuple[int, int]:
        """What to add to both times of a packet; and how far the file's times jump before it, 0 where they go on.

        Args:
            dts: where the file stores none, None: what is counted out for it is wrong behind a join.
            duration: how long its picture stays, if the file states that; 0 if it can only be guessed.

        >>> clock = Clock(longest_gap=100, back=1)
        >>> [clock.shift_of(dts, dts + 2) for dts in (7, 8, 9, 7, 8, 500, 501)]
        [(0, 0), (0, 0), (0, 0), (3, -3), (3, 0), (-488, 491), (-488, 0)]
        """
        stamp = pts if dts is None else dts
        if stamp is None:
            return self.shift, 0
        last, jump = self._last, 0
        if last is None:
            self._delay = 0 if pts is None else pts - stamp
        elif self._cannot_follow(stamp - last):
            # The first picture of a part is shown when the last one of the part before it ends. Their decoding times
            # say when that is, as long as both wait equally long for their display.
            delay = self._delay if pts is None else pts - stamp
            jump = stamp - last - self._step
            self.shift += self._delay - delay - jump
            self._delay, last = delay, None
            self.part += 1
        elif stamp > last:
            self._step = duration or stamp - last
            self._longest_step = max(self._longest_step, self._step, stamp - last)
        self._last = stamp if last is None else max(last, stamp)
        # by decoding times, too: MPEG program streams name the display of some pictures only
        self.end = max(self.end, self.shift + self._step + max(stamp + self._delay, pts or 0))
        return self.shift, jump

    def _cannot_follow(self, gap: int) -> bool:
        is_steady = 0 < self._longest_step * _USUAL_GAPS < gap  # the first gap of all says what is usual
        return gap < -self._back or (gap > self._longest_gap and is_steady)


def clock_of(container: str, ticks_a_second: float, *, has_index: bool) -> Clock | None:
    """The clock for a file of this format; None where times are believed as they are.

    A Matroska file without an index was recorded live, and browsers' recorders start such files anew, too. An mp4
    without one consists of fragments, as downloads of streams do, and each may be of another recording.
    """
    back = _BACK_SECONDS * ticks_a_second
    if container in LONGEST_GAP_SECONDS:
        return Clock(LONGEST_GAP_SECONDS[container] * ticks_a_second, back)
    if container in (MP4, "matroska,webm") and not has_index:
        return Clock(math.inf, back)
    return None


def told(joins: list[Join]) -> str | None:
    """One line of where a file's times jump; None if they do not.

    >>> told([Join(6.0, -6.0), Join(12.0, -6.0), Join(14.5, 500.0)])
    'its times jump back at 6.0 s and 12.0 s and ahead at 14.5 s; what follows is joined on'
    """
    parts = []
    for word, group in (
        ("back", [join for join in joins if join.jump_seconds < 0]),
        ("ahead", [join for join in joins if join.jump_seconds >= 0]),
    ):
        if group:
            places = [f"{join.seconds:.1f} s" for join in group[:_TOLD]]
            more = [f"{len(group) - _TOLD} more places"] if len(group) > _TOLD else []
            parts.append(f"{word} at {' and '.join(places + more)}")
    return f"its times jump {' and '.join(parts)}; what follows is joined on" if parts else None
