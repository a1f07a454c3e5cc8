"""The ranks of ``metrics.py`` from tiles of logits: ``(T, V)`` never exists, memory grows with ``T + V``.

The scores of the matching pairs come first; then ``counter.py`` counts every tile once, in any order.
Neighbours: ``rank.score_tile`` and ``tiles.py`` score tiles by a model; ``toplists.py`` and ``rescoring.py`` read the
same tiles on their way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from wordframe.evaluate.checkpoint import Arrays, Checkpoint
from wordframe.evaluate.counter import RankCounter, whole_video_blocks
from wordframe.evaluate.metrics import check_owners

ScoreTile = Callable[[Tensor, slice], Tensor]
"""``(text indices (B,), [start, stop) of videos) → logits (B, stop - start)``."""
View = Callable[[Tensor, Tensor, slice], Tensor]
"""A tile ``(B, N)``, its text indices and its videos into the scores ``(B, N)`` to rank by."""
LOGITS = "logits"
"""The view that leaves a tile as it is."""


class TileReader(Protocol):
    """What looks at every tile once, in any order, and can be stopped and resumed."""

    def add(self, tile: Tensor, *, rows: Tensor, first_column: int) -> None: ...

    def state(self) -> Arrays: ...

    def restore(self, state: Arrays) -> None: ...


def streamed_ranks(
    score: ScoreTile,
    caption_video: Tensor,
    *,
    num_videos: int,
    max_rows: int = 256,
    max_columns: int = 256,
    group_size: int | None = None,
    checkpoint: Checkpoint | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
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
    score: ScoreTile,
    caption_video: Tensor,
    views: Mapping[str, View],
    *,
    num_videos: int,
    readers: Mapping[str, TileReader] | None = None,
    max_rows: int = 256,
    max_columns: int = 256,
    group_size: int | None = None,
    checkpoint: Checkpoint | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
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
        on_progress: called with the pairs scored and their total.
    """
    check_owners(caption_video, num_texts=len(caption_video), num_videos=num_videos)
    if max_columns < 1:
        raise ValueError(f"max_columns = {max_columns}; at least 1")
    if group_size is not None and (group_size < 1 or group_size % max_columns):
        raise ValueError(f"group_size = {group_size}; a multiple of max_columns = {max_columns}, at least that")
    band, rest = _tiles(caption_video, num_videos, max_rows, max_columns, group_size or num_videos)
    pairs = sum(_size(tile) for tile in (*band, *rest))
    state = None if checkpoint is None else checkpoint.load()
    if state is None:
        scored = _scored(score, band, lambda done: on_progress(done, pairs))
        matching = {name: _matching(scored, view, caption_video) for name, view in views.items()}
    else:
        scored = []
        matching = {name: torch.from_numpy(state[f"{name}.matching"]) for name in views}
    counters = {
        name: RankCounter(matching=matching[name], caption_video=caption_video, num_videos=num_videos) for name in views
    }
    audience = _Audience({**counters, **(readers or {})}, views)
    counted = 0 if state is None else audience.restore(state)
    while scored:
        audience.add(*scored.pop())
    done = sum(_size(tile) for tile in (*band, *rest[:counted]))
    on_progress(done, pairs)
    for number, (rows, columns) in enumerate(rest[counted:], start=counted + 1):
        audience.add(score(rows, columns).cpu(), rows, columns)
        done += _size((rows, columns))
        on_progress(done, pairs)
        if checkpoint is not None and (checkpoint.due() or number == len(rest)):
            checkpoint.save({**audience.state(), "counted": np.array(number)})
    return {name: counter.ranks() for name, counter in counters.items()}


def read_tiles(
    score: ScoreTile,
    reader: TileReader,
    *,
    num_texts: int,
    num_videos: int,
    max_rows: int = 256,
    max_columns: int = 256,
    group_size: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Show every tile of texts that belong to no video to ``reader``; the arguments are those of ``streamed_views``."""
    done = 0
    for group in _columns(slice(0, num_videos), group_size or num_videos):
        for rows in torch.split(torch.arange(num_texts), max_rows):
            for columns in _columns(group, max_columns):
                reader.add(score(rows, columns).cpu(), rows=rows, first_column=columns.start)
                done += _size((rows, columns))
                on_progress(done, num_texts * num_videos)


class _Audience:
    """All that look at the tiles, those of a view at what it shows them."""

    def __init__(self, readers: Mapping[str, TileReader], views: Mapping[str, View]) -> None:
        self.readers, self.views = readers, views

    def add(self, tile: Tensor, rows: Tensor, columns: slice) -> None:
        for name, reader in self.readers.items():
            seen = self.views[name](tile, rows, columns) if name in self.views else tile
            reader.add(seen, rows=rows, first_column=columns.start)

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


_Tile = tuple[Tensor, slice]
_Scored = tuple[Tensor, Tensor, slice]


def _tiles(
    caption_video: Tensor, num_videos: int, max_rows: int, max_columns: int, group_size: int
) -> tuple[list[_Tile], list[_Tile]]:
    """Texts and videos of each tile: those that hold a matching pair, and the others."""
    band: list[_Tile] = []
    rest: list[_Tile] = []
    blocks = whole_video_blocks(caption_video, max_rows=max_rows)
    for group in _columns(slice(0, num_videos), group_size):
        for rows in blocks:
            owners = caption_video[rows]  # (B,)
            for columns in _columns(group, max_columns):
                inside = ((owners >= columns.start) & (owners < columns.stop)).any()
                (band if inside else rest).append((rows, columns))
    return band, rest


def _scored(score: ScoreTile, band: list[_Tile], on_progress: Callable[[int], None]) -> list[_Scored]:
    """The tiles with matching pairs, scored."""
    scored: list[_Scored] = []
    done = 0
    for rows, columns in band:
        scored.append((score(rows, columns).cpu(), rows, columns))
        done += _size((rows, columns))
        on_progress(done)
    return scored


def _matching(scored: list[_Scored], view: View, caption_video: Tensor) -> Tensor:
    """``(T,)`` the score of each text with its own video."""
    # float64 holds the scores of any smaller type exactly
    matching = torch.full((len(caption_video),), float("nan"), dtype=torch.float64)
    for tile, rows, columns in scored:
        owners = caption_video[rows]  # (B,)
        inside = ((owners >= columns.start) & (owners < columns.stop)).nonzero().flatten()
        seen = view(tile, rows, columns)  # (B, N)
        matching[rows[inside]] = seen[inside, owners[inside] - columns.start].to(matching)
    return matching


def _size(tile: _Tile) -> int:
    rows, columns = tile
    num_columns: int = columns.stop - columns.start
    return len(rows) * num_columns


def _columns(within: slice, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, within.stop)) for start in range(within.start, within.stop, size))
