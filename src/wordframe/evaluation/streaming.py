"""The ranks of ``metrics.py`` from tiles of logits: ``(T, V)`` never exists, memory grows with ``T + V``.

A rank is a count of wrong answers scored no lower than the right one, and counts add up over tiles. So the scores of
the matching pairs come first; then every tile is counted once, in any order. A tile holds all captions of each of its
videos, since video→text needs the best of them at once; ``whole_video_blocks`` cuts the texts that way.
``rank.score_tile`` scores tiles by a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from wordframe.evaluation.checkpoint import Arrays, Checkpoint
from wordframe.evaluation.metrics import best_captions, check_owners, refuse_nan

ScoreTile = Callable[[Tensor, slice], Tensor]
"""``(text indices (B,), [start, stop) of videos) → logits (B, stop - start)``."""


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


def streamed_ranks(
    score: ScoreTile,
    caption_video: Tensor,
    *,
    num_videos: int,
    max_rows: int = 256,
    max_columns: int = 256,
    checkpoint: Checkpoint | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Tensor, Tensor]:
    """Both directions' ranks, as ``metrics.both_ranks`` gives them, from tiles of ``max_rows × max_columns``.

    Every tile is scored once. Those that hold a matching pair come first and are kept till all matching scores are
    known; with texts ordered by video they are a diagonal band, ``T · max_columns + V · max_rows`` numbers at most.

    Args:
        checkpoint: where the counts are kept from the end of the band on; a run cut short goes on from there. Its
            ``run`` has to name everything that the tiles depend on.
        on_progress: called with the pairs scored and their total.
    """
    check_owners(caption_video, num_texts=len(caption_video), num_videos=num_videos)
    if max_columns < 1:
        raise ValueError(f"max_columns = {max_columns}; at least 1")
    band, rest = _tiles(caption_video, num_videos, max_rows, max_columns)
    pairs = sum(_size(tile) for tile in (*band, *rest))
    state = None if checkpoint is None else checkpoint.load()
    if state is None:
        counter = _count_band(score, band, caption_video, num_videos, lambda done: on_progress(done, pairs))
        counted = 0
    else:
        matching = torch.from_numpy(state["matching"])
        counter = RankCounter(matching=matching, caption_video=caption_video, num_videos=num_videos)
        counter.restore(state)
        counted = int(state["counted"])
    done = sum(_size(tile) for tile in (*band, *rest[:counted]))
    on_progress(done, pairs)
    for number, (rows, columns) in enumerate(rest[counted:], start=counted + 1):
        counter.add(score(rows, columns), rows=rows, first_column=columns.start)
        done += _size((rows, columns))
        on_progress(done, pairs)
        if checkpoint is not None and (checkpoint.due() or number == len(rest)):
            checkpoint.save({**counter.state(), "counted": np.array(number)})
    return counter.ranks()


_Tile = tuple[Tensor, slice]


def _tiles(caption_video: Tensor, num_videos: int, max_rows: int, max_columns: int) -> tuple[list[_Tile], list[_Tile]]:
    """Texts and videos of each tile: those that hold a matching pair, and the others."""
    band: list[_Tile] = []
    rest: list[_Tile] = []
    for rows in whole_video_blocks(caption_video, max_rows=max_rows):
        owners = caption_video[rows]  # (B,)
        for columns in _columns(num_videos, max_columns):
            inside = ((owners >= columns.start) & (owners < columns.stop)).any()
            (band if inside else rest).append((rows, columns))
    return band, rest


def _count_band(
    score: ScoreTile,
    band: list[_Tile],
    caption_video: Tensor,
    num_videos: int,
    on_progress: Callable[[int], None],
) -> RankCounter:
    """Score the tiles with matching pairs, then count them."""
    # float64 holds the scores of any smaller type exactly
    matching = torch.full((len(caption_video),), float("nan"), dtype=torch.float64)
    scored: list[Tensor] = []
    done = 0
    for rows, columns in band:
        tile = score(rows, columns).cpu()  # (B, N)
        owners = caption_video[rows]  # (B,)
        inside = ((owners >= columns.start) & (owners < columns.stop)).nonzero().flatten()
        matching[rows[inside]] = tile[inside, owners[inside] - columns.start].to(matching)
        scored.append(tile)
        done += tile.numel()
        on_progress(done)
    counter = RankCounter(matching=matching, caption_video=caption_video, num_videos=num_videos)
    for (rows, columns), tile in zip(band, scored, strict=True):
        counter.add(tile, rows=rows, first_column=columns.start)
    return counter


def _size(tile: _Tile) -> int:
    rows, columns = tile
    num_columns: int = columns.stop - columns.start
    return len(rows) * num_columns


def _columns(num_videos: int, max_columns: int) -> Iterator[slice]:
    return (slice(start, min(start + max_columns, num_videos)) for start in range(0, num_videos, max_columns))
