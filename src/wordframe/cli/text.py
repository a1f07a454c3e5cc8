"""Times, lengths and file names as people read them."""

from __future__ import annotations

from wordframe.errors import WordframeError


def timecode(seconds: float) -> str:
    """Minutes and seconds, hours when there are any, cut to tenths.

    >>> timecode(7.25), timecode(75), timecode(3725.04)
    ('0:07.2', '1:15.0', '1:02:05.0')
    """
    tenths = int(seconds * 10 + 1e-6)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    tail = f"{rest // 10:02d}.{rest % 10}"
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


def printable(path: str) -> str:
    """A file name that cannot disturb a terminal: control characters escaped, broken bytes replaced.

    >>> printable("two\\nlines.mp4")
    'two\\\\nlines.mp4'
    """
    text = path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def counted(number: int, noun: str) -> str:
    """
    >>> counted(1, "video"), counted(2, "video")
    ('1 video', '2 videos')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
