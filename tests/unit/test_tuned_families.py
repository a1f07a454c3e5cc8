"""Every family of dual encoders as the backbone of a trained model: features, steps, checkpoints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.clip_models import SENTENCES, SIDE, save
from wordframe.data import PixelBatch
from wordframe.encoders import MODEL_TYPES, ClipEncoder, backbone_fingerprint, load_clip
from wordframe.models import ClipTokenizer, TextVideoModel, load_model, refuse_other_features
from wordframe.train import Recipe, build_model, make_recipe
from wordframe.train.build import configure, train_mode
from wordframe.train.optim import make_optimizer, parameter_groups
from wordframe.train.step import backward

MAX_WORDS, FRAMES = 6, 2
LEVELS = np.random.default_rng(3).integers(0, 256, (3 * FRAMES, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture(params=sorted(MODEL_TYPES))
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A small random model of a family, as the hub has it."""
    save(request.param, tmp_path / request.param)
    return tmp_path / request.param


def recipe_of(**changes: object) -> Recipe:
    settings = {"preset": "xclip", "max_words": MAX_WORDS, "max_frames": FRAMES, "layers": 1, "heads": 2}
    return make_recipe({"name": "t", "model": settings, "backbone": "x", **changes})


def model_of(folder: Path, recipe: Recipe) -> TextVideoModel:
    parts = load_clip(str(folder))
    model = build_model(recipe, backbone=parts.towers)
    model.tokenizer = ClipTokenizer(parts.tokenizer, parts.towers.type_name)
    configure(model, recipe)
    return model


def batch_of(model: TextVideoModel) -> PixelBatch:
    """Three pairs, as a set of pixels makes them."""
    assert model.backbone is not None
    input_ids, mask = model._tokenize(SENTENCES)
    rows, wanted = torch.arange(3), model.backbone.preprocessing
    levels = torch.from_numpy(LEVELS).permute(0, 3, 1, 2).reshape(3, FRAMES, 3, SIDE, SIDE)
    return PixelBatch(rows, rows, input_ids, mask, levels, torch.ones(3, FRAMES, dtype=torch.bool), wanted)


def test_features_are_the_encoders(folder: Path) -> None:
    """Texts longer than the head takes, too: cut in training as they are in a search."""
    model, encoder = model_of(folder, recipe_of()).eval(), ClipEncoder.load(str(folder), max_words=MAX_WORDS)
    encoded = encoder.encode_text(SENTENCES)
    with torch.inference_mode():
        text, video = batch_of(model).encode(model)
    longest = ClipEncoder.load(str(folder)).encode_text(SENTENCES).words.shape[1]
    assert longest > MAX_WORDS == encoded.words.shape[1] == len(encoder.tokens(max(SENTENCES, key=len)))
    torch.testing.assert_close(text.sentence, encoded.sentence, atol=1e-5, rtol=0)
    assert text.word_mask.equal(encoded.word_mask)
    torch.testing.assert_close(text.words[text.word_mask], encoded.words[encoded.word_mask], atol=1e-5, rtol=0)
    torch.testing.assert_close(video.frames.flatten(0, 1), encoder.encode_frames(LEVELS), atol=1e-5, rtol=0)


def test_a_few_steps_lower_the_loss_and_the_checkpoint_is_an_encoder(folder: Path, tmp_path: Path) -> None:
    recipe = recipe_of(optimizer={"lr": 1e-3, "backbone_lr": 1e-3})
    model = model_of(folder, recipe)
    train_mode(model)
    assert model.backbone is not None
    before, batch = backbone_fingerprint(model.backbone), batch_of(model).to("cpu")
    optimizer, losses = make_optimizer(parameter_groups(model, recipe.optimizer), recipe.optimizer), []
    for _ in range(6):
        optimizer.zero_grad()
        losses.append(float(backward(model, batch, sizes=[3], decorrelation=0.0)[0]))
        optimizer.step()
    assert losses[-1] < losses[0] - 0.1, losses
    model.eval().save(tmp_path / "tuned")
    loaded = load_model(tmp_path / "tuned")
    encoder = ClipEncoder.load(str(tmp_path / "tuned"), device="cpu")
    assert backbone_fingerprint(model.backbone) == encoder.fingerprint != before
    refuse_other_features(
        loaded, "mine", encoder="it", fingerprint=encoder.fingerprint, dimension=encoder.dimension, remedy=""
    )
    with torch.inference_mode():
        text, video = batch.encode(model)
        expected = model.score(text, video).logits
        again = loaded.encode_text(SENTENCES)
        assert torch.equal(loaded.score(again, batch.encode(loaded)[1]).logits, expected)
        frames = encoder.encode_frames(LEVELS).view(3, FRAMES, -1)
        of_library = loaded.contextualize(frames, batch.frame_mask)
        found = loaded.score(encoder.encode_text(SENTENCES), of_library).logits
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)  # logits of up to 100


@pytest.mark.parametrize("kind", ["siglip", "siglip2"])
def test_siglips_scale_starts_the_models_own(kind: str, tmp_path: Path) -> None:
    save(kind, tmp_path)
    model = model_of(tmp_path, recipe_of())
    assert model.backbone is not None
    assert model.backbone.logit_scale.shape == (1,), "as published: not the scalar that heads work with"
    assert model.similarity.logit_scale.shape == ()
    assert model.similarity.logit_scale.item() == model.backbone.logit_scale.item()


def test_levels_become_the_pixels_of_the_backbone(tmp_path: Path) -> None:
    save("siglip", tmp_path)
    encoder = ClipEncoder.load(str(tmp_path), device="cpu")
    model = model_of(tmp_path, recipe_of())
    pixels = batch_of(model).to("cpu").pixels
    torch.testing.assert_close(pixels.flatten(0, 1), encoder.preprocess(LEVELS), atol=0, rtol=0)
    of_clip = replace(batch_of(model), preprocessing=load_clip(str(_clip(tmp_path))).preprocessing).to("cpu").pixels
    assert not torch.allclose(of_clip, pixels, atol=0.1)


def _clip(folder: Path) -> Path:
    save("clip", folder / "clip")
    return folder / "clip"
