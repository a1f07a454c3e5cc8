"""DRL's token-wise interaction: by hand, against the equations in numpy, the loop, gradients, masks, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from tests.unit.test_fused import D, calls, mixed, random_features
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.heads import WeightedTokenSimilarity

__all__ = ["calls"]


def head() -> WeightedTokenSimilarity:
    return mixed(WeightedTokenSimilarity(dimension=D), seed=3)


def test_by_hand() -> None:
    """Cosines 0.6 and 0.8 of two words with one frame; the second word weighs three times the first."""
    model = WeightedTokenSimilarity(dimension=2)
    for mlp in (model.of_words, model.of_frames):
        nn.init.eye_(mlp[0].weight)
        nn.init.zeros_(mlp[2].weight)
    words = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    text = TextFeatures(torch.zeros(1, 2), words, torch.ones(1, 2, dtype=torch.bool))
    frames = torch.tensor([[[3.0, 4.0]]])
    video = VideoFeatures(frames, frames, torch.ones(1, 1, dtype=torch.bool))
    assert model(text, video).logits.item() == pytest.approx(100 * ((0.6 + 0.8) / 2 + 0.8) / 2)
    with torch.no_grad():
        model.of_words[2].weight[0, 1] = math.log(3)
        for method in model.methods:
            found = model(text, video, method=method).logits.item()
            assert found == pytest.approx(100 * ((0.6 + 3 * 0.8) / 4 + 0.8) / 2, abs=1e-4)


def weights(mlp: nn.Sequential, tokens: NDArray[np.float64]) -> NDArray[np.float64]:
    first, last = mlp[0], mlp[2]
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    hidden = np.maximum(tokens @ first.weight.detach().numpy().T + first.bias.detach().numpy(), 0)
    logits = hidden @ last.weight.detach().numpy()[0] + last.bias.detach().numpy()
    made: NDArray[np.float64] = np.exp(logits) / np.exp(logits).sum()
    return made


def test_equals_the_equations() -> None:
    model = head().double()
    with torch.no_grad():
        model.logit_scale.fill_(1.0)
    text, video = random_features(4, 5, 6, 5, 0, prefix=False)
    text, video = text.to(dtype=torch.float64), video.to(dtype=torch.float64)
    output = model(text, video)
    for t in range(4):
        for v in range(5):
            words = text.words[t][text.word_mask[t]].numpy()
            frames = video.contextual[v][video.frame_mask[v]].numpy()  # the contextual ones, not the encoder's
            best = {"word": [-np.inf] * len(frames), "frame": [-np.inf] * len(words)}
            for i, word in enumerate(words):
                for j, frame in enumerate(frames):
                    cosine = word @ frame / np.sqrt((word @ word) * (frame @ frame))
                    best["frame"][i] = max(best["frame"][i], cosine)
                    best["word"][j] = max(best["word"][j], cosine)
            score = weights(model.of_words, words) @ best["frame"] + weights(model.of_frames, frames) @ best["word"]
            assert output.logits[t, v].item() == pytest.approx(np.e * score / 2, abs=1e-9)
    assert output.parts["frame_word"].equal(output.logits)


@torch.no_grad()
@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (5, 37, 6, 5), (3, 16, 9, 12)], ids=str)
def test_the_loop_gives_the_plain_numbers(shape: tuple[int, int, int, int], prefix: bool, calls: list[str]) -> None:
    model = head()
    text, video = random_features(*shape, 1, prefix=prefix)
    expected = model(text, video, method="plain").logits
    for some in (video, model.precompute(video)):
        torch.testing.assert_close(model(text, some).logits, expected, atol=1e-4, rtol=0)
    rows = torch.arange(shape[1]).flip(0)
    torch.testing.assert_close(model(text, model.precompute(video)[rows]).logits, expected[:, rows], atol=1e-4, rtol=0)
    assert set(calls) == {"wti"}


def test_gradients_reach_both_weights_and_are_numerically_right() -> None:
    model = WeightedTokenSimilarity(dimension=3).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)).to(parameter))
        model.logit_scale.fill_(0.5)
    g = torch.Generator().manual_seed(2)
    words = torch.randn(2, 3, 3, generator=g).double().requires_grad_()
    frames = torch.randn(2, 2, 3, generator=g).double().requires_grad_()
    mask = torch.tensor([[True, True, True], [True, False, False]])

    def score(words: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        text = TextFeatures(words[:, 0], words, mask)
        return model(text, VideoFeatures(frames, frames, torch.tensor([[True, True], [True, False]]))).logits

    assert torch.autograd.gradcheck(score, (words, frames))
    score(words, frames).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert words.grad is not None
    assert words.grad[1, 1:].eq(0).all()


@torch.no_grad()
@pytest.mark.parametrize("method", ["fused", "plain"])
def test_padding_and_sentences_change_nothing(method: str) -> None:
    model = head()
    text, video = random_features(4, 6, 5, 4, 3)
    expected = model(text, video, method=method).logits
    nothing = float("nan")
    words = text.words.masked_fill(~text.word_mask[..., None], nothing)
    frames = video.contextual.masked_fill(~video.frame_mask[..., None], nothing)
    other = TextFeatures(torch.full_like(text.sentence, nothing), words, text.word_mask)
    found = model(other, VideoFeatures(frames, frames, video.frame_mask), method=method).logits
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("method", ["fused", "plain"])
def test_a_padded_frame_does_not_win_where_all_cosines_are_negative(method: str) -> None:
    model = WeightedTokenSimilarity(dimension=2)
    words, frames = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]), torch.tensor([[[-1.0, 0.0], [0.0, 0.0]]])
    text = TextFeatures(words[:, 0], words, torch.tensor([[True, False]]))
    video = VideoFeatures(frames, frames, torch.tensor([[True, False]]))
    assert model(text, video, method=method).logits.item() == pytest.approx(-100)


@torch.no_grad()
def test_a_broken_video_or_word_stays_visible() -> None:
    model, (text, video) = head(), random_features(3, 20, 4, 5, 5)
    text.words[1, 0, 0] = video.contextual[7, 0, 0] = float("nan")
    broken = model(text, video).logits.isnan()
    assert broken[1].all()
    assert broken[:, 7].all()
    assert broken.sum() == 20 + 3 - 1


def test_what_is_refused() -> None:
    text, video = random_features(2, 2, 2, 3, 6)
    with pytest.raises(ValueError, match="text 0 has nothing real"):
        head()(TextFeatures(text.sentence, text.words, torch.zeros_like(text.word_mask)), video)
    with pytest.raises(ValueError, match="method='span' is not there for WeightedTokenSimilarity"):
        head()(text, video, method="span")
