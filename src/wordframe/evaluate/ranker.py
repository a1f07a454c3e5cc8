"""Ranks from tiles of logits: the ranks of ``metrics.py``, but ``(T, V)`` never exists, memory grows with ``T + V``.

A rank is a count: how many wrong answers are scored no lower than the right one. Counts add up over tiles, in any
order, once the scores of the matching pairs are known; so the tiles that hold those come first (``streamed_views``).
Several processes may share the tiles (``sharing.py``).
A tile holds all captions of each of its videos, since video→text needs the best of them at once;
``whole_video_blocks`` cuts the texts that way.
Neighbours: ``ranking.py`` makes tiles by a model; ``toplists.py`` and ``rescoring.py`` read them on their way.
Axes: ``T`` texts, ``V`` videos, ``B`` texts and ``N`` videos of a tile, ``C`` videos that have captions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from wordframe.evaluate.checkpoint import Arrays, Checkpoint
from wordframe.evaluate.metrics import best_captions, check_owners, refuse_nan
from wordframe.evaluate.sharing import ALONE, Share, parts_of

TileScorer = Callable[[Tensor, slice], Tensor]
"""``(text indices (B,), [start, stop) of videos) → logits (B, stop - start)``."""
View = Callable[[Tensor, Tensor, slice], Tensor]
"""A tile ``(B, N)``, its text indices and its videos into the scores ``(B, N)`` to rank by."""
LOGITS = "logits"
"""The view that leaves a tile as it is."""
OnProgress = Callable[[int, int], None]
"""Called with how much is done and how much there is."""


class TileReader(Protocol):
    """What looks at every tile once, in any order, and can be stopped and resumed.

    ``part`` (``sharing.py``) is for sums that depend on their order: within a part tiles come in one order, however
    many processes share them. ``merge`` takes in the state of a reader that has seen other tiles.
    """

    def add(self, tile: Tensor, *, rows: Tensor, first_column: int, part: int = 0) -> None: ...

    def merge(self, state: Arrays) -> None: ...

    def state(self) -> Arrays: ...

    def restore(self, state: Arrays) -> None: ...


def streamed_ranks(
    score: TileScorer,
    caption_video: Tensor,
    *,
    num_videos: int,
    max_rows: int = 256,
    max_columns: int = 256,
    group_size: int | None = None,
    checkpoint: Checkpoint | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> tuple[Tensor, Tensor]:
    """Both directions' ranks, as ``metrics.both_ranks`` gives them; the arguments are those of ``streamed_views``."""
    views: dict[str, View] = {LOGITS: lambda tile, rows, columns: tile}
    return streamed_views(
        score,
        caption_video,
        views,
        num_videos=num_videos,
        max_rows=max_rows,
        max_columns=max_columns,
        group_size=group_size,
        checkpoint=checkpoint,
        on_progress=on_progress,
    )[LOGITS]


