"""What a ranking reaches on held-out captions and on real clips, and what it gains over the untrained ones.

``average`` is that of benchmarks/offline_encoder.py: the mean of R@1, R@5, R@10 and 100 · mean reciprocal rank; here of
each direction, too. Gains are paired: the same videos, drawn anew with replacement 4,000 times, each with its captions.
Neighbours: ``heads.py`` gives the rankings, ``real.py`` the clips.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from offline_encoder import Clips, Variant, joined
from torch import Tensor

from text_trained.heads import Score
from text_trained.stand_ins import Pairs, StandIns
from wordframe.encoders import load_directions
from wordframe.evaluate import both_ranks, evaluate_logits

GALLERIES = {"msvd": (4, 100), "activitynet": (2, 400)}
"""Held-out stand-in galleries: how many of each source, and of how many videos."""
SAMPLES = 4000


def held_out(stand_ins: StandIns) -> dict[str, list[Pairs]]:
    """The same galleries for every ranking."""
    return {
        source: [stand_ins.draw(videos, source=source) for _ in range(number)]
        for source, (number, videos) in GALLERIES.items()
    }


def on_held_out(score: Score, galleries: dict[str, list[Pairs]]) -> dict[str, float]:
    """``average`` by source and over both."""
    found = {}
    for source, several in galleries.items():
        values = [directions(score(pairs.text, pairs.video), torch.arange(len(pairs.text))) for pairs in several]
        found[source] = float(np.mean(values))
    return {**found, "average": float(np.mean(list(found.values())))}


def directions(logits: Tensor, owners: Tensor) -> NDArray[np.float64]:
    """``(2, C)`` what each captioned video adds to text→video and to video→text, its captions' mean in the first."""

    def four(ranks: Tensor) -> Tensor:
        return 100 * torch.stack([(ranks <= k).double() for k in (1, 5, 10)] + [1 / ranks.double()]).mean(dim=0)

    text_ranks, video_ranks = both_ranks(logits, owners, num_videos=logits.shape[1])
    texts = four(text_ranks)
    return torch.stack(
        [torch.stack([texts[owners == video].mean() for video in owners.unique()]), four(video_ranks)]
    ).numpy()


def on_clips(name: str, score: Score, clips: Clips) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """Recalls with intervals, ``average`` both ways, mean reciprocal rank on joined clips; and the values behind."""
    variant = Variant(name=name, directions=load_directions(), score=score, read=False)
    logits = score(clips.texts, clips.features(variant))
    result = evaluate_logits(logits, clips.owners, logits.shape[1])
    values = directions(logits, clips.owners)
    t2v, v2t = values.mean(axis=1).tolist()
    figures = {
        "t2v": result.t2v.to_json(),
        "v2t": result.v2t.to_json(),
        "intervals": result.intervals,
        "average": {"t2v": t2v, "v2t": v2t, "both": (t2v + v2t) / 2},
        "joined": joined(variant, clips),
    }
    return figures, values


def gain(values: NDArray[np.float64], base: NDArray[np.float64]) -> dict[str, Any]:
    """``(2, C)`` against those of another ranking: the mean difference each way and over both, with 95 % intervals."""
    difference = values - base
    chosen = np.random.default_rng(0).integers(difference.shape[1], size=(SAMPLES, difference.shape[1]))
    found = {}
    for name, each in zip(("t2v", "v2t", "both"), (*difference, difference.mean(axis=0)), strict=True):
        drawn = each[chosen].mean(axis=1)
        found[name] = {"gain": float(each.mean()), "interval": np.percentile(drawn, [2.5, 97.5]).tolist()}
    return found
