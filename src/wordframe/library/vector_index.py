"""The index over vectors: one byte a number, held in memory, and every row compared with the query.

Nothing is trained and nothing is lost to partitions: rows added a moment ago are like all others, and a filter still
fills the shortlist. It reads half a kilobyte a vector of 512 numbers, at the speed of memory (``code_scan.py``).
Rounding moves a cosine by 0.0004 (standard deviation; 0.0013 where one number dwarfs the others), and candidates are
scored exactly afterwards. Partitions around centres were measured and lose: where scenes of one video differ, looking
into an eighth of them keeps 89 % of the exact answers among 100,000 segments, and this keeps 99 %
(``benchmarks/two_stage.py``). Neighbours: ``store.py``, whose snapshots it follows; ``code_scan.py``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wordframe.heads import in_threads, kernels
from wordframe.library.code_scan import best_cosines, inverse_lengths

BLOCK_ROWS = 32_768
PLAIN_BYTES = 2_000_000_000
_LARGEST = 127


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


@dataclass(frozen=True)
class _Block:
    rows: CodedRows

    @cached_property
    def inverse_lengths(self) -> NDArray[np.float32]:
        """Of its codes, found by the thread that first compares them."""
        return inverse_lengths(self.rows.codes)


class VectorIndex:
    """The index over ``column`` of a table: a row's codes, one or more of ``dimension`` bytes each.

    It answers for the snapshot that ``table`` is at, to one thread at a time. What a snapshot adds is read when the
    index is first asked about it.
    """

    def __init__(self, table: Any, column: str, dimension: int) -> None:
        self._table, self._column, self._dimension = table, column, dimension
        self._bytes_compared = 0
        self._forget()

    def _forget(self) -> None:
        self._version = -1
        self._blocks: list[_Block] = []
        self._row_ids = np.empty(0, np.int64)
        self._live = np.empty(0, bool)

    def nearest(self, query: NDArray[np.float32], limit: int, where: str | None = None) -> list[int]:
        """Ids of the ``limit`` rows with the largest cosine of any of their codes with ``query (D,)``, best first.

        Args:
            where: an SQL condition on rows.
        """
        self._follow()
        scores = self._scores(query)
        allowed = self._live if where is None else np.isin(self._row_ids, row_ids_of(self._table, where))
        scores[~allowed] = -np.inf
        best: list[int] = self._row_ids[largest(scores, limit)].tolist()
        return best

    def _follow(self) -> None:
        """Hold the rows of the table's snapshot: read those that are new, or all if that is more than half."""
        version = int(self._table.version)
        if version == self._version:
            return
        live = row_ids_of(self._table)
        kept = int(np.isin(self._row_ids, live).sum())
        if 2 * kept < max(len(self._row_ids), len(live)):
            self._forget()  # before memory is taken for what comes in its place
            self._blocks = list(_in_blocks(self._read()))
        elif kept < len(live):
            new = self._read(np.setdiff1d(live, self._row_ids))
            *full, last = self._blocks
            self._blocks = [*full, *_in_blocks(itertools.chain([last.rows], new))]
        self._row_ids = np.concatenate([np.empty(0, np.int64), *(block.rows.row_ids for block in self._blocks)])
        self._live = np.isin(self._row_ids, live)
        self._version = version

    def _read(self, row_ids: NDArray[np.int64] | None = None) -> Iterator[CodedRows]:
        """The codes of these rows, or of all, batch by batch and without a copy."""
        if row_ids is None:
            batches = self._table.search().select([self._column]).with_row_id(True).to_batches()
        else:
            found = self._table.take_row_ids(row_ids.tolist()).select([self._column]).with_row_id().to_arrow()
            batches = found.to_batches()
        for batch in batches:
            cells = batch[self._column]
            ends = np.frombuffer(cells.buffers()[1], np.int32)[cells.offset : cells.offset + len(cells) + 1]
            codes = np.frombuffer(cells.buffers()[2], np.int8)[ends[0] : ends[-1]].reshape(-1, self._dimension)
            yield CodedRows(batch["_rowid"].to_numpy().astype(np.int64), (ends - ends[0]) // self._dimension, codes)

    def _scores(self, query: NDArray[np.float32]) -> NDArray[np.float32]:
        """The best cosine of each row, ``(N,)``."""
        scores = np.empty(len(self._row_ids), np.float32)
        ends = np.cumsum([len(block.rows.row_ids) for block in self._blocks])
        compiled = self._pays_to_compile()

        def fill(number: int) -> None:
            block, rows = self._blocks[number], self._blocks[number].rows
            found = best_cosines(rows.codes, rows.first, block.inverse_lengths, query, compiled=compiled)
            scores[ends[number] - len(found) : ends[number]] = found

        in_threads(fill, range(len(self._blocks)))
        self._bytes_compared += sum(block.rows.codes.nbytes for block in self._blocks)
        return scores

    def _pays_to_compile(self) -> bool:
        """Once the plain form has taken as long as numba takes to load: one search alone never waits for it."""
        return self._bytes_compared > PLAIN_BYTES and kernels.installed()


def row_ids_of(table: Any, where: str | None = None) -> NDArray[np.int64]:
    """The ids of all rows of a table, or of those that an SQL condition lets through."""
    query = table.search()
    if where is not None:
        query = query.where(where)
    rows: NDArray[np.int64] = query.select(["_rowid"]).to_arrow()["_rowid"].to_numpy().astype(np.int64)
    return rows


def _in_blocks(parts: Iterable[CodedRows]) -> Iterator[_Block]:
    """The rows of all parts in blocks of ``BLOCK_ROWS`` rows or a little more; the last one may be smaller."""
    waiting: list[CodedRows] = []
    for part in parts:
        waiting.append(part)
        if sum(len(rows.row_ids) for rows in waiting) >= BLOCK_ROWS:
            yield _Block(CodedRows.joined(waiting))
            waiting = []
    if waiting:
        yield _Block(CodedRows.joined(waiting))


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
