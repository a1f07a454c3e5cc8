"""The figures of results/text_trained.json as the table of docs/text-trained.md; a test holds the two together."""

from __future__ import annotations

from typing import Any

_HEAD = (
    "ranking",
    "held out",
    "fit",
    "t2v R@1 / 5 / 10",
    "v2t R@1 / 5 / 10",
    "average",
    "gain t2v",
    "gain v2t",
    "gain, 95 %",
    "over mean pooling, 95 %",
    "joined",
)


def table(rows: dict[str, dict[str, Any]]) -> str:
    """One line a ranking."""
    lines = [_HEAD, ("---", *["---:"] * (len(_HEAD) - 1)), *(_cells(name, row) for name, row in rows.items())]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cells(name: str, row: dict[str, Any]) -> tuple[str, ...]:
    judge = row["judge"]
    gain = judge["over_attention"]
    return (
        name,
        f"{row['held_out']['average']:.1f}",
        f"{row['fit']['average']['both']:.1f}" if "fit" in row else "",
        _recalls(judge["t2v"]),
        _recalls(judge["v2t"]),
        f"{judge['average']['both']:.1f}",
        f"{gain['t2v']['gain']:+.1f}",
        f"{gain['v2t']['gain']:+.1f}",
        _with_interval(gain["both"]),
        _with_interval(judge["over_mean"]["both"]),
        f"{judge['joined']:.1f}",
    )


def _recalls(direction: dict[str, float]) -> str:
    return " / ".join(f"{direction[f'recall_at_{k}']:.1f}" for k in (1, 5, 10))


def _with_interval(gain: dict[str, Any]) -> str:
    low, high = gain["interval"]
    return f"{gain['gain']:+.1f} [{low:+.1f}, {high:+.1f}]"
