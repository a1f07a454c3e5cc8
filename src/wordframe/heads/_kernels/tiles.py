"""From features to the kernels and back: texts packed without padding, videos in groups of lanes, tiles over threads.

A tile is some texts times some groups of ``LANES`` videos; its products (``product``) stay in the processor's cache
while the loop reads them. Tiles depend on sizes alone, never on the number of threads, and each is
computed by one thread: results are the same to the last bit however many there are.

oneDNN's product runs at about twice the rate of the BLAS that ``torch.mm`` calls on some processors and never much
below it (benchmarks/scoring.py prints both); torch offers it for float32 tensors in oneDNN's layout, and for bfloat16
as they are. bfloat16 is summed in float32, but each result is rounded to bfloat16 before it comes back.

Axes: ``N`` columns (a text's real words, then its sentence), ``C`` groups, the rest as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from wordframe.features import TextFeatures
from wordframe.heads._kernels import LANES

Item = TypeVar("Item")

MAX_COLUMNS = 512
"""Columns of a tile, where its texts allow: enough for the products' full rate."""
MAX_FLOATS = 192 * 1024
"""Numbers in one product's result: 768 KiB, so that it stays in a core's own cache."""


@dataclass(frozen=True)
class Columns:
    """Texts without padding. values: ``(N, D)``; starts: ``(T + 1)``; a text's last column is its sentence."""

    values: Tensor
    starts: NDArray[np.int64]

    def transform(self, make: Callable[[Tensor, Tensor], tuple[Tensor, ...]]) -> list[Tensor]:
        """``make(columns (B, D), which are sentences (B,))`` of all columns, a block a thread, put together."""
        is_sentence = torch.zeros(len(self.values), dtype=torch.bool)
        is_sentence[self.starts[1:] - 1] = True
        starts = range(0, len(self.values), MAX_COLUMNS)
        blocks: dict[int, tuple[Tensor, ...]] = {}

        def work(start: int) -> None:
            rows = slice(start, start + MAX_COLUMNS)
            blocks[start] = make(self.values[rows], is_sentence[rows])

        in_threads(work, starts)
        return [join(pieces) for pieces in zip(*(blocks[start] for start in starts), strict=True)]


def pack(text: TextFeatures, *, masked: bool) -> Columns:
    """Real words of each text, all of them if not ``masked``, and its sentence behind them."""
    mask = text.word_mask if masked else torch.ones_like(text.word_mask)
    real = F.pad(mask, (0, 1), value=True)  # (T, W + 1)
    counts = real.sum(dim=1)
    values = torch.cat([text.words, text.sentence[:, None]], dim=1)[real]
    starts = F.pad(counts.cumsum(0), (1, 0)).numpy()
    return Columns(values, starts)


def join(pieces: Sequence[Tensor]) -> Tensor:
    """Tensors one behind the other. On CPU by one thread: torch's would wait for each other on a busy machine."""
    if len(pieces) == 1:
        return pieces[0]
    if pieces[0].device.type != "cpu":
        return torch.cat(list(pieces))
    if pieces[0].dtype == torch.bfloat16:  # which numpy does not know
        return join([piece.view(torch.int16) for piece in pieces]).view(torch.bfloat16)
    return torch.from_numpy(np.concatenate([piece.numpy() for piece in pieces]))


def in_groups(x: Tensor) -> Tensor:
    """``(V, ..., D)`` into ``(C, ..., LANES, D)``, the last group filled up with zeros."""
    return _grouped(x, -2)


def in_lanes(x: Tensor) -> Tensor:
    """``(V, ...)`` into ``(C, ..., LANES)``, the last group filled up with zeros."""
    return _grouped(x, -1)


def _grouped(x: Tensor, axis: int) -> Tensor:
    """``x (V, ...)`` with ``LANES`` at ``axis``, in one copy: a view is filled, so nothing is transposed twice."""
    whole, rest = len(x) // LANES, len(x) % LANES
    shape = list(x.shape[1:])
    shape.insert(len(shape) + 1 + axis, LANES)
    out = x.new_empty(whole + (rest > 0), *shape)
    by_lane = out.movedim(axis, 1)  # (C, LANES, ...)
    by_lane[:whole] = x[: whole * LANES].reshape(whole, LANES, *x.shape[1:])
    if rest:
        by_lane[whole, :rest] = x[whole * LANES :]
        by_lane[whole, rest:] = 0
    return out


