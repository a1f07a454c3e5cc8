"""Where a model finds the vocabulary of CLIP: a folder, or the hub. It is saved together with the model.

``encoders/tokens.py`` does the cutting and padding; ``model.py`` uses it for ``encode_text`` with strings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from wordframe.encoders import FAMILIES, SentenceTokenizer, load_tokenizer
from wordframe.errors import EncoderError

DEFAULT_VOCABULARY = "openai/clip-vit-base-patch32"
VOCABULARY_FILES = ("vocab.json", "merges.txt", "tokenizer*.json", "special_tokens_map.json")


class ClipTokenizer:
    """``T`` sentences into ``input_ids (T, W)`` and ``mask (T, W)``, ``W`` being the longest one's positions.

    Args:
        tokenizer: a CLIP tokenizer of transformers.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    @classmethod
    def load(cls, name_or_folder: str | Path = DEFAULT_VOCABULARY) -> ClipTokenizer:
        """From a folder with ``tokenizer.json``, or ``vocab.json`` and ``merges.txt``; or by hub id.

        Raises:
            EncoderError: it is not there.
        """
        try:
            folder = Path(name_or_folder)
            return cls(load_tokenizer(folder, folder if folder.is_dir() else _download(str(name_or_folder))))
        except (OSError, ValueError, EncoderError) as error:
            raise EncoderError(
                f"no CLIP vocabulary at {str(name_or_folder)!r}: encode_text(['a sentence']) needs vocab.json and "
                "merges.txt; set model.tokenizer = ClipTokenizer.load(FOLDER), or pass input_ids= and mask="
            ) from error

    def __call__(self, sentences: Sequence[str], *, max_words: int, vocabulary: int) -> tuple[Tensor, Tensor]:
        tokenize = SentenceTokenizer(
            tokenizer=self.tokenizer, family=FAMILIES["clip"], max_words=max_words, vocabulary=vocabulary
        )
        return tokenize(sentences)

    def save(self, folder: str | Path) -> None:
        """Write the vocabulary, so that ``load(folder)`` finds it."""
        self.tokenizer.save_pretrained(str(folder))


def _download(hub_id: str) -> Path:
    """The vocabulary alone, not the model it belongs to."""
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(hub_id, allow_patterns=list(VOCABULARY_FILES)))
