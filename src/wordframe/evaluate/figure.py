"""A picture of an evaluation: recall at every K, with its 95 % interval, both ways.

Neighbours: ``bootstrap.recall_curve`` makes the numbers, ``run_folder.py`` keeps the picture.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wordframe.evaluate.bootstrap import recall_curve
from wordframe.evaluate.metrics import Ranks
from wordframe.evaluate.report import DIRECTIONS

_MAX_PLACE = 100
_MARKED = (1, 5, 10)


def draw_recall(path: Path, ranks: Ranks, *, title: str, seed: int = 0) -> None:
    """Write a PNG with both directions' recall at K against K."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    owners = ranks.caption_video.numpy()
    sides = (("t2v", ranks.t2v.numpy(), owners), ("v2t", ranks.v2t.numpy(), None))
    last = min(_MAX_PLACE, ranks.num_videos)
    for direction, found, clusters in sides:
        places = np.unique(np.geomspace(1, last, 40).round().astype(int)).tolist()
        places = sorted({*places, *(place for place in _MARKED if place <= last)})
        middle, low, high = recall_curve(found, places, clusters=clusters, seed=seed)
        (line,) = axes.plot(places, middle, label=f"{DIRECTIONS[direction]}, R@1 {middle[0]:.1f} %")
        axes.fill_between(places, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    axes.set(xscale="log", xlim=(1, max(last, 2)), ylim=(0, 100), xlabel="K", ylabel="R@K, % of queries", title=title)
    ticks = [place for place in (1, 2, 5, 10, 20, 50, 100) if place <= last]
    axes.set_xticks(ticks, labels=[str(place) for place in ticks])
    axes.set_xticks([], minor=True)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=150)
