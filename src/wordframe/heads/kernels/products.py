"""Matrix products on CPU at the best rate there is, and work spread over torch's number of threads.

oneDNN's product runs at about twice the rate of the BLAS that ``torch.mm`` calls on some processors and never much
below it (benchmarks/scoring.py prints both); torch offers it for float32 tensors in oneDNN's layout, and for bfloat16
as they are. bfloat16 is summed in float32, but each result is rounded to bfloat16 before it comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

Item = TypeVar("Item")


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
