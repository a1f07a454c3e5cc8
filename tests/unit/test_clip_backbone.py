"""The trainable CLIP: sizes from shapes, pooling, padding, gradients, and what it refuses."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch
from torch import nn

from tests.unit.clip_models import openai_weights
from wordframe.encoders import ClipBackbone
from wordframe.errors import EncoderError

EOS = 517


@pytest.fixture(scope="module")
def backbone() -> ClipBackbone:
    return ClipBackbone.from_openai(openai_weights())


def test_sizes_come_from_the_shapes(backbone: ClipBackbone) -> None:
    assert asdict(backbone.sizes) == {
        "dimension": 48,
        "image_size": 32,
        "patch_size": 8,
        "vision_width": 128,
        "vision_layers": 2,
        "vision_heads": 2,
        "vocabulary": 518,
        "max_words": 24,
        "text_width": 128,
        "text_layers": 2,
        "text_heads": 2,
    }
    assert backbone.dimension == 48
    assert isinstance(backbone.logit_scale, nn.Parameter)
    assert torch.equal(backbone.logit_scale.detach(), openai_weights()["logit_scale"])


def test_the_same_sizes_build_a_backbone_that_takes_the_weights(backbone: ClipBackbone) -> None:
    fresh = ClipBackbone(**asdict(backbone.sizes))
    fresh.load_state_dict(backbone.state_dict())
    pixels = torch.randn(2, 3, 32, 32)
    assert torch.equal(fresh.encode_pixels(pixels), backbone.encode_pixels(pixels))


def test_published_settings(backbone: ClipBackbone) -> None:
    config = backbone.model.config
    for tower in (config.text_config, config.vision_config):
        assert (tower.hidden_act, tower.layer_norm_eps, tower._attn_implementation) == ("quick_gelu", 1e-5, "sdpa")
    assert not backbone.training
    assert all(parameter.requires_grad and not parameter.is_meta for parameter in backbone.parameters())
    assert not any(buffer.is_meta for buffer in backbone.buffers())


def test_half_precision_weights_become_float32() -> None:
    backbone = ClipBackbone.from_openai(openai_weights(dtype=torch.float16))
    assert {parameter.dtype for parameter in backbone.parameters()} == {torch.float32}


def test_the_sentence_is_the_projected_position_of_the_highest_id(backbone: ClipBackbone) -> None:
    input_ids = torch.tensor([[516, 5, 9, EOS, 0, 0], [516, 7, EOS, 0, 0, 0]])
    text = backbone.encode_ids(input_ids, input_ids > 0)
    assert text.words.shape == (2, 6, 48)
    assert torch.equal(text.sentence, torch.stack([text.words[0, 3], text.words[1, 2]]))


def test_padding_never_reaches_a_real_word(backbone: ClipBackbone) -> None:
    short = torch.tensor([[516, 5, 9, EOS]])
    padded = torch.cat([short, torch.tensor([[0, 3, 0, 44]])], dim=1)
    one = backbone.encode_ids(short, torch.ones_like(short, dtype=torch.bool))
    other = backbone.encode_ids(padded, torch.arange(8)[None] < 4)
    torch.testing.assert_close(other.words[:, :4], one.words, atol=1e-5, rtol=0)
    torch.testing.assert_close(other.sentence, one.sentence, atol=1e-5, rtol=0)


def test_gradients_reach_every_weight_but_the_scale() -> None:
    backbone = ClipBackbone.from_openai(openai_weights())
    input_ids = torch.tensor([[516, 5, EOS]])
    text = backbone.encode_ids(input_ids, torch.ones_like(input_ids, dtype=torch.bool))
    (
        text.sentence.sum() + text.words.square().sum() + backbone.encode_pixels(torch.randn(1, 3, 32, 32)).sum()
    ).backward()
    without = [name for name, parameter in backbone.named_parameters() if parameter.grad is None]
    assert without == ["model.logit_scale"]


def test_heads_can_be_given_and_change_the_result(backbone: ClipBackbone) -> None:
    other = ClipBackbone.from_openai(openai_weights(), vision_heads=4, text_heads=1)
    assert (other.sizes.vision_heads, other.sizes.text_heads) == (4, 1)
    pixels = torch.randn(1, 3, 32, 32)
    assert not torch.allclose(other.encode_pixels(pixels), backbone.encode_pixels(pixels), atol=1e-3)


def test_foreign_keys_are_listed() -> None:
    weights = openai_weights() | {"head.weight": torch.zeros(1), "input_resolution": torch.tensor(32)}
    assert ClipBackbone.from_openai(weights).unused_keys == ("head.weight",)


def test_refusals(backbone: ClipBackbone) -> None:
    weights = openai_weights()
    without = {key: value for key, value in weights.items() if key != "visual.ln_post.bias"}
    with pytest.raises(
        EncoderError, match=r"1 weights of CLIP are missing, among them vision_model\.post_layernorm\.bias"
    ):
        ClipBackbone.from_openai(without)
    with pytest.raises(EncoderError, match=r"ln_final|final_layer_norm\.weight has shape \(64,\), .* \(128,\)"):
        ClipBackbone.from_openai(weights | {"ln_final.weight": torch.ones(64)})
    with pytest.raises(EncoderError, match=r"no 'visual\.conv1\.weight' among the weights: not a CLIP with a vision"):
        ClipBackbone.from_openai({"visual.layer1.0.conv1.weight": torch.zeros(1)})
    with pytest.raises(EncoderError, match="vision_heads = 5 does not divide the tower's width 128"):
        ClipBackbone.from_openai(weights, vision_heads=5)
    with pytest.raises(ValueError, match=r"input_ids must be \(T, W\) with W in 1\.\.24, got \(1, 25\)"):
        backbone.encode_ids(torch.zeros(1, 25, dtype=torch.long), torch.ones(1, 25, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"pixels must be \(N, 3, 32, 32\), got \(1, 3, 16, 16\)"):
        backbone.encode_pixels(torch.zeros(1, 3, 16, 16))
