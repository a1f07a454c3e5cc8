"""Decoded frames into the pixels an image tower takes: resize, crop, scale, normalise.

As CLIP was published (Radford et al., ICML 2021, arXiv 2103.00020): the short side to 224 bicubic with antialias, the
centre cut out, then ``(x / 255 - mean) / std`` per channel. SigLIP instead squashes the whole frame to a square.
Resizing is Pillow's, in 8 bits: the models were trained with it, transformers' processors do it, and others (torch's
antialias, OpenCV) differ by a grey level or more. Frames come from the decoder at the length that is wanted, so that
most are cut and not resized.
Neighbours: ``video`` gives the frames, ``clip.py`` and ``offline.py`` take the pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from wordframe.encoders.base import RgbFrames
from wordframe.errors import EncoderError

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

_PILLOW_FILTERS: dict[int, Literal["bicubic", "bilinear"]] = {2: "bilinear", 3: "bicubic"}


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Frames ``(N, h, w, 3)`` uint8 into pixels ``(N, 3, height, width)`` float32.

    Attributes:
        height, width: size of the pixels.
        resize: ``crop`` brings the short side to ``resize_to`` and cuts the centre out; ``squash`` stretches the whole
            frame to ``height`` by ``width``.
        interpolation: ``bicubic`` or ``bilinear``, always with antialias.
        mean, std: of each channel, for values in [0, 1].
        resize_to: length of the short side before cropping; the larger of height and width if not given.

    >>> Preprocessing(height=8, width=8)(np.zeros((2, 12, 20, 3), dtype=np.uint8)).shape
    torch.Size([2, 3, 8, 8])
    """

    height: int = 224
    width: int = 224
    resize: Literal["crop", "squash"] = "crop"
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    resize_to: int | None = None

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"height and width must be positive, got {self.height} × {self.width}")
        if self.resize not in ("crop", "squash"):
            raise ValueError(f"resize must be 'crop' or 'squash', got {self.resize!r}")
        if self.interpolation not in ("bicubic", "bilinear"):
            raise ValueError(f"interpolation must be 'bicubic' or 'bilinear', got {self.interpolation!r}")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError(f"mean and std need three values each, std positive; got {self.mean} and {self.std}")
        largest = max(self.height, self.width)
        if self.resize_to is not None and (self.resize == "squash" or self.resize_to < largest):
            raise ValueError(f"resize_to must be at least {largest} and goes with 'crop' only, got {self.resize_to}")

    @property
    def short_side(self) -> int:
        """Length in pixels that the short side of a frame needs at most."""
        return self.resize_to or max(self.height, self.width)

    def __call__(self, frames: RgbFrames) -> Tensor:
        """Frames ``(N, h, w, 3)`` uint8 into pixels ``(N, 3, height, width)`` float32, contiguous, on the CPU."""
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
            raise ValueError(f"frames must be (N, h, w, 3) uint8, got {frames.shape} {frames.dtype}")
        if frames.shape[1] < 1 or frames.shape[2] < 1:
            raise ValueError(f"frames must have at least one pixel, got {frames.shape}")
        cut = self._crop(self._resize(frames))
        # (N, height, width, 3) -> (N, 3, height, width); a copy where the frames are only cut and cannot be written to
        images = torch.from_numpy(np.require(cut, requirements=["C", "W"])).permute(0, 3, 1, 2)
        pixels = images.to(torch.float32, memory_format=torch.contiguous_format)
        scale = torch.tensor([1 / (255 * std) for std in self.std]).view(1, 3, 1, 1)
        shift = torch.tensor([mean / std for mean, std in zip(self.mean, self.std, strict=True)]).view(1, 3, 1, 1)
        return pixels.mul_(scale).sub_(shift)

    def view(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns of a frame ``(height, width)`` of which the pixels are made.

        >>> Preprocessing(height=8, width=8).view(16, 32), Preprocessing(height=8, width=8, resize_to=16).view(16, 32)
        ((slice(0, 16, None), slice(8, 24, None)), (slice(4, 12, None), slice(12, 20, None)))
        """
        if self.resize == "squash":
            return slice(0, height), slice(0, width)
        share = min(height, width) / self.short_side
        top, left = (height - self.height * share) / 2, (width - self.width * share) / 2
        return slice(int(top), math.ceil(height - top)), slice(int(left), math.ceil(width - left))

    def _resize(self, frames: RgbFrames) -> RgbFrames:
        """Frames ``(N, h, w, 3)`` at the size from which the centre is cut; untouched if they have it."""
        height, width = frames.shape[1:3]
        size = (self.height, self.width)
        if self.resize == "crop":
            short = min(height, width)
            # the long side is rounded down, as in torchvision and transformers
            size = (self.short_side * height // short, self.short_side * width // short)
        if size == (height, width):
            return frames
        from PIL import Image  # here: texts are encoded without it

        resample = Image.Resampling[self.interpolation.upper()]
        resized = np.empty((len(frames), *size, 3), np.uint8)
        for row, frame in zip(resized, frames, strict=True):
            row[:] = np.asarray(Image.fromarray(frame).resize(size[::-1], resample))
        return resized

    def _crop(self, frames: RgbFrames) -> RgbFrames:
        """The centre ``(N, height, width, 3)`` of frames ``(N, h, w, 3)``."""
        top = (frames.shape[1] - self.height) // 2
        left = (frames.shape[2] - self.width) // 2
        return frames[:, top : top + self.height, left : left + self.width]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Preprocessing:
        """From the contents of a ``preprocessor_config.json`` as transformers writes it.

        Raises:
            EncoderError: it lacks an entry, or asks for something else than resizing, cropping and normalising.
        """
        interpolation = _PILLOW_FILTERS.get(config.get("resample", -1))  # model types differ in what is usual
        if interpolation is None:
            told = config.get("resample", "missing")
            raise EncoderError(f"preprocessor: resample = {told}, it must be 2 (bilinear) or 3 (bicubic)")
        scaled = config.get("do_rescale", True) and math.isclose(config.get("rescale_factor", 1 / 255), 1 / 255)
        if not scaled or not config.get("do_resize", True):
            raise EncoderError("preprocessor: only models that resize frames and scale them by 1/255 are supported")
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        if config.get("do_normalize", True):
            mean, std = _channels(config, "image_mean"), _channels(config, "image_std")
        return cls(interpolation=interpolation, mean=mean, std=std, **_geometry(config))


def _channels(config: Mapping[str, Any], key: str) -> tuple[float, float, float]:
    values = config.get(key)
    if not isinstance(values, list | tuple) or len(values) != 3:
        raise EncoderError(f"preprocessor: {key} must hold three numbers, got {values}")
    return (float(values[0]), float(values[1]), float(values[2]))


def _geometry(config: Mapping[str, Any]) -> dict[str, Any]:
    """``height``, ``width``, ``resize`` and ``resize_to`` from the entries ``size``, ``crop_size``, ``do_center_crop``.

    A plain number is the short side where a crop follows, else both sides.
    """
    size, crop = config.get("size"), config.get("crop_size")
    crops = config.get("do_center_crop", crop is not None)
    crop = {"height": crop, "width": crop} if isinstance(crop, int) else crop
    if isinstance(size, int):
        size = {"shortest_edge": size} if crops else {"height": size, "width": size}
    size = {key: value for key, value in (size or {}).items() if value is not None}
    if set(size) == {"height", "width"} and (not crops or crop == size):
        return {**size, "resize": "squash"}
    if set(size) == {"shortest_edge"} and crops and crop:
        edge, largest = size["shortest_edge"], max(crop["height"], crop["width"])
        if edge >= largest:
            return {"height": crop["height"], "width": crop["width"], "resize_to": edge if edge > largest else None}
    raise EncoderError(
        "preprocessor: size must be height and width, or a shortest_edge followed by a centre crop that fits in it; "
        f"got size = {config.get('size')}, crop_size = {config.get('crop_size')}, "
        f"do_center_crop = {config.get('do_center_crop')}"
    )
