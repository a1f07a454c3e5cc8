"""The videos' side of the compiled loop: frames and statistics, kept and given back, and bfloat16 products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.unit.test_fused import close, conditioned_head, grained_head, random_features
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.heads import PooledSimilarity, TextConditionedSimilarity, _fused
from wordframe.heads.tcmgc.span import (
    looked_for,
    pulled_back,
    shared_rows,
    shared_statistics,
    span_statistics,
    video_span,
)

KINDS: list[dict[str, Any]] = [
    {},
    {"heads": 2},
    {"projections": True},
    {"heads": 4, "projections": True},
    {"heads": 2, "mask_padding": False},
    {"keep_rate": 1.0, "mask_padding": False, "projections": True},
]


def head(**options: Any) -> TextConditionedSimilarity:
    made = conditioned_head(**options)
    assert isinstance(made, TextConditionedSimilarity)
    return made


@torch.no_grad()
@pytest.mark.parametrize("options", KINDS, ids=str)
def test_kept_statistics_give_the_scores_of_the_plain_form(options: dict[str, Any]) -> None:
    model = head(**options)
    text, video = random_features(4, 37, 7, 5, 0)
    statistics = model.statistics(video)
    expected = model(text, video, method="plain")
    close(model(text, model.precompute(video, statistics)), expected)
    rows = torch.tensor([36, 3, 20])
    some = model.precompute(video[rows], [statistics[row] for row in rows.tolist()])
    torch.testing.assert_close(model(text, some).logits, expected.logits[:, rows], atol=1e-3, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("options", [{}, {"heads": 2}, {"heads": 4, "projections": True}], ids=str)
def test_statistics_do_not_depend_on_padding(options: dict[str, Any]) -> None:
    """A video kept alone, without its padding, goes among longer ones."""
    model, (_, video) = head(**options), random_features(3, 20, 6, 5, 1)
    together = model.statistics(video)
    for row, real in enumerate(video.frame_mask):
        alone = VideoFeatures(video.frames[[row]][:, real], video.contextual[[row]][:, real], real[real][None])
        np.testing.assert_allclose(model.statistics(alone)[0], together[row], rtol=1e-4, atol=1e-5)
    assert len({len(numbers) for numbers in together}) == len(set(video.frame_mask.sum(dim=1).tolist())) > 2


@torch.no_grad()
@pytest.mark.parametrize(
    "options", [{}, {"heads": 2}, {"projections": True}, {"heads": 4, "projections": True}], ids=str
)
def test_a_matrix_on_the_texts_side_does_what_the_basis_does(options: dict[str, Any]) -> None:
    """``x_i · (M w)``, summed with the attention's weights, against ``B_i · w`` of ``span.py``."""
    lva = head(**options).attention
    frames, words = torch.randn(3, 5, 16), torch.randn(7, 16)
    span, x = video_span(lva, frames), lva.norm1(frames)
    size = pulled_back(lva, words).shape[-1]

    def products(vectors: Tensor) -> Tensor:
        pieces = x.unflatten(-1, (-1, size)).expand(-1, -1, lva.heads, -1)
        return torch.einsum("nhd,vfhd->nvhf", vectors, pieces)

    weights = torch.rand(3, lva.heads, 5).softmax(dim=-1)
    shared = words @ shared_rows(lva).T  # (N, 2 or 3)
    mine = torch.einsum("nvhf,vhf->nv", products(pulled_back(lva, words)), weights) + shared.sum(dim=1, keepdim=True)
    c = torch.cat([weights.flatten(1), torch.ones(3, shared.shape[1])], dim=1)
    torch.testing.assert_close(mine, torch.einsum("vr,vrd,nd->nv", c, span.basis, words), atol=1e-4, rtol=1e-4)
    logits = torch.einsum("nhd,vfhd->nvhf", lva.to_query(words), lva.to_key(frames))
    found = products(looked_for(lva, words))
    torch.testing.assert_close(found.softmax(dim=-1), logits.softmax(dim=-1))
    torch.testing.assert_close(torch.from_numpy(shared_statistics(lva))[0], span.gram3[0, -1, -1])


