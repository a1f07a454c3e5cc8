"""Similarities that a compiled loop scores on CPU: texts packed without padding, videos in groups of lanes, tiles.

A head adds to its tensor form what its loop reads of videos (``group``) and how a block of texts is scored against
them (``score_groups``). The loop answers for the first of ``methods`` wherever it can run, which is float32 on CPU
without gradients; the tensor form of ``compare`` answers everywhere else, in float32. Heads: ``tcmgc/head.py``,
``xclip.py``, ``xpool.py``, ``wti.py``; loops: ``_kernels/``.

A tile is some texts times some groups of ``LANES`` videos; its products (``product``) stay in the processor's cache
while the loop reads them. Tiles depend on sizes alone, never on the number of threads, and each is computed by one
thread: results are the same to the last bit however many there are.

oneDNN's product runs at about twice the rate of the BLAS that ``torch.mm`` calls on some processors and never much
below it (benchmarks/scoring.py prints both); torch offers it for float32 tensors in oneDNN's layout, and for bfloat16
as they are. bfloat16 is summed in float32, but each result is rounded to bfloat16 before it comes back.

Axes: ``N`` columns (a text's real words, then its sentence), ``C`` groups, ``P`` parts, the rest as everywhere.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from wordframe.features import PART_NAMES, SimilarityOutput, TextFeatures, VideoFeatures
from wordframe.heads._kernels import LANES, usable
from wordframe.heads.base import PrecomputedVideos, Similarity, VideoGroups, VideoStatistics, refuse_empty

Item = TypeVar("Item")

PRODUCTS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
SMALL = 20_000
"""Words times videos that one thread scores within some milliseconds: less than several may wait for each other."""
_COPIES_PER_COLUMN = 6
"""Vectors of size ``D`` alive for a text's word: gathered, the three that meet the frames, spare."""
_COPIES_PER_FRAME = 4
"""Vectors of size ``D`` alive for a frame: what is kept of it, and those on the way."""
MAX_COLUMNS = 512
"""Columns of a tile, where its texts allow: enough for the products' full rate."""
MAX_FLOATS = 192 * 1024
"""Numbers in one product's result: 768 KiB, so that it stays in a core's own cache."""


