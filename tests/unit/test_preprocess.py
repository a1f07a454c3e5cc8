"""Frames into pixels: equal to Pillow and to transformers' processors, cheap where nothing is to do.

Whole families against their processors, on pictures: test_hub_families.py.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from tests.unit.clip_models import SIDE
from wordframe.encoders import CLIP_MEAN, CLIP_STD, Preprocessing
from wordframe.errors import EncoderError

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
SIZES = [(300, 400), (223, 1001), (640, 361), (100, 77), (31, 33), (224, 398)]


def noise(height: int, width: int, count: int = 1) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(height * width).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def pillow(frame: np.ndarray[Any, Any], size: tuple[int, int], name: str) -> torch.Tensor:
    resized = Image.fromarray(frame).resize((size[1], size[0]), FILTERS[name])
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1) / 255


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", SIZES)
def test_equal_to_pillow(size: tuple[int, int], interpolation: Any) -> None:
    frame = noise(*size)[0]
    plain = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "interpolation": interpolation}
    squashed = Preprocessing(resize="squash", **plain)(frame[None])[0]
    torch.testing.assert_close(squashed, pillow(frame, (224, 224), interpolation), atol=1e-6, rtol=0)
    short = min(size)
    height, width = 224 * size[0] // short, 224 * size[1] // short
    expected = pillow(frame, (height, width), interpolation)
    top, left = (height - 224) // 2, (width - 224) // 2
    cropped = Preprocessing(resize="crop", **plain)(frame[None])[0]
    torch.testing.assert_close(cropped, expected[:, top : top + 224, left : left + 224], atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(300, 400), (223, 1001), (361, 640), (225, 224)])
def test_equal_to_the_clip_processor(size: tuple[int, int]) -> None:
    frames = noise(*size, count=2)
    processor = CLIPImageProcessorPil()
    expected = processor(images=list(frames), return_tensors="pt")["pixel_values"]
    pixels = Preprocessing.from_config(processor.to_dict())(frames)
    assert pixels.shape == expected.shape == (2, 3, 224, 224)
    torch.testing.assert_close(pixels, expected, atol=1e-5, rtol=0)


def test_equal_to_the_siglip_processor() -> None:
    frames = noise(180, 320)
    processor = SiglipImageProcessorPil(size={"height": 64, "width": 64})
    expected = processor(images=list(frames), return_tensors="pt")["pixel_values"]
    pixels = Preprocessing.from_config(processor.to_dict())(frames)
    torch.testing.assert_close(pixels, expected, atol=1e-5, rtol=0)


def test_a_frame_of_the_right_short_side_is_only_cut_and_normalised() -> None:
    frames = noise(SIDE, 51)
    pixels = Preprocessing(height=SIDE, width=SIDE)(frames)
    cut = torch.from_numpy(frames[:, :, 9 : 9 + SIDE]).permute(0, 3, 1, 2).double() / 255
    mean, std = (torch.tensor(value, dtype=torch.float64).view(3, 1, 1) for value in (CLIP_MEAN, CLIP_STD))
    torch.testing.assert_close(pixels.double(), (cut - mean) / std, atol=1e-6, rtol=0)
    assert pixels.dtype == torch.float32
    assert pixels.is_contiguous()


def test_frames_that_are_read_only_mirrored_or_none() -> None:
    frames = noise(40, 60, count=2)
    expected = Preprocessing(height=SIDE, width=SIDE)(frames)
    frames.flags.writeable = False
    before = frames.copy()
    assert torch.equal(Preprocessing(height=SIDE, width=SIDE)(frames), expected)
    assert np.array_equal(frames, before)
    mirrored = Preprocessing(height=SIDE, width=SIDE)(frames[:, :, ::-1])
    assert torch.equal(mirrored, Preprocessing(height=SIDE, width=SIDE)(frames[:, :, ::-1].copy()))
    assert Preprocessing(height=SIDE, width=SIDE)(frames[:0]).shape == (0, 3, SIDE, SIDE)


def test_short_side() -> None:
    assert Preprocessing(height=224, width=224).short_side == 224
    assert Preprocessing(height=224, width=224, resize_to=256).short_side == 256
    assert Preprocessing(height=64, width=96, resize="squash").short_side == 96


NORMAL = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "resample": 3}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"size": 224, "crop_size": 224, "do_center_crop": True}, (224, 224, "crop", None)),
        ({"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}}, (224, 224, "crop", 256)),
        ({"size": {"height": 224, "width": 224}}, (224, 224, "squash", None)),
        ({"size": {"height": 96, "width": 64}, "do_center_crop": None}, (96, 64, "squash", None)),
        ({"size": 224, "do_center_crop": False}, (224, 224, "squash", None)),
    ],
)
def test_the_forms_a_configuration_takes(config: dict[str, Any], expected: tuple[Any, ...]) -> None:
    made = Preprocessing.from_config({**NORMAL, **config})
    assert (made.height, made.width, made.resize, made.resize_to) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resample": 0}, r"resample = 0, it must be 2 \(bilinear\) or 3 \(bicubic\)"),
        ({"rescale_factor": 1 / 127.5}, "only models that resize frames and scale them by 1/255"),
        ({"do_resize": False}, "only models that resize frames"),
        ({"image_mean": None}, "image_mean must hold three numbers, got None"),
        ({"size": None}, "size must be height and width, or a shortest_edge followed by a centre crop that fits in it"),
        ({"size": {"shortest_edge": 200}}, r"got size = \{'shortest_edge': 200\}, crop_size = 224"),
    ],
)
def test_configurations_that_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(EncoderError, match=message):
        Preprocessing.from_config({**NORMAL, "size": 224, "crop_size": 224, **change})


@pytest.mark.parametrize("entry", ["image_mean", "image_std", "resample", "size"])
def test_no_entry_that_changes_pixels_has_a_default(entry: str) -> None:
    whole = {**NORMAL, "size": 224, "crop_size": 224}
    with pytest.raises(EncoderError, match=f"preprocessor: {entry}"):
        Preprocessing.from_config({key: value for key, value in whole.items() if key != entry})


def test_values_that_are_refused() -> None:
    with pytest.raises(ValueError, match=r"frames must be \(N, h, w, 3\) uint8, got \(2, 3, 8, 8\) uint8"):
        Preprocessing()(np.zeros((2, 3, 8, 8), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"at least one pixel, got \(1, 0, 8, 3\)"):
        Preprocessing()(np.zeros((1, 0, 8, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match="height and width must be positive, got 0 × 8"):
        Preprocessing(height=0, width=8)
    with pytest.raises(ValueError, match="resize must be 'crop' or 'squash', got 'fit'"):
        Preprocessing(resize="fit")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="interpolation must be 'bicubic' or 'bilinear', got 'nearest'"):
        Preprocessing(interpolation="nearest")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="mean and std need three values each, std positive"):
        Preprocessing(std=(1.0, 0.0, 1.0))
    with pytest.raises(ValueError, match="resize_to must be at least 224 and goes with 'crop' only, got 200"):
        Preprocessing(resize_to=200)


@pytest.mark.parametrize("size", [(8, 20), (20, 8), (8, 8)])
@pytest.mark.parametrize("resize", ["crop", "squash"])
def test_the_view_holds_all_that_the_pixels_are_made_of(
    size: tuple[int, int], resize: Literal["crop", "squash"]
) -> None:
    preprocessing = Preprocessing(height=8, width=8, resize=resize)
    frame = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    seen = np.zeros_like(frame)
    region = preprocessing.view(*size)
    seen[region] = frame[region]
    torch.testing.assert_close(preprocessing(seen[None]), preprocessing(frame[None]), rtol=0, atol=0)
    if resize == "crop":
        assert seen[region].shape == (8, 8, 3)
