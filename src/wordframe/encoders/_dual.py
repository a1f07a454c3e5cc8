"""Any dual encoder of transformers behind one face: sentences into token ids, ids and pixels into features.

Model types differ in a few ways, told in ``MODEL_TYPES``: whether padding is masked in the text tower (where attention
looks both ways) or needs no mask (causal), whether texts are padded to a fixed length, and which layer projects token
states. The sentence is the model's own text feature; words are all token states through the same projection.
Neighbours: ``backbone.py`` (OpenAI's CLIP, trainable), ``clip.py`` (the encoder around either), ``_loading.py``.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

import ftfy
import torch
from torch import Tensor

from wordframe.errors import EncoderError
from wordframe.features import TextFeatures


@dataclass(frozen=True, kw_only=True)
class ModelType:
    """How one ``model_type`` of transformers wants its input.

    Attributes:
        mask_padding: the text tower attends both ways and needs to be told the padding.
        fixed_length: every text is padded to the model's full length, as in training.
        cleans_text: texts pass ``clean_text`` first, as in OpenAI's code.
        pad_with_zero: padded positions carry id 0, as in OpenAI's code, whatever the tokenizer's padding token.
        patches: the image tower takes a list of patches instead of an image.
        projection: the layer that brings token states into the common space.
        other_languages: its sentences may be in others than English.
    """

    mask_padding: bool = False
    fixed_length: bool = False
    cleans_text: bool = False
    pad_with_zero: bool = False
    patches: bool = False
    projection: str = "text_projection"
    other_languages: bool = False


_WORDS_OF_ENGLISH = 100_000
"""Tokens: vocabularies for English have half as many or fewer, those for many languages twice as many or more."""
MODEL_TYPES = {
    "clip": ModelType(cleans_text=True, pad_with_zero=True),
    "metaclip_2": ModelType(other_languages=True),
    "siglip": ModelType(fixed_length=True, projection="text_model.head"),
    "siglip2": ModelType(fixed_length=True, patches=True, projection="text_model.head", other_languages=True),
    "chinese_clip": ModelType(mask_padding=True, other_languages=True),
    "altclip": ModelType(mask_padding=True, other_languages=True),
}


def model_type_of(model_type: str) -> ModelType:
    """The one called ``model_type`` in a model's ``config.json``."""
    if model_type not in MODEL_TYPES:
        raise EncoderError(
            f"a model of type {model_type!r} is not supported; supported types: {', '.join(sorted(MODEL_TYPES))}"
        )
    return MODEL_TYPES[model_type]


class DualEncoder:
    """A dual encoder of transformers, for inference."""

    def __init__(self, *, model: Any) -> None:
        self.model = model.eval()
        self.model_type = model_type_of(model.config.model_type)
        self._project = model.get_submodule(self.model_type.projection)
        self.dimension = int(self._project.out_features)

    @property
    def max_words(self) -> int:
        """The most token positions ``W`` that the text tower takes."""
        return int(self.model.config.text_config.max_position_embeddings)

    @property
    def vocabulary(self) -> int:
        """Number of tokens the text tower knows."""
        return int(self.model.config.text_config.vocab_size)

    @property
    def reads_many_languages(self) -> bool:
        """By its type, or by a vocabulary that is too large for English alone (the multilingual ones of SigLIP)."""
        return self.model_type.other_languages or self.vocabulary > _WORDS_OF_ENGLISH

    def encode_ids(self, input_ids: Tensor, mask: Tensor) -> TextFeatures:
        """Token ids ``(T, W)`` and their mask ``(T, W)`` into features."""
        attention_mask = mask if self.model_type.mask_padding else None
        output = self.model.get_text_features(input_ids=input_ids, attention_mask=attention_mask)
        words = self._project(output.last_hidden_state)  # (T, W, width) -> (T, W, D)
        return TextFeatures(output.pooler_output, words, mask)

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """Pixels ``(N, 3, H, W)`` into frame features ``(N, D)``."""
        inputs = {"pixel_values": pixels}
        if self.model_type.patches:
            inputs = _to_patches(pixels, self.model.config.vision_config.patch_size)
        frames: Tensor = self.model.get_image_features(**inputs).pooler_output
        return frames


