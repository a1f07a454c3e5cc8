"""The index over vectors: one byte a number, held in memory, and every row compared with the query.

Nothing is trained and nothing is lost to partitions: rows added a moment ago are like all others, and a filter still
fills the shortlist. It reads half a kilobyte a vector of 512 numbers, at the speed of memory. Rounding moves a cosine
by 0.0004 (standard deviation; 0.0013 where one number dwarfs the others), and candidates are scored exactly afterwards.
Partitions around centres were measured and lose: where scenes of one video differ, looking into an eighth of them keeps
89 % of the exact answers among 100,000 segments, and this keeps 99 % (``benchmarks/two_stage.py``).

An index belongs to one version of a table and never changes, so any number of threads may ask it. The index of the next
version shares the blocks of the one before and reads only what is new. Neighbour: ``snapshot.py``, which holds it.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wordframe.heads import in_threads, numba_installed

BLOCK_ROWS = 32_768
PLAIN_BYTES = 500_000_000
"""After comparing so many bytes the compiled loop is loaded: numba takes half a second, they took a quarter of one."""
_LARGEST = 127
_QUERY_LENGTH = 16_384
"""Length of the query in whole numbers: fine enough, and no sum over ``D`` bytes with it leaves 32 bits (D < 10⁶)."""
_CODES_AT_ONCE = 2048  # as floats they stay in the processor's cache


def to_codes(vectors: NDArray[np.float32]) -> NDArray[np.int8]:
    """Directions ``(M, D)`` in one byte a number: the largest number of each becomes ±127.

    >>> to_codes(np.array([[0.3, -0.6, 0.0], [0.0, 0.0, 0.0]], np.float32)).tolist()
    [[64, -127, 0], [0, 0, 0]]
    """
    extent = np.maximum(np.abs(vectors).max(axis=-1, keepdims=True), 1e-12)
    codes: NDArray[np.int8] = np.rint(vectors * (_LARGEST / extent)).astype(np.int8)
    return codes


@dataclass(frozen=True)
class CodedRows:
    """Rows ``(N,)`` and their codes ``(M, D)``: those of row ``n`` are ``[first[n], first[n + 1])``, at least one."""

    row_ids: NDArray[np.int64]
    first: NDArray[np.int64]
    codes: NDArray[np.int8]

    def __post_init__(self) -> None:
        if len(self.first) != len(self.row_ids) + 1 or self.first[-1] != len(self.codes):
            raise ValueError(
                f"first must have one entry more than row_ids ({len(self.row_ids)}) and end with the number of codes "
                f"({len(self.codes)}), got {len(self.first)} entries that end with {self.first[-1:]}"
            )

    @classmethod
    def joined(cls, parts: Sequence[CodedRows]) -> CodedRows:
        """The rows of all parts, copied."""
        ends = np.cumsum([0, *(len(part.codes) for part in parts)])
        firsts = [part.first[:-1] + end for part, end in zip(parts, ends, strict=False)]
        return cls(
            np.concatenate([part.row_ids for part in parts]),
            np.concatenate([*firsts, ends[-1:]]),
            np.concatenate([part.codes for part in parts]),
        )

    @cached_property
    def inverse_lengths(self) -> NDArray[np.float32]:
        """``1 / |code|`` of each code, 0 for one without direction; found by the thread that first compares them."""
        lengths = np.empty(len(self.codes), np.float32)
        for some in _chunks(len(self.codes)):
            lengths[some] = torch.from_numpy(self.codes[some]).float().norm(dim=1).numpy()
        return np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)


def best_cosines(rows: CodedRows, query: NDArray[np.float32], *, compiled: bool) -> NDArray[np.float32]:
    """The largest cosine of ``query (D,)`` with the codes of each row, ``(N,)``.

    Two forms with the same numbers: torch turns some codes at a time into floats and multiplies; a compiled loop over
    whole numbers runs as fast as memory gives the codes, many times as fast, once numba is loaded.

    Raises:
        ValueError: the query is not as long as a code.
    """
    if query.shape != rows.codes.shape[1:]:
        raise ValueError(f"query must have the shape {rows.codes.shape[1:]} of one code, got {query.shape}")
    direction = query / max(float(np.linalg.norm(query)), 1e-12)
    if compiled:
        from wordframe.library._code_kernels import best_products  # imports numba

        best = np.empty(len(rows.row_ids), np.float32)
        whole = np.rint(_QUERY_LENGTH * direction).astype(np.int16)
        best_products(rows.codes, rows.first, rows.inverse_lengths, whole, best)
        best /= _QUERY_LENGTH
        return best
    cosines = np.empty(len(rows.codes), np.float32)
    for some in _chunks(len(rows.codes)):
        cosines[some] = (torch.from_numpy(rows.codes[some]).float() @ torch.from_numpy(direction)).numpy()
    return np.maximum.reduceat(cosines * rows.inverse_lengths, rows.first[:-1])


def _chunks(count: int) -> Iterator[slice]:
    return (slice(start, start + _CODES_AT_ONCE) for start in range(0, count, _CODES_AT_ONCE))


@dataclass
class _Work:
    """What the indexes of one library's versions have compared so far, all together."""

    bytes_compared: int = 0


@dataclass(frozen=True)
class _Held:
    """The codes in memory. ``live (N,)``: rows that the version has; others were deleted and lie in a shared block."""

    blocks: tuple[CodedRows, ...] = ()
    row_ids: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    live: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, bool))


