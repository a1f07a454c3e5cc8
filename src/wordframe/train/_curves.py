"""The curves of a run as one picture: loss, R@1 with its interval, rates, gradient norm, pairs a second.

``wordframe train`` writes it when it ends, also where it was interrupted, from what ``run_folder.py`` logs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wordframe.disk import replacing
from wordframe.errors import needs_extra
from wordframe.evaluate import share_interval
from wordframe.train.run_folder import read_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SMOOTHED_OVER = 50
"""The line through a noisy curve is its running mean over so much of the run: a fiftieth of its steps."""
_DIRECTIONS = {"t2v": "text → video", "v2t": "video → text"}


CURVES = "curves.png"


def draw_curves(folder: Path) -> None:
    """Write ``curves.png`` into a run's folder; nothing where no step is logged.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    log = read_log(folder / "metrics.jsonl")
    steps = [line for line in log if "loss" in line]
    if not steps:
        return
    with needs_extra("report", "a picture of the curves"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    # not pyplot: that keeps every figure, and picks a window system where there is none
    figure = Figure(figsize=(11, 6.4), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(folder.resolve().name)
    axes = figure.subplots(2, 3).flat
    _noisy(axes[0], steps, lambda line: line["loss"], "loss")
    _recall(axes[1], [{"step": line["step"], **line["validation"]} for line in log if "validation" in line])
    _rates(axes[2], steps)
    _noisy(axes[3], steps, lambda line: line["gradient_norm"], "gradient norm, before clipping")
    _noisy(axes[4], steps, lambda line: line["pairs_per_second"], "pairs a second")
    _noisy(axes[5], steps, lambda line: line["scale"], "scale of the logits")
    for one in axes:
        one.grid(alpha=0.3)
        one.set_xlabel("step")
    with replacing(folder / CURVES) as part:
        figure.savefig(part, dpi=110, format="png")


def _noisy(
    axes: Axes, steps: Sequence[Mapping[str, Any]], value: Callable[[Mapping[str, Any]], float], title: str
) -> None:
    places, values = np.array([line["step"] for line in steps]), np.array([value(line) for line in steps], float)
    axes.set_title(title)
    axes.plot(places, values, linewidth=0.6, alpha=0.4)
    width = max(1, len(values) // _SMOOTHED_OVER)
    if width > 1:
        # 'valid': at the ends a mean over fewer steps would bend the curve
        mean = np.convolve(values, np.ones(width) / width, "valid")
        axes.plot(places[width - 1 :], mean, color="C0")


def _recall(axes: Axes, validations: Sequence[Mapping[str, Any]]) -> None:
    axes.set_title("R@1 on the held-out part, %")
    for direction, label in _DIRECTIONS.items():
        found = [line[direction] for line in validations]
        if not found:
            continue
        places = [line["step"] for line in validations]
        middle = [numbers["recall_at_1"] for numbers in found]
        ends = [_interval(numbers["recall_at_1"], numbers["queries"]) for numbers in found]
        (line,) = axes.plot(places, middle, marker=".", label=label)
        axes.fill_between(
            places, [low for low, _ in ends], [high for _, high in ends], color=line.get_color(), alpha=0.2
        )
    if validations:
        axes.legend()
    else:
        axes.text(0.5, 0.5, "no validation", ha="center", va="center", transform=axes.transAxes)


def _interval(percent: float, queries: int) -> tuple[float, float]:
    """Of a share known as a percentage of so many queries."""
    return share_interval(np.arange(queries) < round(percent / 100 * queries))


def _rates(axes: Axes, steps: Sequence[Mapping[str, Any]]) -> None:
    axes.set_title("learning rate")
    axes.set_yscale("log")
    places = [line["step"] for line in steps]
    for name in steps[0]["lr"]:
        rates = [line["lr"][name] or np.nan for line in steps]  # the first step of a warm-up from 0 has no logarithm
        if not np.isnan(rates).all():
            axes.plot(places, rates, label=name)
    if axes.lines:
        axes.legend()
