"""What crosses the borders between packages: features of texts, features of videos, and their similarity.

Axes: ``T`` texts, ``V`` videos, ``W`` token positions of a text (SOS, words, EOS), ``F`` frames, ``D`` embedding size.
Masks are boolean, True = real. Every class checks its shapes when it is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

PART_NAMES = ("video_sentence", "video_word", "sentence_frame", "frame_word")


def _check(name: str, tensor: Tensor, axes: str, sizes: dict[str, int]) -> None:
    """Raise ValueError unless ``tensor`` has one dimension a letter of ``axes``, of the ``sizes`` seen before."""
    if tensor.dim() != len(axes):
        raise ValueError(f"{name} must have the axes ({', '.join(axes)}), got shape {tuple(tensor.shape)}")
    for axis, size in zip(axes, tensor.shape, strict=True):
        if sizes.setdefault(axis, size) != size:
            raise ValueError(
                f"{name} has {axis} = {size}, expected {axis} = {sizes[axis]}; shape {tuple(tensor.shape)}"
            )


def _check_mask(name: str, mask: Tensor, axes: str, sizes: dict[str, int]) -> None:
    _check(name, mask, axes, sizes)
    if mask.dtype != torch.bool:
        raise ValueError(f"{name} must be boolean (True = real), got {mask.dtype}")


@dataclass(frozen=True)
class TextFeatures:
    """Texts as an encoder gives them, not normalised.

    sentence: ``(T, D)``; words: ``(T, W, D)``, one per token position; word_mask: ``(T, W)``.
    """

    sentence: Tensor
    words: Tensor
    word_mask: Tensor

    def __post_init__(self) -> None:
        sizes: dict[str, int] = {}
        _check("sentence", self.sentence, "TD", sizes)
        _check("words", self.words, "TWD", sizes)
        _check_mask("word_mask", self.word_mask, "TW", sizes)

    def __len__(self) -> int:
        return self.sentence.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> TextFeatures:
        return TextFeatures(self.sentence[rows], self.words[rows], self.word_mask[rows])

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> TextFeatures:
        """The same texts on another device or in another floating-point type."""
        return TextFeatures(
            self.sentence.to(device=device, dtype=dtype),
            self.words.to(device=device, dtype=dtype),
            self.word_mask.to(device=device),
        )


@dataclass(frozen=True)
class VideoFeatures:
    """Videos as lists of frame features, not normalised.

    frames: ``(V, F, D)`` as the encoder gives them; contextual: ``(V, F, D)`` after the temporal head (the frames
    themselves where there is none); frame_mask: ``(V, F)``; seconds: ``(V, F)``, the time of each frame, if known.
    """

    frames: Tensor
    contextual: Tensor
    frame_mask: Tensor
    seconds: Tensor | None = None

    def __post_init__(self) -> None:
        sizes: dict[str, int] = {}
        _check("frames", self.frames, "VFD", sizes)
        _check("contextual", self.contextual, "VFD", sizes)
        _check_mask("frame_mask", self.frame_mask, "VF", sizes)
        if self.seconds is not None:
            _check("seconds", self.seconds, "VF", sizes)

    def __len__(self) -> int:
        return self.frames.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> VideoFeatures:
        seconds = None if self.seconds is None else self.seconds[rows]
        return VideoFeatures(self.frames[rows], self.contextual[rows], self.frame_mask[rows], seconds)

    def with_contextual(self, contextual: Tensor) -> VideoFeatures:
        """The same videos with the output ``(V, F, D)`` of a temporal head."""
        return replace(self, contextual=contextual)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> VideoFeatures:
        """The same videos on another device or in another floating-point type."""
        return VideoFeatures(
            self.frames.to(device=device, dtype=dtype),
            self.contextual.to(device=device, dtype=dtype),
            self.frame_mask.to(device=device),
            None if self.seconds is None else self.seconds.to(device=device),
        )


@dataclass(frozen=True)
class SimilarityOutput:
    """How well each text fits each video.

    logits: ``(T, V)`` float32, scaled by ``s = exp(logit_scale)`` where the method has it; parts: ``{name: (T, V)}``,
    scaled alike, names from ``PART_NAMES``. Rows are texts.
    """

    logits: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sizes: dict[str, int] = {}
        _check("logits", self.logits, "TV", sizes)
        for name, part in self.parts.items():
            if name not in PART_NAMES:
                raise ValueError(f"unknown part {name!r}; allowed: {', '.join(PART_NAMES)}")
            _check(name, part, "TV", sizes)