def pick(grouped: Mapping[str, Tensor], lane_axes: Mapping[str, int], rows: Tensor) -> dict[str, Tensor]:
    """The videos ``rows`` of grouped tensors, as groups again; whole groups in their order are not copied.

    lane_axes: where each tensor has its ``LANES``, −1 or −2.
    """
    first = int(rows[0]) if len(rows) else 0
    if first % LANES == 0 and torch.equal(rows, torch.arange(first, first + len(rows))):
        groups = slice(first // LANES, (first + len(rows) + LANES - 1) // LANES)
        return {name: grouped[name][groups] for name in lane_axes}
    picked = {}
    for name, axis in lane_axes.items():
        picked[name] = _grouped(grouped[name].movedim(axis, 1)[rows // LANES, rows % LANES], axis)
    return picked


def text_blocks(text: TextFeatures, *, masked: bool, max_columns: int) -> Iterator[slice]:
    """Ranges of texts that pack into at most ``max_columns`` columns each; one text is always done."""
    mask = text.word_mask if masked else torch.ones_like(text.word_mask)
    return cut(F.pad((mask.sum(dim=1) + 1).cumsum(0), (1, 0)).numpy(), max_columns)


def cut(starts: NDArray[np.int64], most: int) -> Iterator[slice]:
    """Ranges ``[first, stop)`` with ``starts[stop] - starts[first]`` at most ``most``, at least one long.

    >>> list(cut(np.array([0, 3, 6, 16, 18]), 7))
    [slice(0, 2, None), slice(2, 3, None), slice(3, 4, None)]
    """
    first = 0
    while first < len(starts) - 1:
        stop = max(int(np.searchsorted(starts, starts[first] + most, side="right")) - 1, first + 1)
        yield slice(first, stop)
        first = stop


def score_tiles(
    starts: NDArray[np.int64],
    num_groups: int,
    rows: int,
    max_floats: int,
    score: Callable[[slice, slice, slice], None],
) -> None:
    """Call ``score(texts, columns, groups)`` for tiles that cover everything.

    Args:
        rows: numbers in one column's result for one video.
        max_floats: most numbers in a tile's result; one text with one group is always done.
    """
    floats = min(max_floats, MAX_FLOATS)
    tasks = []
    for texts in cut(starts, max(1, min(MAX_COLUMNS, floats // (rows * LANES)))):
        columns = slice(int(starts[texts.start]), int(starts[texts.stop]))
        size = floats // (rows * LANES * (columns.stop - columns.start))
        size = max(1, min(size, num_groups))
        tasks += [(texts, columns, slice(c, min(c + size, num_groups))) for c in range(0, num_groups, size)]
    in_threads(lambda task: score(*task), tasks)


def product(left: Tensor, right: Tensor) -> Tensor:
    """``left rightᵀ``: ``(N, D), (M, D) → (N, M)`` float32, both float32 or both bfloat16 on CPU."""
    if left.dtype == torch.bfloat16:
        return F.linear(left, right).float()
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return left @ right.T
    return F.linear(left.to_mkldnn(), right).to_dense()


def in_threads(work: Callable[[Item], None], items: Sequence[Item]) -> None:
    """Call ``work`` on every item, on as many threads as torch uses; each runs its products alone, on one core.

    Nothing waits for anything between two items, unlike with products that are each spread over all cores.
    """
    threads = torch.get_num_threads()
    if threads == 1 or not items:
        for item in items:
            work(item)
        return

    def guarded(item: Item) -> None:
        with torch.no_grad():
            work(item)

    try:
        with ThreadPoolExecutor(min(threads, len(items)), initializer=_alone) as pool:
            list(pool.map(guarded, items))  # raises what a thread raised
    finally:
        torch.set_num_threads(threads)  # a thread that sets its own number also sets what later threads start with


def _alone() -> None:
    torch.get_num_threads()  # torch sets a thread's number when it is first asked, so ask before changing it
    torch.set_num_threads(1)