@torch.no_grad()
def test_statistics_by_hand() -> None:
    """One frame (3, 1): LN1 makes (1, −1) of it, ``U`` is twice that, and there is no constant."""
    model = TextConditionedSimilarity(dimension=2, max_words=1, keep_rate=1.0).eval()
    found = span_statistics(model.attention, torch.tensor([[[3.0, 1.0]]]))
    torch.testing.assert_close(found, torch.tensor([[[1.0, 4.0, 8.0], [0.0, 0.0, 0.0]]]), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_statistics_of_other_frames_are_refused() -> None:
    model, (_, video) = head(), random_features(1, 3, 4, 5, 2)
    statistics = model.statistics(video)
    statistics[1] = np.zeros(12, np.float32)
    count = int(video.frame_mask[1].sum())
    with pytest.raises(
        ValueError, match=rf"statistics of video 1 are 12 numbers, its {count} frames need \d+; they were made of"
    ):
        model.precompute(video, statistics)


@torch.no_grad()
def test_a_similarity_without_statistics_says_so() -> None:
    _, video = random_features(1, 2, 4, 5, 3)
    assert not PooledSimilarity().keeps_statistics
    with pytest.raises(
        TypeError, match="PooledSimilarity has no statistics of videos to keep; look at keeps_statistics"
    ):
        PooledSimilarity().statistics(video)


@torch.no_grad()
def test_broken_statistics_stay_visible() -> None:
    model, (text, video) = head(), random_features(2, 3, 4, 5, 4)
    statistics = model.statistics(video)
    statistics[2] = np.full_like(statistics[2], np.nan)
    logits = model(text, model.precompute(video, statistics)).logits
    assert logits[:, 2].isnan().all()
    assert logits[:, :2].isfinite().all()


# Products in bfloat16 -------------------------------------------------------------------------------------------------


def published(keep_rate: float = 0.1) -> tuple[TextConditionedSimilarity, TextFeatures, VideoFeatures]:
    torch.manual_seed(0)
    model = TextConditionedSimilarity(dimension=512, max_words=32, keep_rate=keep_rate).eval()
    frames = torch.randn(40, 12, 512)
    words = frames[:6, :1] + 2 * torch.randn(6, 32, 512)
    text = TextFeatures(words.mean(dim=1), words, torch.ones(6, 32, dtype=torch.bool))
    return model, text, VideoFeatures(frames, frames, torch.ones(40, 12, dtype=torch.bool))


@torch.no_grad()
@pytest.mark.parametrize("keep_rate", [0.1, 0.5])
def test_bfloat16_products_err_by_tenths_of_a_logit(keep_rate: float) -> None:
    model, text, video = published(keep_rate)
    exact = model(text, video).logits
    model.products = "bfloat16"
    output = model(text, video)
    assert output.logits.dtype == torch.float32
    error = (output.logits - exact).abs()
    assert 0 < error.max() < 0.5
    assert error.mean() < 0.05


@torch.no_grad()
@pytest.mark.parametrize("make", [conditioned_head, grained_head], ids=["tcmgc", "xclip"])
def test_bfloat16_holds_for_videos_precomputed_since(make: Any) -> None:
    model, (text, video) = make(), random_features(3, 40, 6, 4, 5)
    exact, before = model(text, video), model.precompute(video)
    model.products = "bfloat16"
    assert torch.equal(model(text, before).logits, exact.logits)
    after = model.precompute(video)
    assert after.groups.frames.dtype == torch.bfloat16
    rounded = model(text, after)
    assert torch.equal(rounded.logits, model(text, video).logits)
    assert not torch.equal(rounded.logits, exact.logits)
    close(rounded, exact, 3.0)  # two digits of 100
    some = after[torch.tensor([39, 2, 2])]
    torch.testing.assert_close(model(text, some).logits, rounded.logits[:, [39, 2, 2]], atol=1e-4, rtol=0)
    model.products = "float32"
    assert torch.equal(model(text, video).logits, exact.logits)


@torch.no_grad()
def test_the_other_forms_stay_with_float32() -> None:
    model, (text, video) = conditioned_head(), random_features(3, 5, 6, 4, 6)
    expected = model(text, video, method="plain").logits
    model.products = "bfloat16"
    assert torch.equal(model(text, video, method="plain").logits, expected)


def test_products_that_are_not_there_are_refused() -> None:
    model = conditioned_head()
    with pytest.raises(
        ValueError, match="products='int8' is not there for TextConditionedSimilarity; use one of 'float3"
    ):
        model.products = "int8"
    with pytest.raises(ValueError, match=r"'bfloat16' is not there for PooledSimilarity; use one of 'float32'$"):
        PooledSimilarity().products = "bfloat16"
    assert model.products == "float32"


# Groups ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 16, 37])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_groups_hold_every_video_and_zeros_behind_the_last(count: int, dtype: torch.dtype) -> None:
    x = torch.randn(count, 3, 5).to(dtype)
    groups = -(-count // _fused.LANES)
    rows = torch.zeros(groups * _fused.LANES, 3, 5, dtype=dtype)
    rows[:count] = x
    by_group = rows.view(groups, _fused.LANES, 3, 5)
    assert torch.equal(_fused.in_groups(x), by_group.transpose(1, 2))
    assert torch.equal(_fused.in_lanes(x), by_group.permute(0, 2, 3, 1))
    assert _fused.in_lanes(x).is_contiguous()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pieces_are_joined_as_they_are(dtype: torch.dtype) -> None:
    pieces = [torch.randn(2, 3).to(dtype), torch.randn(1, 3).to(dtype)]
    assert torch.equal(_fused.join(pieces), torch.cat(pieces))
