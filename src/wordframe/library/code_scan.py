"""Cosines of one query with many vectors of one byte a number: the best of each row's vectors.

Two forms with the same numbers: torch turns some codes at a time into floats and multiplies; a compiled loop over whole
numbers runs as fast as memory gives the codes, five times as fast, once numba is loaded, which takes half a second.
Neighbour: ``vector_index.py`` holds the codes and chooses.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

_QUERY_LENGTH = 16_384
"""Length of the query in whole numbers: fine enough, and no sum over ``D`` bytes with it leaves 32 bits (D < 10⁶)."""
_CODES_AT_ONCE = 2048  # as floats they stay in the processor's cache


def inverse_lengths(codes: NDArray[np.int8]) -> NDArray[np.float32]:
    """``1 / |code|`` of each of ``(M, D)``; 0 for a code without direction."""
    lengths = np.empty(len(codes), np.float32)
    for some in _chunks(len(codes)):
        lengths[some] = torch.from_numpy(codes[some]).float().norm(dim=1).numpy()
    return np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)


def best_cosines(
    codes: NDArray[np.int8],
    first: NDArray[np.int64],
    inverse: NDArray[np.float32],
    query: NDArray[np.float32],
    *,
    compiled: bool,
) -> NDArray[np.float32]:
    """The largest cosine of ``query (D,)`` with the codes ``[first[n], first[n + 1])`` of ``(M, D)``: ``(N,)``.

    Args:
        inverse: ``inverse_lengths(codes)``.
        compiled: by the compiled loop.

    Raises:
        ValueError: the query is not as long as a code.
    """
    if query.shape != codes.shape[1:]:
        raise ValueError(f"query must have the shape {codes.shape[1:]} of one code, got {query.shape}")
    direction = query / max(float(np.linalg.norm(query)), 1e-12)
    if compiled:
        from wordframe.library.code_kernels import best_products

        best = np.empty(len(first) - 1, np.float32)
        best_products(codes, first, inverse, np.rint(_QUERY_LENGTH * direction).astype(np.int16), best)
        best /= _QUERY_LENGTH
        return best
    cosines = np.empty(len(codes), np.float32)
    for some in _chunks(len(codes)):
        cosines[some] = (torch.from_numpy(codes[some]).float() @ torch.from_numpy(direction)).numpy()
    return np.maximum.reduceat(cosines * inverse, first[:-1])


def _chunks(count: int) -> Iterator[slice]:
    return (slice(start, start + _CODES_AT_ONCE) for start in range(0, count, _CODES_AT_ONCE))
