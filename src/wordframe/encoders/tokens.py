"""Sentences into the token ids of a dual encoder.

CLIP: byte pairs of the lower-case text, SOS + tokens cut to ``max_words - 1`` + EOS, padded with id 0 to the longest
sentence given. Other families keep their own tokenizer's rules; SigLIP pads every text to its full length.
Neighbours: ``dual.py`` tells the families apart, ``clip.py`` encodes the ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from wordframe.encoders.dual import Family
from wordframe.errors import EncoderError


class SentenceTokenizer:
    """A tokenizer of transformers under the rules of one family.

    Args:
        tokenizer: transformers' tokenizer.
        family: of the model that takes the ids.
        max_words: the longest token sequence, SOS and EOS included.
        vocabulary: number of tokens that the model knows.
    """

    def __init__(self, *, tokenizer: Any, family: Family, max_words: int, vocabulary: int) -> None:
        if len(tokenizer) > vocabulary:
            raise EncoderError(
                f"the tokenizer has {len(tokenizer)} tokens, the model knows {vocabulary}: they do not belong together"
            )
        self._tokenizer = tokenizer
        self._family = family
        self.max_words = max_words
        self._lock = Lock()

    def __call__(self, sentences: Sequence[str]) -> tuple[Tensor, Tensor]:
        """``T`` sentences into ids ``(T, W)`` long and mask ``(T, W)`` bool."""
        # CLIP finds EOS behind the words, so only a family of fixed length may be padded on the left
        side = {} if self._family.fixed_length else {"padding_side": "right"}
        with self._lock:  # a tokenizer keeps its padding and truncation as state, and refuses a second thread
            tokens = self._tokenizer(
                list(sentences),
                padding="max_length" if self._family.fixed_length else "longest",
                truncation=True,
                max_length=self.max_words,
                return_attention_mask=True,
                **side,
            )
        mask = torch.tensor(tokens["attention_mask"], dtype=torch.bool)
        input_ids = torch.tensor(tokens["input_ids"], dtype=torch.long)
        return (input_ids.masked_fill(~mask, 0) if self._family.pad_with_zero else input_ids), mask

    def tokens(self, sentence: str) -> list[str]:
        """The text of each real position of ``sentence``; SOS and EOS by their names in the vocabulary."""
        input_ids, mask = self([sentence])
        with self._lock:
            return [str(self._tokenizer.decode([number])).strip() for number in input_ids[0][mask[0]].tolist()]