def _to_patches(pixels: Tensor, side: int) -> dict[str, Tensor]:
    """Pixels ``(N, 3, H, W)`` as the patches ``(N, P, side · side · 3)`` of SigLIP 2, row by row, none padded."""
    count, _, height, width = pixels.shape
    rows, columns = height // side, width // side
    patches = pixels.reshape(count, 3, rows, side, columns, side).permute(0, 2, 4, 3, 5, 1)
    patches = patches.reshape(count, rows * columns, side * side * 3)  # (N, P, side · side · 3)
    return {
        "pixel_values": patches,
        "pixel_attention_mask": torch.ones(patches.shape[:2], dtype=torch.long, device=pixels.device),
        "spatial_shapes": torch.tensor([[rows, columns]] * count, device=pixels.device),
    }


CLEANING = "text repaired by ftfy, HTML entities read twice, lower case"
"""What ``clean_text`` does, in the words of reports and caches."""


def clean_text(text: str) -> str:
    """A text as CLIP's tokenizer cleans it before it looks for byte pairs (Radford et al., 2021, their code).

    >>> clean_text(" Salt &amp;amp; pepper,  \u201cfresh\u201d from the caf\u00c3\u00a9 ")
    'salt & pepper, "fresh" from the café'
    """
    # ftfy leaves entities alone in a text that holds "<", so they are read here in any case: twice, since texts from
    # the web were often escaped twice
    unescaped = html.unescape(html.unescape(ftfy.fix_text(text)))
    # lower case by Python before transformers does it letter by letter: a Greek sigma at a word's end differs
    return " ".join(unescaped.split()).lower()


class SentenceTokenizer:
    """A tokenizer of transformers under the rules of one model type.

    CLIP's: byte pairs of the text after ``clean_text``, SOS + tokens cut to ``max_words - 1`` + EOS, padded with id 0
    to the longest sentence given. Others keep their own tokenizer's rules; SigLIP pads every text to its full length.

    Args:
        tokenizer: transformers' tokenizer.
        model_type: of the model that takes the ids.
        max_words: the longest token sequence, SOS and EOS included.
        vocabulary: number of tokens that the model knows.
    """

    def __init__(self, *, tokenizer: Any, model_type: ModelType, max_words: int, vocabulary: int) -> None:
        if len(tokenizer) > vocabulary:
            raise EncoderError(
                f"the tokenizer has {len(tokenizer)} tokens, the model knows {vocabulary}: they do not belong together"
            )
        self._tokenizer = tokenizer
        self._model_type = model_type
        self.max_words = max_words
        self.cleaning = CLEANING if model_type.cleans_text else ""
        self._lock = Lock()

    def __call__(self, sentences: Sequence[str]) -> tuple[Tensor, Tensor]:
        """``T`` sentences into ids ``(T, W)`` long and mask ``(T, W)`` bool."""
        # CLIP finds EOS behind the words, so only a model of fixed length may be padded on the left
        side = {} if self._model_type.fixed_length else {"padding_side": "right"}
        # here and not left to transformers, which repairs text only in some of its tokenizers and where ftfy is there
        texts = [clean_text(text) if self._model_type.cleans_text else text for text in sentences]
        with self._lock:  # a tokenizer keeps its padding and truncation as state, and refuses a second thread
            tokens = self._tokenizer(
                texts,
                padding="max_length" if self._model_type.fixed_length else "longest",
                truncation=True,
                max_length=self.max_words,
                return_attention_mask=True,
                **side,
            )
        mask = torch.tensor(tokens["attention_mask"], dtype=torch.bool)
        input_ids = torch.tensor(tokens["input_ids"], dtype=torch.long)
        return (input_ids.masked_fill(~mask, 0) if self._model_type.pad_with_zero else input_ids), mask

    def tokens(self, sentence: str) -> list[str]:
        """The text of each real position of ``sentence``; SOS and EOS by their names in the vocabulary."""
        input_ids, mask = self([sentence])
        with self._lock:
            return [str(self._tokenizer.decode([number])).strip() for number in input_ids[0][mask[0]].tolist()]


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bar and no advice from transformers inside the block; what goes wrong is still raised."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
