"""T-MASS: by hand, against the equations in numpy, both forms, what training draws, the seed, masks, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.unit.test_fused import D, mixed, random_features
from tests.unit.test_xpool import array, pooled
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.heads import StochasticTextSimilarity
from wordframe.models import load_model

FRAMES = 6


def head(**options: Any) -> StochasticTextSimilarity:
    return mixed(StochasticTextSimilarity(dimension=D, max_frames=FRAMES, **options), seed=3)


def one_pair() -> tuple[StochasticTextSimilarity, TextFeatures, VideoFeatures]:
    """``t = (0, 1)`` and a frame whose LayerNorm is (1, −1): ``S = 1 / √10`` and ``R = (exp(S), 1)``."""
    model = StochasticTextSimilarity(dimension=2, max_frames=1, trials=2).eval()
    real = torch.ones(1, 1, dtype=torch.bool)
    frames = torch.tensor([[[300.0, 100.0]]])
    return (
        model,
        TextFeatures(torch.tensor([[0.0, 1.0]]), torch.ones(1, 1, 2), real),
        VideoFeatures(frames, frames, real),
    )


@torch.no_grad()
@pytest.mark.parametrize("method", ["span", "plain"])
def test_by_hand(method: str) -> None:
    model, text, video = one_pair()
    model.trial_noise.copy_(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
    x = 2 * np.exp(10**-0.5)  # the first text drawn is (x, 1), the second (0, 2), which looks away from (1, −1)
    expected = 100 * (x - 1) / np.sqrt(2) / np.sqrt(x**2 + 1)
    assert model(text, video, method=method).logits.item() == pytest.approx(expected, abs=0.01)
    model.trial_noise.zero_()
    assert model(text, video, method=method).logits.item() == pytest.approx(-100 / np.sqrt(2), abs=0.01)


def test_the_support_text_by_hand() -> None:
    """``t_sup = t + R (v − t) / |v − t|`` with ``v − t = (1, −2)``."""
    model, text, video = one_pair()
    _, ((weight, support),) = model.for_training(text, video, first=0)
    x, y = np.exp(10**-0.5) / np.sqrt(5), 1 - 2 / np.sqrt(5)
    assert weight == 0.8
    assert support.item() == pytest.approx(100 * (x - y) / np.sqrt(2) / np.hypot(x, y), abs=0.01)


def unit(x: NDArray[np.float64]) -> NDArray[np.float64]:
    made: NDArray[np.float64] = x / np.linalg.norm(x)
    return made


def radius(model: StochasticTextSimilarity, t: NDArray[np.float64], frames: list[NDArray[np.float64]]) -> Any:
    exponent = array(model.radius_of.bias).copy()
    for i, frame in enumerate(frames):
        exponent += (unit(t) @ unit(frame)) * array(model.radius_of.weight)[:, i]
    return np.exp(exponent)


@pytest.mark.parametrize("options", [{}, {"noise": "uniform"}, {"trials": 0, "heads": 2}, {"trials": 3}], ids=str)
def test_equals_the_equations(options: dict[str, Any]) -> None:
    model = head(**options)
    with torch.no_grad():
        model.logit_scale.fill_(1.0)
    text, video = random_features(4, 5, 2, FRAMES - 1, 0)
    output = model.double()(text.to(dtype=torch.float64), video.to(dtype=torch.float64), method="plain")
    for t in range(4):
        for v in range(5):
            sentence, real = array(text.sentence[t]), video.frame_mask[v]
            z = pooled(model.attention, sentence, [array(f) for f in video.contextual[v][real]])
            wide = radius(model, sentence, [array(f) for f in video.frames[v][real]])  # of the encoder's own frames
            drawn = [sentence + wide * noise for noise in array(model.trial_noise)]
            best = max(unit(one) @ unit(z) for one in drawn)
            assert output.logits[t, v].item() == pytest.approx(np.e * best, abs=1e-6)


@pytest.mark.parametrize("options", [{}, {"heads": 2, "trials": 0}, {"noise": "uniform", "trials": 3}], ids=str)
def test_the_span_gives_the_plain_numbers_and_gradients(options: dict[str, Any]) -> None:
    model = head(**options, dropout=0.0).train()
    text, video = random_features(4, 17, 3, 5, 1)
    plain = model(text, video, method="plain")
    torch.testing.assert_close(model(text, video).logits, plain.logits, atol=1e-3, rtol=0)
    model.max_block_mb = 0
    torch.testing.assert_close(model(text, video).logits, plain.logits, atol=1e-3, rtol=0)
    model.double()
    found = []
    for method in model.methods:
        model.zero_grad()
        output = model(text.to(dtype=torch.float64), video.to(dtype=torch.float64), method=method)
        (output.logits**2).sum().backward()
        found.append([parameter.grad for parameter in model.parameters()])
    for spanned, expected in zip(*found, strict=True):
        torch.testing.assert_close(spanned, expected, rtol=1e-6, atol=1e-5)


def test_training_draws_a_text_of_its_own_videos_mass() -> None:
    model = head(dropout=0.0).double().train()
    with torch.no_grad():
        model.logit_scale.fill_(1.0)
    text, video = random_features(3, 5, 2, 4, 2)
    text, video = text.to(dtype=torch.float64), video.to(dtype=torch.float64)
    torch.manual_seed(5)
    noise = torch.randn(3, D).double().numpy()
    torch.manual_seed(5)
    output, ((weight, support),) = model.for_training(text, video, first=1)
    assert weight == model.support_weight
    for t in range(3):
        sentence, own = array(text.sentence[t]), t + 1
        frames = [[array(f) for f in video.contextual[v][video.frame_mask[v]]] for v in range(5)]
        wide = radius(model, sentence, [array(f) for f in video.frames[own][video.frame_mask[own]]])
        z = [pooled(model.attention, sentence, some) for some in frames]
        drawn, surface = sentence + wide * noise[t], sentence + wide * unit(z[own] - sentence)
        for v in range(5):
            assert output.logits[t, v].item() == pytest.approx(np.e * (unit(drawn) @ unit(z[v])), abs=1e-6)
            assert support[t, v].item() == pytest.approx(np.e * (unit(surface) @ unit(z[v])), abs=1e-6)
    (output.logits.sum() + support.sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    again, _ = model.for_training(text, video, first=1)
    assert not torch.equal(again.logits, output.logits), "a new text is drawn each time"


@torch.no_grad()
def test_scoring_draws_nothing_and_stays_with_a_checkpoint(tmp_path: Path) -> None:
    torch.manual_seed(1)
    one = StochasticTextSimilarity(dimension=D, max_frames=FRAMES)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    other = StochasticTextSimilarity(dimension=D, max_frames=FRAMES, trials=30)
    assert torch.equal(one.trial_noise, other.trial_noise[:20]), "one seed, whatever the state of the random numbers"
    assert one.trial_noise.shape == (20, D)
    assert one.trial_noise.std().item() == pytest.approx(1, abs=0.15)
    text, video = random_features(3, 4, 2, FRAMES, 4)
    torch.set_rng_state(before)
    logits = one.eval()(text, video).logits
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one(text, video).logits, logits)
    model = load_model("tmass", dimension=D)
    model.similarity.trial_noise.add_(1)  # as if another version of torch had drawn it
    model.save(tmp_path)
    assert torch.equal(load_model(tmp_path).similarity.trial_noise, model.similarity.trial_noise)


@torch.no_grad()
@pytest.mark.parametrize("method", ["span", "plain"])
def test_padding_changes_nothing(method: str) -> None:
    model = head()
    text, video = random_features(3, 6, 2, 4, 5)
    expected = model(text, video, method=method).logits
    padded = [x.masked_fill(~video.frame_mask[..., None], float("nan")) for x in (video.frames, video.contextual)]
    grown = [torch.cat([x, torch.full((6, 2, D), float("nan"))], dim=1) for x in padded]
    mask = torch.cat([video.frame_mask, torch.zeros(6, 2, dtype=torch.bool)], dim=1)
    torch.testing.assert_close(
        model(text, VideoFeatures(*grown, mask), method=method).logits, expected, atol=1e-3, rtol=0
    )


def test_what_is_refused() -> None:
    text, video = random_features(2, 2, 2, FRAMES + 1, 6)
    told = r"7 frames exceed the 6 this model is made for \(max_frames=6\)"
    for method in ("span", "plain"):
        with pytest.raises(ValueError, match=told):
            head()(text, video, method=method)
    with pytest.raises(ValueError, match=told):
        head().for_training(text, video, first=0)
    with pytest.raises(ValueError, match="noise='gauss' is not allowed; use one of 'normal', 'uniform'"):
        head(noise="gauss")
    with pytest.raises(ValueError, match=r"trials=-1 and support_weight=0\.8 must be 0 or more"):
        head(trials=-1)
