"""Gradients of one batch: in chunks as at once, dropout and half precision included; shares of losses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from wordframe.data import FeatureBatch, PixelBatch
from wordframe.encoders import backbone_fingerprint
from wordframe.features import VideoFeatures
from wordframe.losses import contrastive, contrastive_share, decorrelation, decorrelation_share
from wordframe.models import TextVideoModel, load_model, refuse_other_features
from wordframe.train import build_model, dry_run_recipe, make_recipe, step
from wordframe.train.build import configure, train_mode
from wordframe.train.made_up import MadeUpFeatures, MadeUpPixels, tiny_clip
from wordframe.train.optim import make_optimizer, parameter_groups
from wordframe.train.step import backward, encode, loss_share, random_state, replayed, set_random_state

PAIRS = [0, 3, 5, 6, 9]


def prepared(*, pixels: bool, **values: Any) -> tuple[TextVideoModel, FeatureBatch | PixelBatch]:
    settings = {"preset": "tcmgc-msrvtt", "max_words": 10, "max_frames": 4, "layers": 2}
    backbone = {"name": "x", "gradient_checkpointing": values.pop("checkpointing", False)} if pixels else None
    recipe = make_recipe({"name": "x", "model": settings, "backbone": backbone, **values})
    model = build_model(recipe, dimension=None if pixels else 64, backbone=tiny_clip(recipe) if pixels else None)
    configure(model, recipe)
    train_mode(model)
    return model, (MadeUpPixels(recipe) if pixels else MadeUpFeatures(recipe)).batch(PAIRS)


def doubled(batch: FeatureBatch | PixelBatch) -> FeatureBatch | PixelBatch:
    names = ("pixels",) if isinstance(batch, PixelBatch) else ("sentence", "words", "frames")
    return replace(batch, **{name: getattr(batch, name).double() for name in names})


def gradients(model: TextVideoModel) -> dict[str, Tensor]:
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def assert_alike(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    assert found.keys() == expected.keys()
    largest = max(gradient.abs().max() for gradient in expected.values())
    for name, gradient in expected.items():
        assert (found[name] - gradient).abs().max() <= tolerance * largest, name


@pytest.mark.parametrize("chunk", [1, 2, 4])
@pytest.mark.parametrize("pixels", [False, True])
def test_chunks_have_the_gradients_of_the_whole_batch_with_its_dropout(pixels: bool, chunk: int) -> None:
    model, batch = prepared(pixels=pixels)
    model, batch = model.double(), doubled(batch)
    told = []
    for size in (None, chunk):
        torch.manual_seed(1)
        shares = backward(model, batch, sizes=[5], decorrelation=0.5, chunk=size, weight=0.25)
        told.append((shares, gradients(model), torch.get_rng_state()))
    (whole, expected, after), (found, in_chunks, after_chunks) = told
    assert torch.allclose(whole, found, rtol=1e-12)
    assert_alike(in_chunks, expected, 1e-10)
    assert torch.equal(after, after_chunks), "the generator went on from another place"
    assert (whole[0] - whole[1] - 0.5 * whole[2]).abs() < 1e-12
    torch.manual_seed(2)
    assert backward(model, batch, sizes=[5], decorrelation=0.5)[0] != whole[0], "dropout took place"


def test_chunks_encode_twice_with_one_dropout() -> None:
    class Dropping(nn.Module):
        """A temporal head that draws random numbers."""

        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(64, 64)

        def forward(self, frames: Tensor, frame_mask: Tensor) -> Tensor:
            return frames + nn.functional.dropout(self.linear(frames), 0.5, self.training)

    model, batch = prepared(pixels=False)
    model.temporal = Dropping()
    model, batch = model.double(), doubled(batch)
    torch.manual_seed(4)
    chunks = [encode(model, batch[start : start + 2]) for start in (0, 2, 4)]
    text = type(chunks[0][0])(
        *(torch.cat([getattr(t, n) for t, _ in chunks]) for n in ("sentence", "words", "word_mask"))
    )
    video = type(chunks[0][1])(
        *(torch.cat([getattr(v, n) for _, v in chunks]) for n in ("frames", "contextual", "frame_mask"))
    )
    loss_share(model, text, video, sizes=[5], decorrelation=0.5).total.backward()
    expected = gradients(model)
    torch.manual_seed(4)
    backward(model, batch, sizes=[5], decorrelation=0.5, chunk=2)
    assert expected["temporal.linear.weight"].any()
    assert_alike(gradients(model), expected, 1e-10)


def test_weighted_batches_add_up() -> None:
    model, batch = prepared(pixels=False)
    model.eval()
    backward(model, batch, sizes=[5], decorrelation=0.5)
    once = gradients(model)
    for _ in range(2):
        backward(model, batch, sizes=[5], decorrelation=0.5, weight=0.5)
    assert_alike(gradients(model), once, 1e-5)


def test_checkpointed_towers_have_the_same_gradients() -> None:
    found, calls = [], []
    for checkpointing in (False, True):
        model, batch = prepared(pixels=True, checkpointing=checkpointing)
        assert model.backbone is not None
        layers = [
            tower.encoder.layers[0].mlp
            for tower in (model.backbone.model.text_model, model.backbone.model.vision_model)
        ]
        counted: list[nn.Module] = []
        for layer in layers:
            layer.register_forward_pre_hook(lambda module, inputs, counted=counted: counted.append(module))
        torch.manual_seed(1)
        backward(model, batch, sizes=[5], decorrelation=0.5)
        found.append(gradients(model))
        calls.append(len(counted))
    assert calls == [2, 4], "each layer is computed again in the backward pass"
    assert_alike(found[1], found[0], 1e-5)


def test_half_precision_encodes_and_leaves_the_loss_in_full() -> None:
    model, batch = prepared(pixels=True)
    model.eval()
    text, video = encode(model, batch, bfloat16=True)
    assert text.words.dtype == video.contextual.dtype == torch.float32
    exact, _ = encode(model, batch)
    assert not torch.equal(text.words, exact.words)
    assert torch.allclose(text.words, exact.words, atol=0.05 * exact.words.abs().max().item())
    shares = backward(model, batch, sizes=[5], decorrelation=0.5, bfloat16=True)
    assert shares.dtype == torch.float32
    assert all(gradient.dtype == torch.float32 for gradient in gradients(model).values())


def test_a_frozen_backbone_gets_no_gradient() -> None:
    model, batch = prepared(pixels=True)
    recipe = make_recipe({"name": "x", "model": model.settings.to_dict(), "backbone": {"name": "x", "tuned": False}})
    configure(model, recipe)
    train_mode(model)
    assert model.backbone is not None
    assert not model.backbone.training
    for chunk in (None, 2):
        backward(model, batch, sizes=[5], decorrelation=0.5, chunk=chunk)
        found = gradients(model)
        assert "similarity.logit_scale" in found
        assert not any(name.startswith("backbone.") for name in found)


@pytest.mark.parametrize("family", ["clip4clip", "tcmgc"])
def test_a_frozen_clip_stays_the_one_whose_features_fit(family: str, tmp_path: Path) -> None:
    """Only the scale of the logits is trained; a library of this very CLIP must take the checkpoint."""
    rest = {"keep_rate": 0.5} if family == "tcmgc" else {}
    settings = {"family": family, "max_words": 10, "max_frames": 4, **rest}
    recipe = make_recipe({"name": "x", "model": settings, "backbone": {"name": "x", "tuned": False}})
    clip = tiny_clip(recipe)
    clip.logit_scale.data.fill_(2.0)
    untouched, model = backbone_fingerprint(clip), build_model(recipe, backbone=clip)
    configure(model, recipe)
    optimizer = make_optimizer(parameter_groups(model, recipe.optimizer), recipe.optimizer)
    before = model.scale
    backward(model, MadeUpPixels(recipe).batch(PAIRS), sizes=[5], decorrelation=0.0)
    optimizer.step()
    assert model.scale != before, "the scale is trained"
    model.save(tmp_path)
    loaded = load_model(tmp_path)
    refuse_other_features(loaded, "mine", encoder="clip", fingerprint=untouched, dimension=64, remedy="none")
    assert loaded.scale == model.scale
    assert loaded.fingerprint == model.fingerprint


def test_the_recipe_reaches_the_modules() -> None:
    model, _ = prepared(pixels=False, dropout_mode="element")
    assert model.similarity.attention.dropout_mode == "element"
    model, _ = prepared(pixels=False)
    assert model.similarity.attention.dropout_mode == "video"


def test_models_of_other_settings_are_refused() -> None:
    model, _ = prepared(pixels=False)
    with pytest.raises(ValueError, match="the model's settings are not those of the recipe"):
        configure(model, make_recipe({"name": "x", "model": "xclip"}))


def test_shares_sum_up_to_the_losses() -> None:
    logits = torch.randn(7, 7, dtype=torch.float64)
    parts = {name: torch.randn(7, 7, dtype=torch.float64) for name in ("video_sentence", "video_word", "frame_word")}
    places = [slice(0, 3), slice(3, 4), slice(4, 7)]
    shares = [contrastive_share(logits[at], logits[:, at], first=at.start) for at in places]
    assert sum(shares).item() == pytest.approx(contrastive(logits).item(), rel=1e-12)
    rows = [{name: part[at] for name, part in parts.items()} for at in places]
    apart = [decorrelation_share(some, first=at.start) for some, at in zip(rows, places, strict=True)]
    assert sum(apart).item() == pytest.approx(decorrelation(parts).item(), rel=1e-12)


def test_shares_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"do not fit: rows \(2, 5\), columns \(5, 2\), first=4"):
        contrastive_share(torch.zeros(2, 5), torch.zeros(5, 2), first=4)


def test_dry_runs_are_small() -> None:
    recipe = dry_run_recipe(make_recipe({"name": "x", "model": "xclip", "batch_size": 300, "chunk": 64}), steps=3)
    assert (recipe.batch_size, recipe.chunk) == (4, 2)
    assert recipe.settings.max_words == 32


class OtherDevice:
    """A device's generator, as torch's modules of devices have it."""

    def __init__(self) -> None:
        self.state = torch.tensor([1])

    def get_rng_state(self) -> Tensor:
        return self.state

    def set_rng_state(self, state: Tensor) -> None:
        self.state = state


def test_the_devices_own_random_numbers_are_kept_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    module, device = OtherDevice(), torch.device("xpu")
    monkeypatch.setattr(torch, "get_device_module", lambda which: {device: module}[which])
    kept = random_state(device)
    drawn = torch.rand(3)
    module.state = torch.tensor([2])
    set_random_state(kept, device)
    assert torch.equal(torch.rand(3), drawn)
    assert module.state.tolist() == [1]
    with replayed({**kept, "xpu": torch.tensor([5])}, device):
        assert module.state.tolist() == [5]
        module.state = torch.tensor([6])
    assert module.state.tolist() == [1]


def test_videos_of_all_processes_come_in_as_few_messages_as_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, ...]] = []

    def gathered(rows: Tensor, sizes: list[int]) -> Tensor:  # as if two processes held the same
        sent.append(tuple(rows.shape))
        return torch.cat([rows, rows])

    monkeypatch.setattr(step, "gather_rows", gathered)
    frames, mask = torch.rand(2, 3, 4), torch.tensor([[True, True, False], [True, False, False]])
    alone = VideoFeatures(frames, frames, mask)
    assert step.gather_videos(alone, [2]) is alone
    assert sent == []
    both = step.gather_videos(alone, [2, 2])
    assert both.contextual is both.frames
    assert torch.equal(both.frames, torch.cat([frames, frames]))
    assert torch.equal(both.frame_mask, torch.cat([mask, mask]))
    assert sent == [(2, 3), (2, 3, 4)]
    apart = step.gather_videos(VideoFeatures(frames, frames + 1, mask), [2, 2])
    assert torch.equal(apart.frames, both.frames)
    assert torch.equal(apart.contextual, both.frames + 1)
    assert sent[2:] == [(2, 3), (2, 3, 8)]


@pytest.mark.parametrize("chunk", [None, 2])
def test_further_logits_of_a_head_go_through_the_same_loss_by_their_weights(chunk: int | None) -> None:
    """T-MASS trains on a text drawn of the mass and, beside it, on the support text."""
    recipe = make_recipe({"name": "x", "model": {"preset": "tmass", "dropout": 0.0, "support_weight": 0.3}})
    model, batch = build_model(recipe, dimension=64).double(), doubled(MadeUpFeatures(recipe).batch(PAIRS))
    torch.manual_seed(1)
    output, ((weight, support),) = model.for_training(*encode(model, batch), first=0)
    expected = contrastive(output.logits) + 0.3 * contrastive(support)
    expected.backward()
    by_hand = gradients(model)
    torch.manual_seed(1)
    shares = backward(model, batch, sizes=[5], decorrelation=0.0, chunk=chunk)
    assert weight == 0.3
    torch.testing.assert_close(shares, torch.stack([expected, contrastive(output.logits), torch.zeros(())]).detach())
    assert_alike(gradients(model), by_hand, 1e-10)
    assert by_hand["similarity.radius_of.weight"].any()
