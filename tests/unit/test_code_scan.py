"""The scan over one-byte codes: equal to plain cosines of the codes, near those of the vectors, compiled or plain."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from wordframe.library._vector_index import CodedRows, best_cosines, to_codes

D = 40


@pytest.fixture(params=[True, False], ids=["compiled", "plain"])
def compiled(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def rows_of(codes: NDArray[np.int8], first: list[int]) -> CodedRows:
    return CodedRows(np.arange(len(first) - 1), np.array(first), codes)


def scanned(
    codes: NDArray[np.int8], first: list[int], query: NDArray[np.float32], compiled: bool
) -> NDArray[np.float32]:
    return best_cosines(rows_of(codes, first), query, compiled=compiled)


def test_a_case_by_hand(compiled: bool) -> None:
    codes = np.array([[3, 4, 0], [0, 0, 0], [0, 0, -9], [127, 0, 0]], np.int8)
    query = np.array([2.0, 0.0, 0.0], np.float32)  # its length does not count
    np.testing.assert_allclose(scanned(codes, [0, 1, 3, 4], query, compiled), [0.6, 0.0, 1.0], atol=1e-4)
    np.testing.assert_allclose(rows_of(codes, [0, 1, 3, 4]).inverse_lengths, [1 / 5, 0, 1 / 9, 1 / 127], rtol=1e-6)


def test_the_best_of_each_row_equals_plain_cosines(compiled: bool) -> None:
    chance = np.random.default_rng(0)
    codes = chance.integers(-127, 128, (10_000, D), dtype=np.int8)  # more than one chunk of the slower form
    first = [0, *np.sort(chance.choice(np.arange(1, 10_000), 4000, replace=False)).tolist(), 10_000]
    query = chance.standard_normal(D).astype(np.float32)
    exact = codes.astype(np.float64)
    cosines = exact @ query / np.linalg.norm(exact, axis=1) / np.linalg.norm(query)
    wanted = [cosines[a:b].max() for a, b in itertools.pairwise(first)]
    np.testing.assert_allclose(scanned(codes, first, query, compiled), wanted, atol=1e-4)


def test_sums_of_the_largest_numbers_do_not_overflow(compiled: bool) -> None:
    codes = np.full((1, 4096), 127, np.int8)
    np.testing.assert_allclose(scanned(codes, [0, 1], np.ones(4096, np.float32), compiled), [1.0], atol=2e-3)
    np.testing.assert_allclose(scanned(codes, [0, 1], -np.ones(4096, np.float32), compiled), [-1.0], atol=2e-3)


@pytest.mark.parametrize(("outlier", "allowed"), [(0.0, 0.0005), (5.0, 0.0007), (20.0, 0.0015), (50.0, 0.0015)])
def test_rounding_hardly_moves_a_cosine(outlier: float, allowed: float, compiled: bool) -> None:
    chance = np.random.default_rng(1)
    vectors = chance.standard_normal((200, 512)).astype(np.float32)
    query = chance.standard_normal(512).astype(np.float32)
    for x in (vectors.T, query):
        x[7] += outlier  # encoders have such dimensions, and they make the steps coarse
    cosines = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
    found = scanned(to_codes(vectors), list(range(201)), query, compiled)
    assert np.std(found - cosines) < allowed
    assert np.abs(found - cosines).max() < 5 * allowed


def test_a_query_of_another_length_is_refused(compiled: bool) -> None:
    with pytest.raises(ValueError, match=r"query must have the shape \(3,\) of one code, got \(2,\)"):
        scanned(np.ones((1, 3), np.int8), [0, 1], np.ones(2, np.float32), compiled)