def streamed_views(
    score: TileScorer,
    caption_video: Tensor,
    views: Mapping[str, View],
    *,
    num_videos: int,
    readers: Mapping[str, TileReader] | None = None,
    max_rows: int = 256,
    max_columns: int = 256,
    group_size: int | None = None,
    checkpoint: Checkpoint | None = None,
    share: Share = ALONE,
    on_progress: OnProgress = lambda done, total: None,
) -> dict[str, tuple[Tensor, Tensor]]:
    """Both directions' ranks by each of ``views``, from tiles of ``max_rows × max_columns``.

    Every tile is scored once. Those that hold a matching pair come first and are kept till all matching scores are
    known; with texts ordered by video they are a diagonal band, ``T · max_columns + V · max_rows`` numbers at most.

    Args:
        readers: what else looks at the tiles.
        group_size: a multiple of ``max_columns``: all texts are scored against this many videos before the next come,
            for a scorer that prepares videos. All videos by default.
        checkpoint: where the counts are kept from the end of the band on; a run cut short goes on from there. Its
            ``run`` has to name everything that the tiles depend on.
        share: the tiles that are this process's; ranks and readers come out whole in each.
        on_progress: called with the pairs scored and their total.
    """
    check_owners(caption_video, num_texts=len(caption_video), num_videos=num_videos)
    if max_columns < 1:
        raise ValueError(f"max_columns = {max_columns}; at least 1")
    if group_size is not None and (group_size < 1 or group_size % max_columns):
        raise ValueError(f"group_size = {group_size}; a multiple of max_columns = {max_columns}, at least that")
    band, rest = _tiles(caption_video, num_videos, max_rows, max_columns, group_size or num_videos)
    tell = _telling(on_progress, band + rest, share)
    band, rest = ([tile for tile in tiles if share.takes(tile.part)] for tiles in (band, rest))
    with share.failing_together():
        state = None if checkpoint is None else checkpoint.load()
        if state is None:
            scored = _scored(score, band, tell)
            own = {name: _matching(scored, view, caption_video) for name, view in views.items()}
        else:
            scored = []
            own = {name: torch.from_numpy(state[f"{name}.matching"]) for name in views}
    matching = {name: share.known(own[name]) for name in views}
    counters = {
        name: RankCounter(matching=matching[name], caption_video=caption_video, num_videos=num_videos) for name in views
    }
    audience = _Audience({**counters, **(readers or {})}, views)
    with share.failing_together():
        counted = 0 if state is None else audience.restore(state)
        while scored:  # popped, so that a tile is freed as soon as it is counted
            audience.add(*scored.pop())
        done = sum(tile.pairs for tile in (*band, *rest[:counted]))
        tell(done)
        for number, tile in enumerate(rest[counted:], start=counted + 1):
            audience.add(score(tile.rows, tile.columns).cpu(), tile)
            done += tile.pairs
            tell(done)
            if checkpoint is not None and (checkpoint.due() or number == len(rest)):
                checkpoint.save({**audience.state(), "counted": np.array(number)})
    share.merge(audience.readers)
    return {name: counter.ranks() for name, counter in counters.items()}


def read_tiles(
    score: TileScorer,
    reader: TileReader,
    *,
    num_texts: int,
    num_videos: int,
    max_rows: int = 256,
    max_columns: int = 256,
    group_size: int | None = None,
    share: Share = ALONE,
    on_progress: OnProgress = lambda done, total: None,
) -> None:
    """Show every tile of texts that belong to no video to ``reader``; the arguments are those of ``streamed_views``."""
    blocks = torch.split(torch.arange(num_texts), max_rows)
    tiles = _in_order(blocks, num_videos, max_columns, group_size or num_videos)
    tell, done = _telling(on_progress, tiles, share), 0
    with share.failing_together():
        for tile in tiles:
            if share.takes(tile.part):
                seen = score(tile.rows, tile.columns).cpu()
                reader.add(seen, rows=tile.rows, first_column=tile.columns.start, part=tile.part)
                done += tile.pairs
                tell(done)
    share.merge({"reader": reader})


class _Audience:
    """All that look at the tiles, those of a view at what it shows them."""

    def __init__(self, readers: Mapping[str, TileReader], views: Mapping[str, View]) -> None:
        self.readers, self.views = readers, views

    def add(self, logits: Tensor, tile: _Tile) -> None:
        for name, reader in self.readers.items():
            seen = self.views[name](logits, tile.rows, tile.columns) if name in self.views else logits
            reader.add(seen, rows=tile.rows, first_column=tile.columns.start, part=tile.part)

    def state(self) -> Arrays:
        return {
            f"{name}.{key}": array for name, reader in self.readers.items() for key, array in reader.state().items()
        }

    def restore(self, state: Arrays) -> int:
        """Go on from ``state``; the number of tiles beyond the band that it holds."""
        for name, reader in self.readers.items():
            prefix = f"{name}."
            reader.restore({key.removeprefix(prefix): state[key] for key in state if key.startswith(prefix)})
        return int(state["counted"])


@dataclass(frozen=True)
class _Tile:
    """Texts ``rows (B,)`` against the videos ``columns``; part: of all tiles, for ``Share``."""

    rows: Tensor
    columns: slice
    part: int

    @property
    def pairs(self) -> int:
        return len(self.rows) * int(self.columns.stop - self.columns.start)


_Scored = tuple[Tensor, _Tile]


def _in_order(blocks: Sequence[Tensor], num_videos: int, max_columns: int, group_size: int) -> list[_Tile]:
    """All tiles: those of a group of videos one behind the other, since its videos are prepared together."""
    places = [
        (rows, columns)
        for group in _columns(slice(0, num_videos), group_size)
        for rows in blocks
        for columns in _columns(group, max_columns)
    ]
    return [_Tile(*place, part) for place, part in zip(places, parts_of(len(places)), strict=True)]