class FusedSimilarity(Similarity):
    """A similarity whose first method has a compiled loop.

    With ``products = "bfloat16"`` the large products of videos precomputed from then on are faster where the processor
    has instructions for it, at errors that benchmarks/precision.py prints. The tensor form stays with float32.

    Attributes:
        part_names: the parts that the loop writes, behind the logits.
    """

    kinds_of_products = tuple(PRODUCTS)
    part_names: tuple[str, ...] = PART_NAMES

    def forward(
        self, text: TextFeatures, video: VideoFeatures | PrecomputedVideos, *, method: str = "auto"
    ) -> SimilarityOutput:
        """As ``Similarity.forward``; with ``PrecomputedVideos`` only what depends on the text is computed."""
        raw = video.video if isinstance(video, PrecomputedVideos) else video
        if self._choose(method) != self.methods[0] or not self.can_fuse(text, raw):
            return super().forward(text, video, method=method)
        refuse_empty("text", text.word_mask)
        text = text.to(dtype=torch.float32)
        out = np.empty((1 + len(self.part_names), len(text), len(video)), np.float32)
        with torch.autocast(device_type="cpu", enabled=False):
            if isinstance(video, PrecomputedVideos) and video.groups is not None:
                groups = video.groups
                if text.word_mask.numel() * len(video) <= SMALL:
                    # One item in the pool: torch's own products, too, then stay on one core.
                    in_threads(lambda _: self._score_precomputed(text, groups, out), [None])
                else:
                    self._score_precomputed(text, groups, out)
            else:
                self._score_in_blocks(text, raw, out)
        logits, *parts = torch.from_numpy(out)
        return SimilarityOutput(logits, dict(zip(self.part_names, parts, strict=True)))

    def precompute(
        self, video: VideoFeatures, statistics: Sequence[VideoStatistics] | None = None
    ) -> PrecomputedVideos:
        refuse_empty("video", video.frame_mask)
        if not usable(video.contextual.float()) or self._dtype() != torch.float32:
            return PrecomputedVideos(video, None)
        with torch.autocast(device_type="cpu", enabled=False):
            return PrecomputedVideos(video, self.group(video.to(dtype=torch.float32), statistics))

    def can_fuse(self, text: TextFeatures, video: VideoFeatures) -> bool:
        """Whether the loop gives these pairs' numbers."""
        if text.sentence.dtype == torch.float64 or video.frames.dtype == torch.float64:
            return False
        on_cpu = text.sentence.device.type == "cpu"
        return on_cpu and self._dtype() == torch.float32 and usable(*self.parameters())

    def columns(self, text: TextFeatures) -> Columns:
        """What the loop reads of texts: their words and sentences, as most do, or the one or the other."""
        return pack(text, masked=self.mask_padding)

    @abstractmethod
    def group(self, video: VideoFeatures, statistics: Sequence[VideoStatistics] | None = None) -> VideoGroups:
        """What the loop reads of float32 videos, with the ``statistics`` that were kept of them."""

    @abstractmethod
    def score_groups(
        self,
        text: TextFeatures,
        columns: Columns,
        groups: VideoGroups,
        max_floats: int,
        out: NDArray[np.float32],
    ) -> None:
        """Write logits and parts of a block of texts into ``out (1 + P, T, V)``; tiles hold ``max_floats`` a product.

        columns: of ``text``, as ``self.columns`` gives them.
        """

    def _score_in_blocks(self, text: TextFeatures, video: VideoFeatures, out: NDArray[np.float32]) -> None:
        """As many videos in groups at once as ``max_block_mb`` holds."""
        refuse_empty("video", video.frame_mask)
        num_frames, dimension = video.frames.shape[1:]
        per_group = _COPIES_PER_FRAME * LANES * num_frames * dimension * 4
        size = LANES * max(1, self.max_block_mb * 2**20 // per_group)
        for start in range(0, len(video), size):
            block = slice(start, start + size)
            self._score_precomputed(text, self.group(video[block].to(dtype=torch.float32)), out[:, :, block])

    def _score_precomputed(self, text: TextFeatures, groups: VideoGroups, out: NDArray[np.float32]) -> None:
        budget = self.max_block_mb * 2**20 // 4
        max_columns = budget // (_COPIES_PER_COLUMN * text.words.shape[2])
        max_floats = budget // (4 * torch.get_num_threads())  # three products and what they leave behind
        for texts in text_blocks(text, masked=self.mask_padding, max_columns=max_columns):
            block = text[texts]
            columns = self.columns(block)
            self.score_groups(block, columns, groups, max_floats, out[:, texts])
            # The loop keeps maxima by comparisons, which a NaN never wins: what is broken is marked from outside.
            out[:, texts][:, columns.broken()] = float("nan")
        out[:, :, groups.broken.numpy()] = float("nan")


def put(tile: NDArray[np.float32], out: NDArray[np.float32], texts: slice, groups: slice) -> None:
    """A tile ``(1 + P, T, C, LANES)`` to its place in ``out (1 + P, T, V)``, without the lanes that fill a group."""
    first = groups.start * LANES
    target = out[:, texts, first : groups.stop * LANES]
    target[:] = tile.reshape(*tile.shape[:2], -1)[:, :, : target.shape[2]]


# Packing, tiles, products, threads ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Columns:
    """Texts without padding. values: ``(N, D)``; starts: ``(T + 1)``; a text has one column at least, and its last one
    is its sentence where ``pack`` put sentences in."""

    values: Tensor
    starts: NDArray[np.int64]

    def broken(self) -> NDArray[np.bool_]:
        """Texts with a number that is not finite, ``(T,)``."""
        sums = self.values.sum(dim=1).numpy()
        if len(self.starts) == 1:
            return np.zeros(0, np.bool_)
        broken: NDArray[np.bool_] = ~np.isfinite(np.add.reduceat(sums, self.starts[:-1]))
        return broken

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


def pack(text: TextFeatures, *, masked: bool, sentences: bool = True) -> Columns:
    """Real words of each text, all of them if not ``masked``, and its sentence behind them if ``sentences``."""
    mask = text.word_mask if masked else torch.ones_like(text.word_mask)
    real = F.pad(mask, (0, 1), value=sentences)  # (T, W + 1)
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
