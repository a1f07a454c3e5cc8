"""The encoder that needs nothing but pip: pictures and sentences meet in the names of things.

Convex combination of semantic embeddings (Norouzi et al., ICLR 2014, arXiv 1312.5650): an ImageNet classifier says what
a frame may show, and the frame's feature is the mean of what these classes mean in the space of sentences, weighted by
their probabilities: ``softmax(logits / temperature) · class directions``. Sentences and words come from MiniLM.
Neighbours: ``classifier.py``, ``sentence.py``, ``class_sentences.py``; ``base.py`` is the contract.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from threading import Lock

import torch
from torch import Tensor, nn

from wordframe.encoders.base import Encoder, RgbFrames
from wordframe.encoders.class_sentences import FILE, load_directions
from wordframe.encoders.classifier import CLASSIFIER, MEAN, SIDE, STD, load_classifier
from wordframe.encoders.preprocess import Preprocessing
from wordframe.encoders.sentence import DIMENSION, MAX_WORDS, TOKENIZER, WEIGHTS, SentenceEncoder
from wordframe.features import TextFeatures

_FORMAT = 1  # counts up when the same files would give other features
_TEMPERATURE = 2.0
"""Square roots of the probabilities: the runners-up of a classifier tell what else is there, or what it looks like."""
_CPU_BATCH = 4  # more frames at a time fall out of a core's cache and go slower
_GPU_BATCH = 128


class OfflineEncoder(Encoder):
    """EfficientNet-Lite2 and all-MiniLM-L6-v2. Each is loaded when it is first needed.

    Args:
        device: where frames are encoded; CUDA if it is there, else the CPU, if not given. Sentences are always encoded
            on the CPU: six small layers are done before a GPU has started.
    """

    name = "offline"
    dimension = DIMENSION
    max_words = MAX_WORDS

    def __init__(self, *, device: str | torch.device | None = None) -> None:
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.preprocessing = Preprocessing(height=SIDE, width=SIDE, mean=MEAN, std=STD)
        self.short_side = self.preprocessing.short_side
        self._loading = Lock()
        self._images: tuple[nn.Module, Tensor] | None = None
        self._sentences: SentenceEncoder | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Short hash of the pinned weights, the class directions, the preprocessing and the format of features."""
        digest = hashlib.sha256(f"offline {_FORMAT} {_TEMPERATURE} {self.preprocessing}".encode())
        for weights in (CLASSIFIER, WEIGHTS, TOKENIZER):
            digest.update(weights.sha256.encode())
        digest.update(FILE.read_bytes())
        return digest.hexdigest()[:16]

    def preprocess(self, frames: RgbFrames) -> Tensor:
        """Decoded frames ``(N, h, w, 3)`` uint8 into pixels ``(N, 3, H, W)`` float32 on the CPU."""
        return self.preprocessing(frames)

    @torch.inference_mode()
    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """Pixels ``(N, 3, H, W)`` into frame features ``(N, D)``, float32 on the CPU, not normalised. Thread-safe."""
        if pixels.dim() != 4 or pixels.shape[1:] != (3, SIDE, SIDE):
            raise ValueError(f"pixels must be (N, 3, {SIDE}, {SIDE}), got {tuple(pixels.shape)}")
        classifier, directions = self._image_side()
        frames = torch.empty(len(pixels), DIMENSION)
        size = _CPU_BATCH if self.device.type == "cpu" else _GPU_BATCH
        for start in range(0, len(pixels), size):
            batch = pixels[start : start + size].to(self.device).contiguous(memory_format=torch.channels_last)
            weights = (classifier(batch) / _TEMPERATURE).softmax(dim=-1)  # (N, C)
            frames[start : start + size] = (weights @ directions).cpu()
        return frames

    def encode_text(self, sentences: Sequence[str]) -> TextFeatures:
        """``T`` sentences into features on the CPU, float32; ``W`` is the longest one's number of positions."""
        if isinstance(sentences, str):
            raise ValueError("sentences must be a sequence of strings, got one string; put it in a list")
        return self._text_side()(sentences)

    def tokens(self, sentence: str) -> list[str]:
        """The text of each token position of ``encode_text([sentence])``."""
        return self._text_side().tokens(sentence)

    def _text_side(self) -> SentenceEncoder:
        with self._loading:
            self._sentences = self._sentences or SentenceEncoder()
            return self._sentences

    def _image_side(self) -> tuple[nn.Module, Tensor]:
        """The classifier and the class directions ``(C, D)``, on the device."""
        with self._loading:
            if self._images is None:
                self._images = load_classifier().to(self.device), load_directions().to(self.device)
            return self._images
