"""Losses by hand, and their refusals."""

from __future__ import annotations

import math
import statistics

import pytest
import torch

from wordframe.losses import contrastive, decorrelation


def test_contrastive_by_hand() -> None:
    logits = torch.tensor([[2.0, 0.0], [1.0, 3.0]])
    rows = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-2))) / 2
    columns = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-3))) / 2
    assert contrastive(logits).item() == pytest.approx((rows + columns) / 2)


def test_decorrelation_is_the_mean_unbiased_variance_of_matching_pairs() -> None:
    torch.manual_seed(0)
    parts = {name: torch.randn(3, 3) for name in ("video_sentence", "video_word", "sentence_frame", "frame_word")}
    expected = statistics.fmean(statistics.variance(part[i, i].item() for part in parts.values()) for i in range(3))
    assert decorrelation(parts).item() == pytest.approx(expected, rel=1e-5)


def test_sums_are_made_in_float32() -> None:
    logits = torch.randn(4, 4)
    assert contrastive(logits.bfloat16()).dtype == torch.float32
    assert decorrelation({"video_word": logits.bfloat16(), "frame_word": logits}).dtype == torch.float32
    assert contrastive(logits.double()).dtype == torch.float64


@pytest.mark.parametrize("shape", [(2, 3), (4,), (0, 0)])
def test_logits_that_are_not_square_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must be square \(N, N\), row i matching column i, got shape"):
        contrastive(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"must be square \(N, N\), row i matching column i, got shape"):
        decorrelation({"video_word": torch.zeros(shape), "frame_word": torch.zeros(shape)})


def test_decorrelation_needs_two_parts() -> None:
    with pytest.raises(ValueError, match=r"at least 2 similarities, got 0; this loss needs X-CLIP or TC-MGC"):
        decorrelation({})
