"""Presets load, are what the papers say, and wrong combinations of settings are refused by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from wordframe.errors import CheckpointError
from wordframe.features import TextFeatures
from wordframe.losses import contrastive
from wordframe.models import (
    PRESETS,
    ModelSettings,
    Preset,
    TextVideoModel,
    load_model,
    register_family,
    register_preset,
)
from wordframe.models.config import FAMILIES

PUBLISHED = {
    "zero-shot",
    "tcmgc-msrvtt",
    "tcmgc-didemo",
    "tcmgc-vatex",
    "ea-clip4clip-mean",
    "ea-clip4clip-lstm",
    "ea-clip4clip-transformer",
    "ea-clip4clip-tight",
    "clip4clip-mean",
    "clip4clip-lstm",
    "clip4clip-transformer",
    "clip4clip-tight",
    "xclip",
}


def test_every_published_pairing_is_there() -> None:
    assert set(PRESETS) >= PUBLISHED
    assert PRESETS["tcmgc-msrvtt"].published == {"MSR-VTT 1k-A": 47.4}
    assert PRESETS["clip4clip-transformer"].published["ActivityNet"] == 40.5
    assert all(preset.title and preset.paper and preset.name == name for name, preset in PRESETS.items())
    assert [name for name, preset in PRESETS.items() if not preset.needs_training] == ["zero-shot"]


@torch.no_grad()
@pytest.mark.parametrize("name", sorted(PUBLISHED - {"zero-shot"}))
def test_preset_scores_features_of_any_dimension(name: str) -> None:
    torch.manual_seed(0)
    model = load_model(name, dimension=64)
    assert not model.trained
    assert not model.training
    sentence, words = torch.randn(2, 64), torch.randn(2, 5, 64)
    text = TextFeatures(sentence, words, torch.tensor([[True] * 5, [True] * 3 + [False] * 2]))
    video = model.contextualize(torch.randn(3, 4, 64), torch.ones(3, 4, dtype=torch.bool))
    logits = model.score(text, video).logits
    assert logits.shape == (2, 3)
    assert torch.isfinite(logits).all()
    pooled = ("clip4clip" in name) and "tight" not in name
    assert model.one_vector == pooled


@pytest.mark.parametrize("name", sorted(PUBLISHED - {"zero-shot"}))
def test_gradients_reach_every_parameter_of_every_preset(name: str) -> None:
    """At λ = 2, since 100 saturates the softmaxes of TC-MGC's aggregation."""
    torch.manual_seed(0)
    settings = ModelSettings.from_dict({**PRESETS[name].settings.to_dict(), "softmax_lambda": 2.0, "layers": 1})
    model = TextVideoModel(settings=settings, dimension=64).train()
    text = TextFeatures(torch.randn(3, 64), torch.randn(3, 12, 64), torch.arange(12) < torch.tensor([[12], [9], [2]]))
    video = model.contextualize(torch.randn(3, 6, 64), torch.arange(6) < torch.tensor([[6], [3], [1]]))
    contrastive(model.score(text, video).logits / 20).backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        # tight's last bias is added to every logit alike, which no softmax sees
        assert parameter.grad.abs().sum() > 0 or parameter_name == "similarity.score.bias", parameter_name


@torch.no_grad()
def test_zero_shot_preset_counts_as_ready() -> None:
    model = load_model("zero-shot", dimension=16)
    assert model.trained
    text = TextFeatures(torch.randn(2, 16), torch.randn(2, 3, 16), torch.ones(2, 3, dtype=torch.bool))
    video = model.contextualize(torch.randn(4, 5, 16), torch.ones(4, 5, dtype=torch.bool))
    assert model.score(text, video).logits.shape == (2, 4)


def test_default_dimension_is_that_of_clip_b32() -> None:
    assert load_model("tcmgc-msrvtt").dimension == 512


