"""What ``int(fps)`` of the released frame extraction changes: the table of docs/benchmarks.md.

CLIP4Clip's extraction and all that came of it read a video's rate of frames as a whole number (29.97 as 29) and take
frame ``s · int(fps)`` for second ``s``. The frames are then less than a second apart, there are more of them, and of a
file with a slower rate than one frame a second the code divides by zero. Nothing is decoded here: it is arithmetic.

    python benchmarks/truncated_rate.py
"""

from __future__ import annotations

import math

from wordframe.video import FrameRule

RATES = (25.0, 30_000 / 1001, 24_000 / 1001, 60_000 / 1001, 14.985)
VIDEOS = (
    ("MSR-VTT", 15, 12, FrameRule()),
    ("DiDeMo", 40, 64, FrameRule(last_second=31)),
    ("ActivityNet", 120, 64, FrameRule()),
)


def released(rate: float, seconds: float, num_frames: int, rule: FrameRule) -> list[float]:
    """The seconds of the frames that the released extraction takes of a video.

    >>> released(25.0, 5, 12, FrameRule())
    [0.0, 1.0, 2.0, 3.0, 4.0]
    """
    step = int(rate)
    count = math.ceil(round(seconds * rate) / step)  # seconds of whole numbers of frames that begin in the file
    return [place * step / rate for place in rule.indices(count, num_frames)]


def exact(seconds: float, num_frames: int, rule: FrameRule) -> list[float]:
    """The seconds of ours."""
    return [float(place) for place in rule.indices(math.ceil(seconds), num_frames)]


def table() -> str:
    head = ["frames a second", "read as"]
    for name, seconds, num_frames, _ in VIDEOS:
        head.append(f"{name} ({seconds} s, {num_frames} frames)")
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for rate in RATES:
        cells = [f"{rate:.3f}".rstrip("0").rstrip("."), str(int(rate))]
        for _, seconds, num_frames, rule in VIDEOS:
            theirs, ours = released(rate, seconds, num_frames, rule), exact(seconds, num_frames, rule)
            shift = max(abs(one - other) for one, other in zip(theirs, ours, strict=False))
            assert len(theirs) == len(ours)
            cells.append(f"last at {theirs[-1]:.2f} s ({ours[-1]:.0f}), shifted by up to {shift:.2f} s")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
