"""The contract of an encoder: sentences and frames into one space of ``D`` dimensions.

Nothing here depends on a query: what an encoder gives for a video is computed once and stored by the library.
Neighbours: ``offline.py`` (from pip packages alone), ``clip.py`` (any dual encoder of transformers),
``preprocess.py`` (decoded frames into pixels). Frames come from ``video``; features go to ``heads`` and ``models``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wordframe.errors import whole_text
from wordframe.features import TextFeatures

RgbFrames = NDArray[np.uint8]
"""Decoded frames ``(N, height, width, 3)``, RGB, all of one size."""


def check_sentences(sentences: Sequence[str]) -> None:
    """What ``encode_text`` refuses, whatever the encoder.

    Raises:
        ValueError: a string stands for a list of them.
        WordframeError: a sentence holds half a character.
    """
    if isinstance(sentences, str):
        raise ValueError("sentences must be a sequence of strings, got one string; put it in a list")
    for sentence in sentences:
        whole_text(sentence, "the sentence")


class Encoder(ABC):
    """Turns sentences and decoded frames into features of one space.

    Attributes:
        name: what loads it again: ``offline``, a short name, a hub id with its commit, or a folder.
        dimension: ``D``.
        short_side: pixels; frames may be decoded at this length of their short side without changing the features
            beyond resampling error.
        max_words: the longest token sequence, SOS and EOS included; longer sentences are cut.
        device: where the features are computed.
        text_cleaning: what is done to a sentence before it is cut into tokens, in words for reports and caches; empty
            where the tokenizer alone decides.
        runtime: what computes those of frames: ``torch``, ``openvino`` or ``openvino-bfloat16``.
        blind_to: what it cannot know of a sentence, so that a search says so: ``language`` (all but English), ``names``
            (of people, places, brands), ``text`` (to be read in the picture, and numbers), ``emoji``.
    """

    name: str
    dimension: int
    short_side: int
    max_words: int
    device: torch.device = torch.device("cpu")
    text_cleaning: str = ""
    runtime: str = "torch"
    blind_to: frozenset[str] = frozenset()

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Short hash of everything that changes a stored feature: weights and preprocessing, not the name."""

    @abstractmethod
    def preprocess(self, frames: RgbFrames) -> Tensor:
        """Decoded frames ``(N, h, w, 3)`` uint8 into pixels ``(N, 3, H, W)`` float32 on the CPU."""

    def view(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns of a frame ``(height, width)`` that ``preprocess`` looks at; by default all."""
        return slice(0, height), slice(0, width)

    @abstractmethod
    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """Pixels ``(N, 3, H, W)`` into frame features ``(N, D)``, float32 on the CPU, not normalised. Thread-safe."""

    @abstractmethod
    def encode_text(self, sentences: Sequence[str]) -> TextFeatures:
        """``T`` sentences into features on the CPU, float32; ``W`` is the longest one's number of positions."""

    def tokens(self, sentence: str) -> list[str]:
        """The text of each token position of ``encode_text([sentence])``, for people.

        An encoder that does not say gets its words, or their numbers where it cut the sentence otherwise.
        """
        words, count = sentence.split(), self.encode_text([sentence]).words.shape[1]
        return words if len(words) == count else [f"word {number}" for number in range(1, count + 1)]

    def encode_frames(self, frames: RgbFrames) -> Tensor:
        """Decoded frames ``(N, h, w, 3)`` into frame features ``(N, D)``."""
        return self.encode_pixels(self.preprocess(frames))
