"""The first ``top`` candidates of every query, both ways, from the tiles that ranks are counted from.

Lists hold wrong candidates only, as whole numbers that sort by score, then by place: so they do not depend on how the
tiles were cut. The right one is put in at its rank, which the counter knows exactly; so lists and ranks follow one tie
rule. Scores are kept in float32.
Neighbours: ``streaming.py`` shows the tiles, ``trec.py`` writes the lists.
Axes: ``Q`` queries, ``K`` places of a list, ``T`` texts, ``V`` videos, ``C`` videos that have captions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wordframe.evaluate.checkpoint import Arrays
from wordframe.evaluate.metrics import best_captions

_NONE = torch.iinfo(torch.int64).min
_STATE = ("text_keys", "video_keys", "text_right", "video_right")


def sort_keys(scores: Tensor, places: Tensor) -> Tensor:
    """int64 numbers that are larger for a higher float32 score and, where scores are equal, for an earlier place.

    >>> sort_keys(torch.tensor([0.5, -1.0, 0.5]), torch.tensor([2, 0, 1])).argsort(descending=True)
    tensor([2, 0, 1])
    """
    bits = (scores.float() + 0.0).view(torch.int32)  # + 0.0 makes -0.0 equal to 0.0
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()
    return (ordered << 32) + (2**32 - 1 - places)


def from_keys(keys: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse of ``sort_keys``: scores and places."""
    ordered = (keys >> 32).int()
    scores = torch.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered).view(torch.float32)
    return scores, 2**32 - 1 - (keys & 0xFFFFFFFF)


class TopLists:
    """Reads tiles; afterwards ``text_lists`` and ``video_lists`` give the lists. A ``streaming.TileReader``.

    Args:
        caption_video: ``(T,)`` int64, the video each caption was written for.
        top: ``K``, the length of a list; shorter where there are fewer candidates.
    """

    def __init__(self, *, caption_video: Tensor, num_videos: int, top: int) -> None:
        if top < 1:
            raise ValueError(f"top = {top}; a list has at least 1 place")
        self.caption_video, self.top = caption_video, top
        self.captioned = torch.unique(caption_video)  # (C,)
        self.text_keys = torch.full((len(caption_video), min(top, num_videos - 1)), _NONE)
        self.video_keys = torch.full((num_videos, min(top, len(self.captioned) - 1)), _NONE)
        self.text_right = torch.zeros(len(caption_video))
        self.video_right = torch.full((num_videos,), float("-inf"))

    def add(self, tile: Tensor, *, rows: Tensor, first_column: int) -> None:
        """Take the best of ``tile (B, N)``: texts ``rows (B,)``, videos from ``first_column`` on."""
        num_columns = tile.shape[1]
        columns = torch.arange(first_column, first_column + num_columns)  # (N,)
        owners = self.caption_video[rows]  # (B,)
        right = owners[:, None] == columns  # (B, N)
        keys = sort_keys(tile, columns).masked_fill(right, _NONE)
        self.text_keys[rows] = _merged(self.text_keys[rows], keys)
        at, column = right.nonzero(as_tuple=True)
        self.text_right[rows[at]] = tile[at, column].float()

        best, candidates = best_captions(tile, owners, num_videos=num_columns)  # (C', N), (C',)
        right = candidates[:, None] == columns  # (C', N)
        keys = sort_keys(best, candidates[:, None]).masked_fill(right, _NONE)
        self.video_keys[columns] = _merged(self.video_keys[columns], keys.T)
        at, column = right.nonzero(as_tuple=True)
        self.video_right[columns[column]] = best[at, column].float()

    def state(self) -> Arrays:
        return {name: getattr(self, name).numpy() for name in _STATE}

    def restore(self, state: Arrays) -> None:
        for name in _STATE:
            setattr(self, name, torch.from_numpy(state[name]))

    def text_lists(self, ranks: Tensor) -> tuple[Tensor, Tensor]:
        """Text→video: videos and scores, ``(T, K)`` each, best first, by the ranks ``(T,)`` of the right ones."""
        return _with_right(self.text_keys, self.caption_video, self.text_right, ranks, self.top)

    def video_lists(self, ranks: Tensor) -> tuple[Tensor, Tensor]:
        """Video→text: videos, each seen through its captions, and scores, ``(C, K)`` each, by ``ranks (C,)``."""
        own = self.captioned
        return _with_right(self.video_keys[own], own, self.video_right[own], ranks, self.top)


def _merged(kept: Tensor, new: Tensor) -> Tensor:
    """The largest of both, descending, as many as ``kept`` holds."""
    return torch.cat([kept, new], dim=1).topk(kept.shape[1], dim=1).values


def _with_right(keys: Tensor, right: Tensor, scores: Tensor, ranks: Tensor, top: int) -> tuple[Tensor, Tensor]:
    """Wrong candidates ``(Q, K)`` with the right one ``(Q,)`` at its rank, if that is within ``top``."""
    length = min(top, keys.shape[1] + 1)
    wrong_scores, wrong = from_keys(keys)
    place = torch.arange(length).expand(len(keys), length)  # (Q, K)
    own = ranks[:, None] - 1
    source = (place - (place > own).long()).clamp(max=max(keys.shape[1] - 1, 0))
    if not keys.shape[1]:
        return right[:, None].clone(), scores[:, None].clone()
    videos = torch.where(place == own, right[:, None], wrong.gather(1, source))
    return videos, torch.where(place == own, scores[:, None], wrong_scores.gather(1, source))
