"""Ranks as counts: how many wrong answers are scored no lower than the right one.

Counts add up over tiles, so the matrix ``(T, V)`` need not exist. A tile holds all captions of each of its videos,
since video→text needs the best of them at once; ``whole_video_blocks`` cuts the texts that way.
Neighbours: ``streaming.py`` brings the tiles, ``metrics.py`` has the same ranks from a whole matrix.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wordframe.evaluate.checkpoint import Arrays
from wordframe.evaluate.metrics import best_captions, check_owners, refuse_nan


def whole_video_blocks(caption_video: Tensor, *, max_rows: int) -> list[Tensor]:
    """Text indices in blocks of at most ``max_rows``, ordered by video, no video's captions in two blocks.

    A video with more captions than ``max_rows`` gets a block of its own, larger than asked.

    >>> whole_video_blocks(torch.tensor([2, 0, 2, 1]), max_rows=2)
    [tensor([1, 3]), tensor([0, 2])]
    """
    if max_rows < 1:
        raise ValueError(f"max_rows = {max_rows}; at least 1")
    order = caption_video.argsort(stable=True)  # (T,)
    sizes = torch.unique_consecutive(caption_video[order], return_counts=True)[1].tolist()
    blocks: list[int] = []
    for size in sizes:
        if blocks and blocks[-1] + size <= max_rows:
            blocks[-1] += size
        else:
            blocks.append(size)
    return list(torch.split(order, blocks))


_COUNTS = ("text_ahead", "video_ahead", "text_seen", "video_seen")


class RankCounter:
    """Adds up both directions' ranks tile by tile.

    Args:
        matching: ``(T,)`` the score of each caption with its own video, by the same computation as the tiles.
        caption_video: ``(T,)`` int64, the video each caption was written for.
        num_videos: ``V``.
    """

    def __init__(self, *, matching: Tensor, caption_video: Tensor, num_videos: int) -> None:
        check_owners(caption_video, num_texts=len(matching), num_videos=num_videos)
        lost = torch.isnan(matching).nonzero()
        if len(lost):
            raise ValueError(
                f"matching holds {len(lost)} NaN, the first for text {int(lost[0])}; find out why its score is NaN"
            )
        self.matching = matching
        self.caption_video = caption_video
        self.captions = caption_video.bincount(minlength=num_videos)  # (V,) how many captions a video has
        # (V,) each video's best own caption
        self.best = matching.new_full((num_videos,), float("-inf")).scatter_reduce(0, caption_video, matching, "amax")
        self.text_ahead = torch.zeros(len(matching), dtype=torch.long)
        self.video_ahead = torch.zeros(num_videos, dtype=torch.long)
        self.text_seen = torch.zeros(len(matching), dtype=torch.long)
        self.video_seen = torch.zeros(num_videos, dtype=torch.long)

    def add(self, tile: Tensor, *, rows: Tensor, first_column: int) -> None:
        """Count ``tile (B, N)``: texts ``rows (B,)`` against the videos from ``first_column`` on."""
        if tile.dim() != 2 or len(tile) != len(rows):
            raise ValueError(f"tile must be (B, N) with B = {len(rows)} rows, got shape {tuple(tile.shape)}")
        tile = tile.to(self.matching)
        refuse_nan(tile, rows=rows, first_column=first_column)
        if not 0 <= first_column <= first_column + tile.shape[1] <= len(self.best):
            raise ValueError(
                f"the tile holds the videos [{first_column}, {first_column + tile.shape[1]}); "
                f"allowed: within [0, {len(self.best)})"
            )
        columns = torch.arange(first_column, first_column + tile.shape[1])  # (N,)
        owners = self.caption_video[rows]  # (B,)
        self._check_whole(owners)
        ahead = (tile >= self.matching[rows, None]) & (owners[:, None] != columns)  # (B, N)
        self.text_ahead[rows] += ahead.sum(dim=1)
        best, captioned = best_captions(tile, owners, num_videos=tile.shape[1])  # (C, N), (C,)
        ahead = (best >= self.best[columns]) & (captioned[:, None] != columns)  # (C, N)
        self.video_ahead[columns] += ahead.sum(dim=0)
        self.text_seen[rows] += tile.shape[1]
        self.video_seen[columns] += len(rows)

    def _check_whole(self, owners: Tensor) -> None:
        """A candidate split over tiles would be counted twice."""
        videos, counts = torch.unique(owners, return_counts=True)
        split = (counts != self.captions[videos]).nonzero()
        if len(split):
            place = int(split[0])
            raise ValueError(
                f"the tile has {int(counts[place])} of the {int(self.captions[videos[place]])} captions of video "
                f"{int(videos[place])}; cut the texts with whole_video_blocks"
            )

    def state(self) -> Arrays:
        """Everything counted so far."""
        return {name: getattr(self, name).numpy() for name in ("matching", *_COUNTS)}

    def restore(self, state: Arrays) -> None:
        """Go on from ``state``, of a counter with the same ``matching``."""
        for name in _COUNTS:
            setattr(self, name, torch.from_numpy(state[name]))

    def ranks(self) -> tuple[Tensor, Tensor]:
        """Text→video ``(T,)`` and video→text ``(C,)`` ranks, once every pair was counted exactly once."""
        num_texts, num_videos = len(self.matching), len(self.best)
        if not (self.text_seen == num_videos).all() or not (self.video_seen == num_texts).all():
            raise ValueError(
                f"the tiles must cover {num_texts} texts × {num_videos} videos once each; "
                f"they held {int(self.text_seen.sum())} of {num_texts * num_videos} pairs"
            )
        return 1 + self.text_ahead, 1 + self.video_ahead[self.captions > 0]
