"""CLIP features against the golden files: frames, sentences and words as the authors' encoders give them.

Padded frames are zero pixels encoded like any other frame; padded words run under the causal mask alone.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from wordframe.encoders import ClipBackbone

BOUND = 1e-5
_PREFIX = "weights.clip."


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118


def load_backbone(tensors: dict[str, Tensor], settings: dict[str, str]) -> ClipBackbone:
    weights = {key.removeprefix(_PREFIX): value for key, value in tensors.items() if key.startswith(_PREFIX)}
    heads = {"vision_heads": int(settings["heads_vision"]), "text_heads": int(settings["heads_text"])}
    return ClipBackbone.from_openai(weights, **heads)


def gaps(backbone: ClipBackbone, tensors: dict[str, Tensor]) -> dict[str, float]:
    """Largest absolute difference for each kind of features that the file has."""
    with torch.inference_mode():
        text = backbone.encode_ids(tensors["input_ids"], tensors["text_mask"].bool())
        frames = backbone.encode_pixels(tensors["pixels"].flatten(0, 1)).reshape(tensors["frame_features"].shape)
    ours = {"frame_features": frames, "sentence_features": text.sentence, "word_features": text.words}
    kept = {name: value for name, value in ours.items() if name in tensors}
    assert all(value.shape == tensors[name].shape for name, value in kept.items())
    return {name: (value - tensors[name]).abs().max().item() for name, value in kept.items()}


def test_features_equal_every_golden_file(shared: Path) -> None:
    paths = sorted((shared / "golden").glob("*.safetensors"))
    assert paths, f"no golden files in {shared / 'golden'}"
    seen: set[str] = set()
    for path in paths:
        tensors, settings = read(path)
        found = gaps(load_backbone(tensors, settings), tensors)
        seen |= set(found)
        assert max(found.values()) <= BOUND, f"{path.name}: {found}"
    assert seen == {"frame_features", "sentence_features", "word_features"}


@pytest.mark.parametrize(
    ("key", "change", "touched"),
    [
        ("visual.proj", lambda weight: weight.t().contiguous(), "frame_features"),
        ("text_projection", lambda weight: weight.t().contiguous(), "word_features"),
        ("transformer.resblocks.0.attn.in_proj_weight", lambda weight: weight.roll(64, 0), "word_features"),
        ("visual.transformer.resblocks.0.mlp.c_fc.bias", torch.zeros_like, "frame_features"),
    ],
)
def test_a_wrong_weight_shows(shared: Path, key: str, change: object, touched: str) -> None:
    # the same kernels in the same order can give a gap of exactly 0 above: show that the comparison can fail
    tensors, settings = read(shared / "golden" / "tcmgc_padded.safetensors")
    tensors[_PREFIX + key] = change(tensors[_PREFIX + key])  # type: ignore[operator]
    assert gaps(load_backbone(tensors, settings), tensors)[touched] > 100 * BOUND


def test_rounding_in_another_order_stays_within_the_bound(shared: Path) -> None:
    tensors, settings = read(shared / "golden" / "tcmgc_padded.safetensors")
    backbone = load_backbone(tensors, settings)
    backbone.model.set_attn_implementation("eager")
    assert 0 < max(gaps(backbone, tensors).values()) <= BOUND
