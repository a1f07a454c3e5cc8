"""Permutations of what was measured, under "no difference": swaps of the two sides, and runs dealt out anew.

Neighbours: ``compare.py`` and ``paired_values.py`` ask.
Axes: ``S`` runs of a side, ``K`` numbers of a run, ``Q`` queries, ``G`` clusters of queries, ``B`` draws.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_BLOCK_NUMBERS = 4_000_000
"""Of one block of draws: 32 MB, however many queries there are."""
_MAX_DEALS = 100_000
_SIDES = np.array([1.0, -1.0])
_ROUNDING = 1e-9
"""Sums of the same numbers in another order must count as equal."""


def cluster_sums(values: NDArray[np.float64], group: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum of the values of each cluster, ``(Q,)`` into ``(G,)``."""
    found: NDArray[np.float64] = np.bincount(group, weights=values).astype(np.float64)
    return found


def sign_flips(differences: NDArray[np.float64], samples: int, seed: int) -> float:
    """p-value of a sum of ``differences (G,)`` under random signs; exact where all signs are at most ``samples``."""
    moving = differences[np.abs(differences) > _ROUNDING]
    if not moving.size:
        return 1.0
    # clusters that do not differ are the same under either sign: leaving them out makes "all ways" reachable more often
    observed = abs(moving.sum()) - _ROUNDING * moving.size
    exact = 2.0**moving.size <= samples
    extreme = sum(
        int((np.abs(signs @ moving) >= observed).sum()) for signs in _signs(moving.size, samples, exact, seed)
    )
    return extreme / 2**moving.size if exact else (1 + extreme) / (1 + samples)


def _signs(count: int, samples: int, exact: bool, seed: int) -> Iterator[NDArray[np.float64]]:
    """Blocks ``(B, count)`` of signs: all of them if ``exact``, else ``samples`` random rows."""
    if exact:
        yield np.array(list(itertools.product((1.0, -1.0), repeat=count)), dtype=np.float64)
        return
    random = np.random.default_rng(seed)
    block = max(1, _BLOCK_NUMBERS // count)
    for start in range(0, samples, block):
        rows = min(block, samples - start)
        yield random.choice(_SIDES, size=(rows, count))


def dealt_out(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """p-values ``(K,)`` of the difference between the means of numbers ``(S, K)`` of two sides' runs."""
    values = np.concatenate([first, second])  # (S1 + S2, K)
    chosen, exact = _deals(len(first), len(second))  # (N, S1 + S2)
    observed = np.abs(second.mean(axis=0) - first.mean(axis=0))  # (K,)
    dealt = np.abs((1.0 - chosen) @ values / len(second) - chosen @ values / len(first))  # (N, K)
    extreme = (dealt >= observed - _ROUNDING).sum(axis=0)
    shares: NDArray[np.float64] = extreme / len(chosen) if exact else (1 + extreme) / (1 + len(chosen))
    return shares


def _deals(first: int, second: int) -> tuple[NDArray[np.float64], bool]:
    """``(N, first + second)``, 1 for the runs that become first; and whether these are all ways."""
    total = first + second
    exact = math.comb(total, first) <= _MAX_DEALS
    if exact:
        ways = np.array(list(itertools.combinations(range(total), first)))
    else:
        ways = np.argsort(np.random.default_rng(0).random((_MAX_DEALS, total)), axis=1)[:, :first]
    chosen = np.zeros((len(ways), total))
    np.put_along_axis(chosen, ways, 1.0, axis=1)
    return chosen, exact


def smallest_p(first: int, second: int) -> float:
    """The least p that dealing out so many runs can give.

    >>> smallest_p(5, 5)
    0.007936507936507936
    """
    return (2 if first == second else 1) / math.comb(first + second, first)
