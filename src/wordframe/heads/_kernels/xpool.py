"""X-Pool's similarity of a tile of texts and videos from products alone: nothing of size ``D``.

What ``heads/xpool.py`` writes as tensor operations (Gorti et al., arXiv 2203.15086), by the steps of TC-MGC's loop in
``tcmgc.py``: the attention of one sentence, its coefficients in the span of a video's frames, one product with them.

Axes: ``N`` texts, ``C`` groups of videos, ``H`` heads, ``F`` frames; the last axis is ``LANES`` videos.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wordframe.heads._kernels import LANES, compiled
from wordframe.heads._kernels.lanes import store
from wordframe.heads._kernels.tcmgc import PLAIN, attend, coefficients, cosine


@compiled
def score_tile(products: Any, fixed: Any, real: Any, statistics: Any, constants: Any, scale: Any, out: Any) -> None:
    """Logits, twice, ``out (2, N, C, lanes)``: they are the one part, too.

    products ``(N, 2, C, H · F, lanes)``: attention logits, and ``B w`` for the normalised sentences; fixed ``(N, 2,
    3)``: the same for the last rows of ``B``, which all videos share; the rest: ``tcmgc.py``.
    """
    rows = products.shape[3] + fixed.shape[2]  # the last two rows of B stand in no product with frames
    alpha = np.empty((rows - 2, LANES), np.float32)
    z = np.empty((1, rows, LANES), np.float32)
    for c in range(products.shape[2]):
        for n in range(len(products)):
            attend(products, n, c, real, alpha)
            coefficients(alpha, c, statistics, constants, z, 0)
            value = cosine(z, 0, products, PLAIN, fixed, n, c) * scale
            store(out, (0, n, c), value)
            store(out, (1, n, c), value)
