"""The encoder for CLIP-type models: any dual encoder of transformers, or a ``.pt`` file of OpenAI's.

Sentence, words and frames as METHODS define them for CLIP (Radford et al., ICML 2021, arXiv 2103.00020); other
model types as ``_dual.py`` tells; also the CLIP inside one of our own checkpoints. On a GPU the towers run in bfloat16
autocast; results are always float32 on the CPU.
Neighbours: ``base.py`` (the contract), ``_loading.py`` (files into parts), ``_dual.py`` (towers and tokens),
``preprocess.py`` (frames into pixels), ``_runtime.py`` (what runs the image tower).
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wordframe.encoders._dual import Backbone, SentenceTokenizer
from wordframe.encoders._load import load_encoder
from wordframe.encoders._loading import ClipParts, load_clip
from wordframe.encoders._runtime import ImageTower, choose_runtime
from wordframe.encoders.base import Encoder, RgbFrames, check_sentences
from wordframe.encoders.preprocess import Preprocessing
from wordframe.errors import EncoderError
from wordframe.features import TextFeatures

_FORMAT = 1  # counts up when the same files would give other features
_SETTINGS_BEYOND_WEIGHTS = ("hidden_act", "num_attention_heads", "layer_norm_eps")


class ClipEncoder(Encoder):
    """Sentences and frames through a dual encoder. Made by ``ClipEncoder.load``.

    Args:
        name: what loads the same model again; see ``ClipParts``.
        towers: the model.
        tokenizer: sentences into ids.
        preprocessing: frames into pixels.
        device: where the model runs; the best there is if not given.
        batch_size: frames or sentences at a time.
        max_words: positions of a text that are given at most; by default as many as the tokenizer does.
        runtime: of the image tower: ``torch``, ``openvino`` (on the CPU alone) or ``auto``, the fastest that is
            installed, with the same features; or ``openvino-bfloat16``, faster still, whose features differ a little.
    """

    def __init__(
        self,
        *,
        name: str,
        towers: Backbone,
        tokenizer: SentenceTokenizer,
        preprocessing: Preprocessing,
        device: str | torch.device | None = None,
        batch_size: int = 32,
        runtime: str = "auto",
        max_words: int | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.name = name
        self.dimension = towers.dimension
        self.short_side = preprocessing.short_side
        self.max_words = tokenizer.max_words if max_words is None else min(max_words, tokenizer.max_words)
        if not towers.reads_many_languages:
            self.blind_to = frozenset({"language"})
        self.device = _choose_device(device)
        self.preprocessing = preprocessing
        self.tokenize = tokenizer
        self.text_cleaning = tokenizer.cleaning
        self.batch_size = batch_size
        self.runtime = choose_runtime(runtime, self.device)
        self._towers = towers
        towers.model.to(self.device).requires_grad_(False)
        self._images = ImageTower(
            self._encode_images,
            dimension=self.dimension,
            size=(preprocessing.height, preprocessing.width),
            device=self.device,
            batch_size=batch_size,
            runtime=runtime,
        )

    @classmethod
    def load(
        cls,
        name: str,
        *,
        device: str | torch.device | None = None,
        batch_size: int = 32,
        max_words: int | None = None,
        tokenizer: str | Path | None = None,
        runtime: str = "auto",
    ) -> ClipEncoder:
        """By short name, hub id, folder in transformers' format or of one of our checkpoints, or OpenAI ``.pt`` file.

        Args:
            name: where the model is.
            device: where it runs; CUDA, else MPS, else the CPU if not given.
            batch_size: frames or sentences at a time.
            max_words: cut sentences shorter than the model's 77 (or its own limit if that is less); a checkpoint of
                ours is cut as in its training. A text tower of fixed length (SigLIP) reads the whole sentence all the
                same; its words are cut behind it, to the leading ones and the last.
            tokenizer: folder of the vocabulary, for a ``.pt`` file or a checkpoint of ours that has none beside it.
            runtime: what runs the image tower, see the class.

        Raises:
            EncoderError: it is not there, cannot be read, or is of a kind that is not supported.
        """
        parts = load_clip(name, tokenizer=tokenizer)
        wanted = _choose_max_words(max_words, parts)
        return cls(
            name=parts.name,
            towers=parts.towers,
            tokenizer=SentenceTokenizer(
                tokenizer=parts.tokenizer,
                model_type=parts.towers.model_type,
                max_words=parts.full_length if parts.towers.model_type.fixed_length else wanted,
                vocabulary=parts.towers.vocabulary,
            ),
            preprocessing=parts.preprocessing,
            device=device,
            batch_size=batch_size,
            runtime=runtime,
            max_words=wanted,
        )

    @cached_property
    def fingerprint(self) -> str:
        """Short hash of the weights' content, the towers' settings, the preprocessing and the format of features.

        The name has no part in it: the same model by hub id, folder or file has the same fingerprint.
        """
        return _fingerprint(self._towers.model, self.preprocessing)

    def __reduce__(self) -> Any:
        """Pickled, it is its name: another process loads the weights itself, and may have another device."""
        return load_encoder, (self.name,)

    def preprocess(self, frames: RgbFrames) -> Tensor:
        """Decoded frames ``(N, h, w, 3)`` uint8 into pixels ``(N, 3, H, W)`` float32 on the CPU."""
        return self.preprocessing(frames)

    def view(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns of a frame ``(height, width)`` of which the pixels are made."""
        return self.preprocessing.view(height, width)

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """Pixels ``(N, 3, H, W)`` into frame features ``(N, D)``, float32 on the CPU, not normalised. Thread-safe."""
        return self._images(pixels)

    def encode_text(self, sentences: Sequence[str]) -> TextFeatures:
        """``T`` sentences into features on the CPU, float32; ``W`` is the longest one's number of positions."""
        check_sentences(sentences)
        if not sentences:
            no_words = torch.empty(0, 0, self.dimension)
            return TextFeatures(torch.empty(0, self.dimension), no_words, torch.empty(0, 0, dtype=torch.bool))
        input_ids, mask = self.tokenize(sentences)
        used = mask.any(dim=0)  # (W,): columns that hold a word of any sentence
        sentence = torch.empty(len(input_ids), self.dimension)
        words = torch.empty(len(input_ids), int(used.sum()), self.dimension)
        with torch.inference_mode(), self._precision():
            for rows in self._batches(len(input_ids)):
                features = self._towers.encode_ids(input_ids[rows].to(self.device), mask[rows].to(self.device))
                sentence[rows] = features.sentence.float().cpu()
                words[rows] = features.words.float().cpu()[:, used]
        return TextFeatures(sentence, words, mask[:, used]).cut(self.max_words)

    def tokens(self, sentence: str) -> list[str]:
        """The text of each token position of ``encode_text([sentence])``."""
        names = self.tokenize.tokens(sentence)
        return names if len(names) <= self.max_words else [*names[: self.max_words - 1], names[-1]]

    def _encode_images(self, pixels: Tensor) -> Tensor:
        with self._precision():
            return self._towers.encode_pixels(pixels)  # (N, 3, H, W) -> (N, D)

    def _batches(self, count: int) -> Iterator[slice]:
        return (slice(start, start + self.batch_size) for start in range(0, count, self.batch_size))

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast("cuda", torch.bfloat16) if self.device.type == "cuda" else nullcontext()


