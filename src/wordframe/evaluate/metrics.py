"""Ranks and recall: how high the right answer stands. Numbers in, numbers out; no model is known here.

Text→video ranks all videos for every caption. Video→text takes, for each video, the best of a candidate's captions
(METHODS section 8), so its candidates are videos seen through their captions. R@K is the share of queries whose rank
is at most K, MdR the median rank, MnR the mean rank. ``TIE_RULE`` is the one rule for equal scores.
Neighbours: ``ranker.py`` (the same ranks from tiles), ``intervals.py`` (how sure they are), ``report.py`` (what is
printed).
Axes: ``Q`` queries, ``G`` gallery, ``T`` texts, ``V`` videos, ``C`` videos that have captions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wordframe.evaluate.intervals import Intervals, rank_intervals

TIE_RULE = "pessimistic: a right answer ranks behind every wrong one of equal score"
"""Equal scores say nothing, so they earn nothing: a model that gives every pair one score comes last, not first."""


@dataclass(frozen=True)
class RetrievalMetrics:
    """One direction in numbers: recalls in percent, ranks from 1, sizes as counts."""

    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    median_rank: float
    mean_rank: float
    queries: int
    gallery: int

    @classmethod
    def from_ranks(cls, ranks: Tensor, *, gallery: int) -> RetrievalMetrics:
        """Sum up ranks ``(Q,)`` over ``gallery`` candidates; of two middle ranks the median is the mean.

        >>> RetrievalMetrics.from_ranks(torch.tensor([1, 3, 7, 12]), gallery=20)
        ... # doctest: +NORMALIZE_WHITESPACE
        RetrievalMetrics(recall_at_1=25.0, recall_at_5=50.0, recall_at_10=75.0, median_rank=5.0, mean_rank=5.75,
                         queries=4, gallery=20)
        """
        values = ranks.cpu().numpy()
        if values.ndim != 1 or not values.size:
            raise ValueError(f"ranks must be one number a query (Q,), Q at least 1; got shape {values.shape}")
        if values.min() < 1 or values.max() > gallery:
            raise ValueError(
                f"ranks must lie in 1 to gallery = {gallery}, got {values.min()} to {values.max()}; "
                "count the gallery as the ranks did"
            )
        # counted, then divided once: a recall of all is 100.0 exactly, and does not depend on the order of the queries
        recall = {f"recall_at_{k}": 100.0 * int((values <= k).sum()) / values.size for k in (1, 5, 10)}
        return cls(
            **recall,
            median_rank=float(np.median(values)),
            mean_rank=float(np.mean(values)),
            queries=int(values.size),
            gallery=gallery,
        )

    @property
    def recall_sum(self) -> float:
        """RSum of this direction: R@1 + R@5 + R@10."""
        return self.recall_at_1 + self.recall_at_5 + self.recall_at_10

    def to_json(self) -> dict[str, float | int]:
        """The fields by name, and the sum of the recalls."""
        return {**asdict(self), "recall_sum": self.recall_sum}


@dataclass(frozen=True)
class Ranks:
    """Where the right answers stand, from 1.

    t2v: ``(T,)`` among all ``num_videos``; v2t: ``(C,)`` among the videos that have captions, ascending;
    caption_video: ``(T,)``, the video each caption was written for.
    """

    t2v: Tensor
    v2t: Tensor
    caption_video: Tensor
    num_videos: int

    def __post_init__(self) -> None:
        check_owners(self.caption_video, num_texts=len(self.t2v), num_videos=self.num_videos)
        captioned = len(torch.unique(self.caption_video))
        if self.v2t.shape != (captioned,):
            raise ValueError(f"v2t must be one rank a captioned video, ({captioned},); got {tuple(self.v2t.shape)}")

    def metrics(self) -> tuple[RetrievalMetrics, RetrievalMetrics]:
        """Text→video and video→text in numbers, without intervals."""
        return (
            RetrievalMetrics.from_ranks(self.t2v, gallery=self.num_videos),
            RetrievalMetrics.from_ranks(self.v2t, gallery=len(self.v2t)),
        )

    def evaluation(self, *, samples: int = 2000, seed: int = 0) -> Evaluation:
        """Both directions with their 95 % intervals."""
        return evaluate_ranks(
            self.t2v, self.v2t, self.caption_video, num_videos=self.num_videos, samples=samples, seed=seed
        )


class Evaluation(NamedTuple):
    """Both directions, and ``intervals[direction][number] = (low, high)`` at 95 %."""

    t2v: RetrievalMetrics
    v2t: RetrievalMetrics
    intervals: dict[str, Intervals]


def refuse_nan(logits: Tensor, *, rows: Tensor | None = None, first_column: int = 0) -> None:
    """Raise ValueError naming the first NaN: it would compare as neither better nor worse and vanish from a rank.

    ``rows (B,)`` and ``first_column`` say where a tile lies in the whole matrix.
    """
    places = torch.isnan(logits).nonzero()  # (N, 2)
    if len(places):
        row, column = places[0].tolist()
        raise ValueError(
            f"logits hold {len(places)} NaN, the first at row {row if rows is None else int(rows[row])}, "
            f"column {first_column + column}; ranks of NaN mean nothing: find out which text or video gives it"
        )


def ranks(logits: Tensor, relevant: Tensor | Sequence[Sequence[int]]) -> Tensor:
    """Rank ``(Q,)`` of each query's best relevant candidate, from 1: one more than the wrong ones scored no lower.

    Args:
        logits: ``(Q, G)``, rows are queries.
        relevant: which candidates answer a query: ``(Q, G)`` bool, or a list of column indices for each row.

    >>> ranks(torch.tensor([[0.9, 0.1, 0.5], [0.2, 0.2, 0.2]]), [[2], [0, 1]])
    tensor([2, 2])
    """
    if logits.dim() != 2:
        raise ValueError(f"logits must have the axes (Q, G), got shape {tuple(logits.shape)}")
    refuse_nan(logits)
    right = _relevance(relevant, logits)  # (Q, G)
    # compared with the score itself, not sorted: a sort would order equal scores by chance of the algorithm
    best = logits.masked_fill(~right, float("-inf")).amax(dim=1, keepdim=True)  # (Q, 1)
    return 1 + ((logits >= best) & ~right).sum(dim=1)  # (Q,)


def _relevance(relevant: Tensor | Sequence[Sequence[int]], logits: Tensor) -> Tensor:
    """``(Q, G)`` bool from either form; every query must have an answer."""
    if isinstance(relevant, Tensor):
        if relevant.dtype != torch.bool or relevant.shape != logits.shape:
            raise ValueError(
                f"relevant must be bool of the shape {tuple(logits.shape)} of logits, "
                f"got {relevant.dtype} {tuple(relevant.shape)}"
            )
        right = relevant.to(logits.device)
    else:
        right = _from_lists(relevant, logits)
    unanswered = (~right.any(dim=1)).nonzero()
    if len(unanswered):
        raise ValueError(
            f"{len(unanswered)} queries have no relevant candidate, the first is row {int(unanswered[0])}; "
            "leave such queries out and count them"
        )
    return right


def _from_lists(relevant: Sequence[Sequence[int]], logits: Tensor) -> Tensor:
    num_queries, gallery = logits.shape
    if len(relevant) != num_queries:
        raise ValueError(f"relevant has {len(relevant)} lists for {num_queries} rows of logits; give one a row")
    right = torch.zeros_like(logits, dtype=torch.bool)
    for row, columns in enumerate(relevant):
        wrong = [column for column in columns if not 0 <= column < gallery]
        if wrong:
            raise ValueError(f"relevant[{row}] names column {wrong[0]}; allowed: 0 to {gallery - 1}")
        right[row, list(columns)] = True
    return right


def check_owners(caption_video: Tensor, *, num_texts: int, num_videos: int) -> None:
    """Raise ValueError unless ``caption_video`` names one video in ``[0, num_videos)`` for each of the texts."""
    if caption_video.dtype != torch.long or caption_video.shape != (num_texts,):
        raise ValueError(
            f"caption_video must be one int64 video index a text, shape ({num_texts},); "
            f"got {caption_video.dtype} {tuple(caption_video.shape)}"
        )
    outside = ((caption_video < 0) | (caption_video >= num_videos)).nonzero()
    if len(outside):
        text = int(outside[0])
        raise ValueError(
            f"caption_video[{text}] = {int(caption_video[text])}; allowed: 0 to {num_videos - 1}, the videos' rows"
        )


def best_captions(logits: Tensor, caption_video: Tensor, *, num_videos: int) -> tuple[Tensor, Tensor]:
    """Logits ``(T, V)`` into each candidate's best caption ``(C, V)``, and the videos ``(C,)`` that have captions.

    >>> best_captions(torch.tensor([[1.0, 0.0], [3.0, 2.0]]), torch.tensor([1, 1]), num_videos=2)
    (tensor([[3., 2.]]), tensor([1]))
    """
    captioned, group = torch.unique(caption_video, return_inverse=True)  # (C,), (T,)
    # videos without a caption get no row: at -inf they would be candidates that always lose, and the gallery larger
    best = logits.new_full((len(captioned), num_videos), float("-inf"))
    best.scatter_reduce_(0, group[:, None].expand(-1, num_videos), logits, "amax")  # (C, V)
    return best, captioned


def both_ranks(logits: Tensor, caption_video: Tensor, *, num_videos: int) -> tuple[Tensor, Tensor]:
    """Text→video ranks ``(T,)`` among all videos and video→text ranks ``(C,)`` among the videos that have captions.

    Args:
        logits: ``(T, V)``, rows are texts.
        caption_video: ``(T,)`` int64, the video each caption was written for.
        num_videos: ``V``; a video without captions is a candidate for texts and asks nothing itself.
    """
    if logits.dim() != 2 or logits.shape[1] != num_videos:
        raise ValueError(f"logits must be (T, V) with V = num_videos = {num_videos}, got shape {tuple(logits.shape)}")
    check_owners(caption_video, num_texts=len(logits), num_videos=num_videos)
    owners = caption_video.to(logits.device)
    columns = torch.arange(num_videos, device=logits.device)
    text_ranks = ranks(logits, owners[:, None] == columns)  # (T,)
    best, captioned = best_captions(logits, owners, num_videos=num_videos)  # (C, V), (C,)
    own = torch.eye(len(captioned), dtype=torch.bool, device=logits.device)
    return text_ranks, ranks(best[:, captioned].T, own)  # queries (C,) × candidates (C,)


def evaluate_ranks(
    text_ranks: Tensor,
    video_ranks: Tensor,
    caption_video: Tensor,
    *,
    num_videos: int,
    samples: int = 2000,
    seed: int = 0,
) -> Evaluation:
    """Ranks of both directions into numbers and their 95 % intervals; captions of one video count together."""
    check_owners(caption_video, num_texts=len(text_ranks), num_videos=num_videos)
    return Evaluation(
        t2v=RetrievalMetrics.from_ranks(text_ranks, gallery=num_videos),
        v2t=RetrievalMetrics.from_ranks(video_ranks, gallery=len(video_ranks)),
        intervals={
            "t2v": rank_intervals(
                text_ranks.cpu().numpy(),
                gallery=num_videos,
                clusters=caption_video.cpu().numpy(),
                samples=samples,
                seed=seed,
            ),
            "v2t": rank_intervals(video_ranks.cpu().numpy(), gallery=len(video_ranks), samples=samples, seed=seed),
        },
    )


def evaluate_logits(
    logits: Tensor, caption_video: Tensor, num_videos: int, *, samples: int = 2000, seed: int = 0
) -> Evaluation:
    """Logits ``(T, V)`` of captions whose videos are ``caption_video (T,)`` into both directions' numbers."""
    text_ranks, video_ranks = both_ranks(logits, caption_video, num_videos=num_videos)
    return evaluate_ranks(text_ranks, video_ranks, caption_video, num_videos=num_videos, samples=samples, seed=seed)