class VectorIndex:
    """The index over ``column`` of a table at its version: a row's codes, one or more of ``dimension`` bytes each.

    The codes are read when the index is first asked.

    Args:
        before: the index of an earlier version of the same table, whose codes are used again.
    """

    def __init__(self, table: Any, column: str, dimension: int, before: VectorIndex | None = None) -> None:
        self._table, self._column, self._dimension = table, column, dimension
        self._held: _Held | None = None
        self._work: _Work = _Work() if before is None else before._work
        self._before: _Held = _Held() if before is None else before._held or before._before
        self._reading = threading.Lock()

    def nearest(
        self, query: NDArray[np.float32], limit: int, among: NDArray[np.int64] | Sequence[int] | None = None
    ) -> list[int]:
        """Ids of the ``limit`` rows with the largest cosine of any of their codes with ``query (D,)``, best first.

        Args:
            among: ids of the rows that may be given; None for all.
        """
        held = self._codes()
        scores = self._scores(held.blocks, query)
        allowed = held.live if among is None else held.live & np.isin(held.row_ids, np.asarray(among, np.int64))
        scores[~allowed] = -np.inf
        best: list[int] = held.row_ids[largest(scores, limit)].tolist()
        return best

    def warm(self) -> None:
        """Read the codes and load the compiled loop now, not when it has paid."""
        self._codes()
        self._work.bytes_compared = max(self._work.bytes_compared, PLAIN_BYTES + 1)

    def _codes(self) -> _Held:
        """Read what the version before does not have, or all if that is more than half."""
        with self._reading:  # many may ask at once, one reads
            if self._held is None:
                self._held, self._before = self._read_on(self._before), _Held()
            return self._held

    def _read_on(self, before: _Held) -> _Held:
        live = row_ids_of(self._table)
        kept = int(np.isin(before.row_ids, live).sum())
        blocks = before.blocks
        if 2 * kept < max(len(before.row_ids), len(live)):
            blocks = ()
            self._before = _Held()  # before memory is taken for what comes in its place
            del before
            blocks = tuple(_in_blocks(self._read()))
        elif kept < len(live):
            new = self._read(np.setdiff1d(live, before.row_ids))
            *full, last = blocks
            blocks = (*full, *_in_blocks(itertools.chain([last], new)))
        row_ids = np.concatenate([np.empty(0, np.int64), *(block.row_ids for block in blocks)])
        return _Held(blocks, row_ids, np.isin(row_ids, live))

    def _read(self, row_ids: NDArray[np.int64] | None = None) -> Iterator[CodedRows]:
        """The codes of these rows, or of all, batch by batch and without a copy."""
        if row_ids is None:
            batches = self._table.search().select([self._column]).with_row_id(True).to_batches()
        else:
            found = self._table.take_row_ids(row_ids.tolist()).select([self._column]).with_row_id().to_arrow()
            batches = found.to_batches()
        for batch in batches:
            first, codes = codes_in(batch[self._column], self._dimension)
            yield CodedRows(batch["_rowid"].to_numpy().astype(np.int64), first, codes)

    def _scores(self, blocks: Sequence[CodedRows], query: NDArray[np.float32]) -> NDArray[np.float32]:
        """The best cosine of each row, ``(N,)``."""
        ends = np.cumsum([len(block.row_ids) for block in blocks], dtype=np.int64)
        scores = np.empty(int(ends[-1]) if blocks else 0, np.float32)
        compiled = self._work.bytes_compared > PLAIN_BYTES and numba_installed()

        def fill(number: int) -> None:
            found = best_cosines(blocks[number], query, compiled=compiled)
            scores[ends[number] - len(found) : ends[number]] = found

        in_threads(fill, range(len(blocks)))
        self._work.bytes_compared += sum(block.codes.nbytes for block in blocks)
        return scores


def codes_in(cells: Any, dimension: int) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """``first (N + 1,)`` and ``codes (M, D)`` of ``N`` binary cells of an Arrow array, without a copy of the codes."""
    ends = np.frombuffer(cells.buffers()[1], np.int32)[cells.offset : cells.offset + len(cells) + 1]
    codes = np.frombuffer(cells.buffers()[2], np.int8)[ends[0] : ends[-1]].reshape(-1, dimension)
    return (ends - ends[0]) // dimension, codes


def row_ids_of(table: Any, where: str | None = None) -> NDArray[np.int64]:
    """The ids of all rows of a table, or of those that an SQL condition lets through."""
    query = table.search()
    if where is not None:
        query = query.where(where)
    rows: NDArray[np.int64] = query.select(["_rowid"]).to_arrow()["_rowid"].to_numpy().astype(np.int64)
    return rows


def _in_blocks(parts: Iterable[CodedRows]) -> Iterator[CodedRows]:
    """The rows of all parts in blocks of ``BLOCK_ROWS`` rows or a little more; the last one may be smaller."""
    waiting: list[CodedRows] = []
    for part in parts:
        waiting.append(part)
        if sum(len(rows.row_ids) for rows in waiting) >= BLOCK_ROWS:
            yield CodedRows.joined(waiting)
            waiting = []
    if waiting:
        yield CodedRows.joined(waiting)


def largest(scores: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Places of the ``count`` largest scores above -inf, the largest first.

    >>> largest(np.array([0.1, 0.9, -np.inf, 0.5, 0.7], np.float32), 3).tolist()
    [1, 4, 3]
    >>> largest(np.array([0.1, -np.inf], np.float32), 3).tolist()
    [0]
    """
    count = min(count, int(np.count_nonzero(scores > -np.inf)))
    kept = np.argpartition(-scores, count)[:count] if count < len(scores) else np.arange(count)
    return kept[np.argsort(-scores[kept])]
