"""ISA, Bi-ISA and LSA: by hand, against plain loops over the present block, finite gradients for absent rows."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from wordframe.heads.base import masked_softmax
from wordframe.heads.tcmgc.aggregation import (
    BidirectionalAggregation,
    InteractiveAggregation,
    LinearSoftmaxAggregation,
)


def isa(x: Tensor, matrix: Tensor, softmax_lambda: float) -> Tensor:
    first = (softmax_lambda * x).softmax(0)
    second = (softmax_lambda * (first @ matrix[: len(x), : len(x)])).softmax(0)
    return second @ x


def test_isa_by_hand() -> None:
    module = InteractiveAggregation(size=2, softmax_lambda=1.0)
    with torch.no_grad():
        module.matrix.copy_(torch.tensor([[0.0, 2.0], [1.0, 0.0]]))
    x = torch.tensor([math.log(3.0), 0.0])  # first softmax: (3/4, 1/4); times M: (1/4, 3/2)
    a, b = math.exp(0.25), math.exp(1.5)
    torch.testing.assert_close(module(x, torch.tensor([True, True])), torch.tensor(a / (a + b) * math.log(3.0)))


@pytest.mark.parametrize("real", [1, 2, 4])
def test_isa_uses_the_top_left_block_of_the_present_ranks(real: int) -> None:
    torch.manual_seed(real)
    module = InteractiveAggregation(size=4, softmax_lambda=3.0)
    torch.nn.init.normal_(module.matrix)
    present = torch.arange(4) < real
    x = torch.randn(5, 4).masked_fill(~present, 0.0)
    expected = torch.stack([isa(row[:real], module.matrix, 3.0) for row in x])
    torch.testing.assert_close(module(x, present), expected)


@pytest.mark.parametrize("real", [1, 2, 3])
def test_bi_isa_equals_slow_plain_version(real: int) -> None:
    torch.manual_seed(real)
    module = BidirectionalAggregation(size=3, softmax_lambda=2.0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    present = torch.arange(3) < real
    x = torch.randn(3, 3).masked_fill(~(present[:, None] & present), 0.0)
    block = x[:real, :real]
    of_frames = torch.stack([isa(block[:, f], module.words_first.matrix, 2.0) for f in range(real)])
    of_words = torch.stack([isa(block[w], module.frames_first.matrix, 2.0) for w in range(real)])
    expected = isa(of_frames, module.frames_second.matrix, 2.0) + isa(of_words, module.words_second.matrix, 2.0)
    torch.testing.assert_close(module(x, present), expected / 2)


def test_lsa_by_hand() -> None:
    module = LinearSoftmaxAggregation(parts=2)
    with torch.no_grad():
        module.matrix.copy_(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    z = torch.tensor([[[2.0, 5.0]]])  # z L = (0, 2)
    e = math.exp(2.0)
    torch.testing.assert_close(module.weights(z), torch.tensor([[[1 / (1 + e), e / (1 + e)]]]))
    torch.testing.assert_close(module(z), torch.tensor([[(2 + 5 * e) / (1 + e)]]))


def test_matrices_start_as_the_identity() -> None:
    for module in (
        InteractiveAggregation(size=3, softmax_lambda=1.0),
        BidirectionalAggregation(size=3, softmax_lambda=1.0),
        LinearSoftmaxAggregation(parts=3),
    ):
        for parameter in module.parameters():
            assert torch.equal(parameter, torch.eye(3))


def test_a_row_without_present_entries_has_finite_gradients() -> None:
    x = torch.randn(2, 3, requires_grad=True)
    weights = masked_softmax(x, torch.tensor([[True, True, False], [False, False, False]]))
    weights.masked_fill(torch.tensor([[False], [True]]), 0.0).square().sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert (x.grad[1] == 0).all()
