"""X-Pool: by hand, against the equations written in numpy, every way of scoring, gradients, masks, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.unit.test_fused import D, calls, mixed, random_features
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.heads import PoolingSimilarity

__all__ = ["calls"]

Array = NDArray[np.float64]


def head(**options: Any) -> PoolingSimilarity:
    return mixed(PoolingSimilarity(dimension=D, **options), seed=3)


def array(x: torch.Tensor) -> Array:
    made: Array = x.detach().double().numpy()
    return made


def norm(x: Array, weights: torch.nn.LayerNorm) -> Array:
    centred = x - x.mean()
    return centred / np.sqrt((centred**2).mean() + 1e-5) * array(weights.weight) + array(weights.bias)


def linear(x: Array, weights: Any) -> Array:
    return array(weights.weight) @ x + array(weights.bias)


def pooled(lva: Any, t: Array, frames: list[Array]) -> Array:
    """``z`` of the paper for one sentence and the real frames of one video, head by head."""
    size = len(t) // lva.heads
    q = linear(norm(t, lva.norm1), lva.query)
    keys = [linear(norm(f, lva.norm1), lva.key) for f in frames]
    values = [linear(norm(f, lva.norm1), lva.value) for f in frames]
    mixed_values = np.zeros(len(t))
    for first in range(0, len(t), size):
        at = slice(first, first + size)
        logits = np.array([q[at] @ key[at] / np.sqrt(size) for key in keys])
        weights = np.exp(logits) / np.exp(logits).sum()
        mixed_values[at] = sum(w * value[at] for w, value in zip(weights, values, strict=True))
    r = norm(linear(mixed_values, lva.out), lva.norm2)
    return norm(linear(r, lva.linear) + r, lva.norm3)


def test_by_hand() -> None:
    """LayerNorm of two numbers is (1, −1) or (−1, 1): each sentence finds the frame that leans its way."""
    model = PoolingSimilarity(dimension=2).eval()
    real = torch.ones(2, 1, dtype=torch.bool)
    text = TextFeatures(torch.tensor([[200.0, 0.0], [0.0, 200.0]]), torch.zeros(2, 1, 2), real)
    frames = torch.tensor([[[300.0, 100.0], [100.0, 300.0]], [[300.0, 100.0], [300.0, 100.0]]])
    video = VideoFeatures(frames, frames, torch.ones(2, 2, dtype=torch.bool))
    half = 100 / 2**0.5
    expected = torch.tensor([[half, half], [half, -half]])
    for method in model.methods:
        torch.testing.assert_close(model(text, video, method=method).logits, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("heads", [1, 2])
def test_equals_the_equations(heads: int) -> None:
    model = head(heads=heads)
    with torch.no_grad():
        model.logit_scale.fill_(1.0)
    text, video = random_features(4, 5, 3, 6, 0)
    output = model.double()(text.to(dtype=torch.float64), video.to(dtype=torch.float64), method="plain")
    for t in range(4):
        for v in range(5):
            sentence = array(text.sentence[t])
            z = pooled(model.attention, sentence, [array(f) for f in video.contextual[v][video.frame_mask[v]]])
            cosine = sentence @ z / np.linalg.norm(sentence) / np.linalg.norm(z)
            assert output.logits[t, v].item() == pytest.approx(np.e * cosine, abs=1e-6)
    assert output.parts["video_sentence"].equal(output.logits)


@pytest.mark.parametrize("options", [{}, {"heads": 2}, {"heads": 4}], ids=str)
def test_every_way_of_scoring_gives_the_same(options: dict[str, Any], calls: list[str]) -> None:
    model = head(**options)
    text, video = random_features(5, 37, 6, 5, 1, prefix=False)
    expected = model(text, video, method="plain").logits
    torch.testing.assert_close(model(text, video).logits, expected, atol=1e-3, rtol=0)  # with gradients: tensors
    assert not calls
    with torch.no_grad():
        kept = model.statistics(video)
        for some in (video, model.precompute(video), model.precompute(video, kept)):
            torch.testing.assert_close(model(text, some).logits, expected, atol=1e-3, rtol=0)
    assert set(calls) == {"xpool"}


def test_gradients_are_those_of_the_plain_form() -> None:
    model = head(heads=2, dropout=0.0).double().train()
    text, video = random_features(4, 3, 6, 5, 2)
    found = []
    for method in model.methods:
        sentence = text.sentence.double().requires_grad_()
        frames = video.frames.double().requires_grad_()
        model.zero_grad()
        output = model(
            TextFeatures(sentence, text.words.double(), text.word_mask),
            VideoFeatures(frames, frames, video.frame_mask),
            method=method,
        )
        (output.logits**2).sum().backward()
        found.append([sentence.grad, frames.grad, *(p.grad for _, p in model.named_parameters())])
    for spanned, plain in zip(*found, strict=True):
        torch.testing.assert_close(spanned, plain, rtol=1e-7, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("method", ["span", "plain"])
def test_padding_and_words_change_nothing(method: str) -> None:
    model = head()
    text, video = random_features(3, 6, 4, 5, 3)
    expected = model(text, video, method=method).logits
    frames = video.frames.masked_fill(~video.frame_mask[..., None], float("nan"))
    other = TextFeatures(text.sentence, torch.full_like(text.words, float("nan")), text.word_mask)
    torch.testing.assert_close(
        model(other, VideoFeatures(frames, video.contextual, video.frame_mask), method=method).logits, expected
    )
    contextual = video.contextual.masked_fill(~video.frame_mask[..., None], 1e4)
    grown = torch.cat([contextual, torch.full((6, 3, D), 7.0)], dim=1)
    mask = torch.cat([video.frame_mask, torch.zeros(6, 3, dtype=torch.bool)], dim=1)
    found = model(text, VideoFeatures(grown, grown, mask), method=method).logits
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_dropout_is_one_mask_a_video_or_a_fresh_one_an_element() -> None:
    text, video = random_features(3, 4, 2, 5, 4)
    by_video = head(dropout=0.5).train()
    torch.manual_seed(0)
    plain = by_video(text, video, method="plain").logits
    torch.manual_seed(0)
    torch.testing.assert_close(by_video(text, video).logits, plain, atol=1e-3, rtol=0)
    by_element = head(dropout=0.5, dropout_mode="element").train()
    torch.manual_seed(0)
    first = by_element(text, video).logits  # plain, since it leaves the span
    torch.manual_seed(0)
    assert torch.equal(by_element(text, video, method="plain").logits, first)
    with pytest.raises(ValueError, match="method='span' has no dropout by the element"):
        by_element(text, video, method="span")


@torch.no_grad()
def test_a_broken_video_or_sentence_stays_visible() -> None:
    model, (text, video) = head(), random_features(3, 20, 2, 5, 5)
    text.sentence[1, 0] = video.contextual[7, 0, 0] = float("nan")
    broken = model(text, video).logits.isnan()
    assert broken[1].all()
    assert broken[:, 7].all()
    assert broken.sum() == 20 + 3 - 1


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="heads=3 does not divide dimension=16"):
        PoolingSimilarity(dimension=16, heads=3)
    text, video = random_features(2, 2, 2, 3, 6)
    empty = VideoFeatures(video.frames, video.contextual, torch.zeros_like(video.frame_mask))
    with pytest.raises(ValueError, match="video 0 has nothing real"):
        head()(text, empty)
