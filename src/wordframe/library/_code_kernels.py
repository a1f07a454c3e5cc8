"""The compiled loop of ``_vector_index.py``, over codes ``(M, D)`` of one byte a number.

Sums are whole numbers, so the compiler may take them in any order, many at once; numba would make them 64 bits wide
and half as fast, hence the casts. Importing this module imports numba.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wordframe.heads import compiled


@compiled
def best_products(
    codes: NDArray[np.int8],
    first: NDArray[np.int64],
    inverse: NDArray[np.float32],
    query: NDArray[np.int16],
    out: NDArray[np.float32],
) -> None:
    """``out[n]`` = the largest of ``(codes[m] · query) inverse[m]`` with ``first[n] <= m < first[n + 1]``."""
    for n in range(out.shape[0]):
        best = np.float32(-np.inf)
        for m in range(first[n], first[n + 1]):
            total = np.int32(0)
            for d in range(query.shape[0]):
                total = np.int32(total + np.int32(codes[m, d] * query[d]))
            best = max(best, np.float32(total) * inverse[m])
        out[n] = best
