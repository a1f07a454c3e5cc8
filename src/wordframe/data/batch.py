"""A batch of matching (caption, video) pairs, ready for a model: from features or from pixels.

Row ``i`` of the texts belongs to row ``i`` of the videos. Texts are padded to one number of words and videos to one
number of frames for a whole training set, so that batches of different processes can be put together.
``dataset.py`` makes batches, ``training`` takes them.
Axes: ``B`` pairs, ``W`` token positions, ``F`` frames, ``D`` embedding size.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Protocol, Self

import torch
from torch import Tensor

from wordframe.encoders import CLIP_MEAN, CLIP_STD
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.models import TextVideoModel


class Batch(Protocol):
    """What training asks of a batch.

    captions: ``(B,)`` int64, numbers of the captions in the training set; videos: ``(B,)`` those of their videos.
    """

    @property
    def captions(self) -> Tensor: ...

    @property
    def videos(self) -> Tensor: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice) -> Self: ...

    def to(self, device: torch.device | str) -> Self: ...

    def encode(self, model: TextVideoModel) -> tuple[TextFeatures, VideoFeatures]:
        """Both sides through the model, the temporal head included."""
        ...


@dataclass(frozen=True)
class _Rows:
    """Tensors that share their first axis."""

    captions: Tensor
    videos: Tensor

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, rows: slice) -> Self:
        return type(self)(**{item.name: getattr(self, item.name)[rows] for item in fields(self)})

    def to(self, device: torch.device | str) -> Self:
        return type(self)(
            **{item.name: getattr(self, item.name).to(device, non_blocking=True) for item in fields(self)}
        )


@dataclass(frozen=True)
class FeatureBatch(_Rows):
    """Pairs whose features were cached: the backbone is not needed.

    sentence: ``(B, D)``; words: ``(B, W, D)``; word_mask: ``(B, W)``; frames: ``(B, F, D)``; frame_mask: ``(B, F)``.
    """

    sentence: Tensor
    words: Tensor
    word_mask: Tensor
    frames: Tensor
    frame_mask: Tensor

    def encode(self, model: TextVideoModel) -> tuple[TextFeatures, VideoFeatures]:
        text = TextFeatures(self.sentence, self.words, self.word_mask)
        return text, model.contextualize(self.frames, self.frame_mask)


@dataclass(frozen=True)
class PixelBatch(_Rows):
    """Pairs for a model with a backbone.

    input_ids: ``(B, W)`` int64; word_mask: ``(B, W)``; pixels: ``(B, F, 3, H, W)``, as CLIP takes them, or levels from
    0 to 255 in uint8, a quarter of the memory, which become that once they are on their device; frame_mask: ``(B, F)``.
    """

    input_ids: Tensor
    word_mask: Tensor
    pixels: Tensor
    frame_mask: Tensor

    def to(self, device: torch.device | str) -> Self:
        moved = super().to(device)
        return replace(moved, pixels=_as_clip_takes_them(moved.pixels, moved.frame_mask))

    def encode(self, model: TextVideoModel) -> tuple[TextFeatures, VideoFeatures]:
        text = model.encode_text(input_ids=self.input_ids, mask=self.word_mask)
        pixels = _as_clip_takes_them(self.pixels, self.frame_mask)
        return text, model.encode_video(pixels=pixels, frame_mask=self.frame_mask)


def _as_clip_takes_them(pixels: Tensor, frame_mask: Tensor) -> Tensor:
    """Levels into ``(x / 255 - mean) / std``, padded frames into zeros; pixels that are so already stay."""
    if pixels.dtype != torch.uint8:
        return pixels
    scale = torch.tensor([1 / (255 * std) for std in CLIP_STD], device=pixels.device).view(3, 1, 1)
    shift = torch.tensor([mean / std for mean, std in zip(CLIP_MEAN, CLIP_STD, strict=True)], device=pixels.device)
    normalised = pixels.float().mul_(scale).sub_(shift.view(3, 1, 1))
    return normalised.masked_fill_(~frame_mask[..., None, None, None], 0.0)