def test_limits_say_what_stored_videos_must_be_cut_to() -> None:
    limits = {name: (load_model(name, dimension=64).max_frames, load_model(name, dimension=64).max_words) for name in (
        "clip4clip-mean", "clip4clip-transformer", "clip4clip-tight", "ea-clip4clip-lstm", "xclip", "tcmgc-didemo"
    )}  # fmt: skip
    assert limits == {
        "clip4clip-mean": (None, None),
        "clip4clip-transformer": (77, None),
        "clip4clip-tight": (76, None),
        "ea-clip4clip-lstm": (12, None),
        "xclip": (12, 32),
        "tcmgc-didemo": (77, None),
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"family": "clip4clip", "se_type": "excitation"},
            "se_type='excitation' has no meaning for family='clip4clip'",
        ),
        ({"family": "xclip", "reduction_ratio": 4.0}, "reduction_ratio=4.0 has no meaning for family='xclip'"),
        ({"family": "xclip", "keep_rate": 0.1}, "keep_rate=0.1 has no meaning for family='xclip'; leave it out"),
        ({"family": "tcmgc"}, "keep_rate must be given for family='tcmgc'; the released default is 0.1"),
        ({"family": "tcmgc", "keep_rate": 0.1, "variant": "squeeze_expand"}, "variant='squeeze_expand' has no meaning"),
        ({"family": "tcmgc", "keep_rate": 0.1, "normalize_frames": False}, "normalize_frames=False has no meaning"),
        (
            {"family": "ea-clip4clip", "reduction_ratio": 4.0},
            "se_type must be given for family='ea-clip4clip'; use one of 'excitation', ",
        ),
        (
            {"family": "ea-clip4clip", "se_type": "excitation"},
            "reduction_ratio must be given for family='ea-clip4clip'; a number above 0",
        ),
        (
            {"family": "clip4clip", "sim_header": "max"},
            "sim_header='max' is not allowed for family='clip4clip'; use one of 'meanP', 'seqLSTM'",
        ),
        ({"family": "clip4clip", "max_frames": 0}, "max_frames=0 must be at least 1"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        ModelSettings(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"se_type": "excitation_seq"}, "goes around a sequential head, got sim_header='meanP'; use 'seqLSTM' or"),
        (
            {"se_type": "aggregation", "sim_header": "tightTransf"},
            "does not go with sim_header='tightTransf'; use 'exc",
        ),
        ({"se_type": "excitation", "variant": "squeeze_expand"}, "needs two blocks, but se_type='excitation' has one"),
        (
            {"se_type": "excitation_aggregation", "variant": "expand_squeeze"},
            "variant='expand_squeeze' needs a reduction_ratio below 1, got 4.0",
        ),
    ],
)
def test_block_designs_that_do_not_go_together(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelSettings(family="ea-clip4clip", reduction_ratio=4.0, **settings)


def test_families_refuse_temporal_heads_and_unknown_names() -> None:
    with pytest.raises(
        ValueError, match="sim_header='tightTransf' is not allowed for family='xclip'; use one of 'meanP'"
    ):
        TextVideoModel(settings=ModelSettings(family="xclip", sim_header="tightTransf"), dimension=64)
    with pytest.raises(
        ValueError, match=r"family='other' is not known; use one of 'clip4clip', .* or import the module"
    ):
        TextVideoModel(settings=ModelSettings(family="other"), dimension=64)
    with pytest.raises(ValueError, match="heads must be given: dimension=100 is not a multiple of 64"):
        load_model("xclip", dimension=100)
    with pytest.raises(ValueError, match="preset 'xclip' is there already; choose another name"):
        register_preset(PRESETS["xclip"])
    with pytest.raises(ValueError, match="family 'xclip' is there already; choose another name"):
        register_family("xclip", FAMILIES["xclip"])


def test_a_name_that_is_nothing_lists_the_presets() -> None:
    with pytest.raises(
        CheckpointError, match="'tcmgc' is neither a preset, a folder nor a hub id; presets: zero-shot, t"
    ):
        load_model("tcmgc")


def test_models_without_a_backbone_say_so() -> None:
    model = load_model("clip4clip-mean", dimension=8)
    with pytest.raises(
        TypeError, match="encode_text needs a backbone and this model has none; encode with the encoder"
    ):
        model.encode_text(["a sentence"])
    with pytest.raises(TypeError, match="encode_video needs a backbone"):
        model.encode_video(pixels=torch.zeros(1, 1, 3, 8, 8))
    with pytest.raises(ValueError, match="encode_text takes either sentences, or input_ids= together with mask="):
        model.encode_text()
    with pytest.raises(ValueError, match="dimension must be given where there is no backbone"):
        TextVideoModel(settings=PRESETS["clip4clip-mean"].settings)
    with pytest.raises(ValueError, match="frames have D = 4, this model works on D = 8"):
        model.contextualize(torch.zeros(1, 2, 4), torch.ones(1, 2, dtype=torch.bool))
    assert isinstance(PRESETS["xclip"], Preset)