def backbone_fingerprint(backbone: Backbone) -> str:
    """The fingerprint of an encoder over this ``backbone``, to tell whether a model and stored features fit."""
    return _fingerprint(backbone.model, backbone.preprocessing)


def _fingerprint(model: Any, preprocessing: Preprocessing) -> str:
    digest = hashlib.sha256(f"clip {_FORMAT} {preprocessing}".encode())
    for tower in ("text_config", "vision_config"):
        config = getattr(model.config, tower)
        digest.update(str([getattr(config, key, None) for key in _SETTINGS_BEYOND_WEIGHTS]).encode())
    for name, weight in sorted(model.state_dict().items()):
        # a checksum guards against mistakes, and reads a gigabyte three times as fast as sha256
        checksum = zlib.crc32(weight.detach().cpu().contiguous().numpy())
        digest.update(f"{name} {tuple(weight.shape)} {checksum}".encode())
    return digest.hexdigest()[:16]


def _choose_device(device: str | torch.device | None) -> torch.device:
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise EncoderError(
            f"device {str(device)!r} does not work here ({str(error).splitlines()[0]}); try 'cpu'"
        ) from error
    return torch.device(device)


def _choose_max_words(max_words: int | None, parts: ClipParts) -> int:
    """All positions, or less where training says so; ``max_words`` may ask for fewer."""
    limit = parts.full_length
    if max_words is not None and not 3 <= max_words <= limit:  # SOS, one token, EOS
        raise EncoderError(f"max_words (--words) must be 3 to {limit} for this model, got {max_words}")
    return max_words or min(limit, parts.max_words or limit)
