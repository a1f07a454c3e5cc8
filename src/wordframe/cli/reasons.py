"""The reasons behind a hit as lines of text: parts and their weights, a heat strip over time, what each word sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from wordframe.cli.text import printable, timecode

if TYPE_CHECKING:
    from wordframe.search import Reasons

_LEVELS = "▁▂▃▄▅▆▇█"
_STRIP_WIDTH = 48


def reason_lines(reasons: Reasons) -> list[str]:
    """Lines for people; one that says so where the model has nothing to tell but its score."""
    lines = []
    if reasons.parts:
        weights = reasons.part_weights or {}
        told = [
            f"{name.replace('_', '-')} {value:.3f}" + (f" ({weights[name]:.0%})" if name in weights else "")
            for name, value in reasons.parts.items()
        ]
        lines.append(f"parts     {' · '.join(told)}")
    strips = [] if reasons.sentence_attention is None else [("sentence", reasons.sentence_attention)]
    strips += [(f"  {printable(word.word)}", word.attention) for word in reasons.words or ()]
    width = max((len(label) for label, _ in strips), default=0)
    lines += [f"{label:<{width}}  {_strip(reasons, attention)}" for label, attention in strips]
    return lines or ["this model gives its score alone: no parts, no attention"]


def _strip(reasons: Reasons, attention: Sequence[float]) -> str:
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
