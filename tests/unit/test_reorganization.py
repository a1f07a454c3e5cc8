"""Similarity reorganization: by hand and against a slow plain version with lists, masked and short rows."""

from __future__ import annotations

import math

import pytest
import torch

from wordframe.heads.tcmgc.aggregation import (
    keep_largest,
    keep_largest_and_fuse,
    keep_largest_block,
    present_ranks,
)

ROW = torch.tensor([3.0, 9.0, 1.0, 4.0, 2.0])
SOME = torch.tensor([True, False, True, True, True])
ALL = torch.ones(5, dtype=torch.bool)


def test_keep_largest_by_hand() -> None:
    assert keep_largest(ROW, ALL, 3).tolist() == [9.0, 4.0, 3.0]
    assert keep_largest(ROW, SOME, 3).tolist() == [4.0, 3.0, 2.0]


def test_fewer_real_entries_than_k_leave_zeros_at_absent_ranks() -> None:
    two = torch.tensor([True, False, True, False, False])
    assert present_ranks(two, 3).tolist() == [True, True, False]
    assert keep_largest(ROW, two, 3).tolist() == [3.0, 1.0, 0.0]
    assert keep_largest(ROW[:2], ALL[:2], 4).tolist() == [9.0, 3.0, 0.0, 0.0]
    assert keep_largest_and_fuse(ROW[:2], ALL[:2], 4).tolist() == [9.0, 3.0, 0.0, 0.0, 0.0]


def test_negative_similarities_stay_negative() -> None:
    assert keep_largest(-ROW, SOME, 2).tolist() == [-1.0, -2.0]


def test_fused_entry_is_the_softmax_weighted_mean_of_the_rest_at_index_k() -> None:
    fused = (2 * math.exp(2) + 1 * math.exp(1)) / (math.exp(2) + math.exp(1))
    expected = torch.tensor([4.0, 3.0, fused])
    torch.testing.assert_close(keep_largest_and_fuse(ROW, SOME, 2), expected)


def test_keeping_all_fuses_an_empty_sum() -> None:
    assert keep_largest_and_fuse(ROW, ALL, 5).tolist() == [9.0, 4.0, 3.0, 2.0, 1.0, 0.0]


def test_block_by_hand() -> None:
    x = torch.tensor([[1.0, 8.0, 3.0], [6.0, 2.0, 5.0], [4.0, 7.0, 9.0]])
    # columns downwards: (6, 4), (8, 7), (9, 5); rows downwards of those: (9, 8), (7, 5)
    assert keep_largest_block(x, torch.ones(3, dtype=torch.bool), 2).tolist() == [[9.0, 8.0], [7.0, 5.0]]
    masked = torch.tensor([True, True, False])
    assert keep_largest_block(x, masked, 2).tolist() == [[8.0, 6.0], [2.0, 1.0]]
    assert keep_largest_block(x, torch.tensor([False, True, False]), 2).tolist() == [[2.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("k", [1, 3, 6])
def test_block_equals_slow_plain_version(k: int) -> None:
    torch.manual_seed(k)
    x, mask = torch.randn(4, 5, 5), torch.rand(4, 5) > 0.4
    mask[:, 0] = True
    actual = keep_largest_block(x, mask, k)
    for row in range(4):
        real = [i for i in range(5) if mask[row, i]]
        columns = [sorted((x[row, i, j].item() for i in real), reverse=True)[:k] for j in real]
        lines = [sorted((column[i] for column in columns), reverse=True)[:k] for i in range(min(k, len(real)))]
        expected = torch.zeros(k, k)
        for i, line in enumerate(lines):
            expected[i, : len(line)] = torch.tensor(line)
        torch.testing.assert_close(actual[row], expected)


def test_gradients_are_finite_and_stay_with_real_entries() -> None:
    x = torch.randn(2, 4, 4, requires_grad=True)
    mask = torch.tensor([[True, False, False, False], [True, True, True, False]])
    total = keep_largest_block(x, mask, 3).sum() + keep_largest_and_fuse(x[:, 0], mask, 2).sum()
    total.backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert (x.grad[0, 1:] == 0).all()