def _telling(on_progress: OnProgress, tiles: Sequence[_Tile], share: Share) -> Callable[[int], None]:
    """What to call with the pairs that this process has scored: it tells them as if all were as far as this one."""
    total = sum(tile.pairs for tile in tiles)
    own = sum(tile.pairs for tile in tiles if share.takes(tile.part))

    def tell(done: int) -> None:
        on_progress(done * total // own if own else total, total)

    return tell


def _tiles(
    caption_video: Tensor, num_videos: int, max_rows: int, max_columns: int, group_size: int
) -> tuple[list[_Tile], list[_Tile]]:
    """Texts and videos of each tile: those that hold a matching pair, and the others."""
    band: list[_Tile] = []
    rest: list[_Tile] = []
    for tile in _in_order(whole_video_blocks(caption_video, max_rows=max_rows), num_videos, max_columns, group_size):
        owners = caption_video[tile.rows]  # (B,)
        inside = ((owners >= tile.columns.start) & (owners < tile.columns.stop)).any()
        (band if inside else rest).append(tile)
    return band, rest


def _scored(score: TileScorer, band: list[_Tile], on_progress: Callable[[int], None]) -> list[_Scored]:
    """The tiles with matching pairs, scored."""
    scored: list[_Scored] = []
    done = 0
    for tile in band:
        scored.append((score(tile.rows, tile.columns).cpu(), tile))
        done += tile.pairs
        on_progress(done)
    return scored


def _matching(scored: list[_Scored], view: View, caption_video: Tensor) -> Tensor:
    """``(T,)`` the score of each text with its own video."""
    # float64 holds the scores of any smaller type exactly
    matching = torch.full((len(caption_video),), float("nan"), dtype=torch.float64)
    for logits, tile in scored:
        rows, columns = tile.rows, tile.columns
        owners = caption_video[rows]  # (B,)
        inside = ((owners >= columns.start) & (owners < columns.stop)).nonzero().flatten()
        seen = view(logits, rows, columns)  # (B, N)
        matching[rows[inside]] = seen[inside, owners[inside] - columns.start].to(matching)
    return matching


def _columns(within: slice, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, within.stop)) for start in range(within.start, within.stop, size))


def whole_video_blocks(caption_video: Tensor, *, max_rows: int) -> list[Tensor]:
    """Text indices in blocks of at most ``max_rows``, ordered by video, no video's captions in two blocks.

    A video with more captions than ``max_rows`` gets a block of its own, larger than asked.

    >>> whole_video_blocks(torch.tensor([2, 0, 2, 1]), max_rows=2)
    [tensor([1, 3]), tensor([0, 2])]
    """
    if max_rows < 1:
        raise ValueError(f"max_rows = {max_rows}; at least 1")
    # by video, so that the tiles with matching pairs are a band along the diagonal and few are kept
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

    def add(self, tile: Tensor, *, rows: Tensor, first_column: int, part: int = 0) -> None:
        """Count ``tile (B, N)``: texts ``rows (B,)`` against the videos from ``first_column`` on."""
        if tile.dim() != 2 or len(tile) != len(rows):
            raise ValueError(f"tile must be (B, N) with B = {len(rows)} rows, got shape {tuple(tile.shape)}")
        # in the type of the matching scores: a score cast one way and its pair another would no longer tie with itself
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
        # ≥, not >: equal scores count against the right answer (``TIE_RULE``)
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

    def merge(self, state: Arrays) -> None:
        """Add the counts of other tiles."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + torch.from_numpy(state[name]))

    def ranks(self) -> tuple[Tensor, Tensor]:
        """Text→video ``(T,)`` and video→text ``(C,)`` ranks, once every pair was counted exactly once."""
        num_texts, num_videos = len(self.matching), len(self.best)
        if not (self.text_seen == num_videos).all() or not (self.video_seen == num_texts).all():
            raise ValueError(
                f"the tiles must cover {num_texts} texts × {num_videos} videos once each; "
                f"they held {int(self.text_seen.sum())} of {num_texts * num_videos} pairs"
            )
        return 1 + self.text_ahead, 1 + self.video_ahead[self.captions > 0]
