"""Whether the files of a model belong together: what transformers replaces by defaults of its own, without a word.

A folder without a vocabulary gets an empty one and reads all sentences alike; a tower that looks for an end token which
the tokenizer does not write pools the first token of every sentence; pictures of another size than the tower's fail at
the first frame. Each is refused when the model is loaded, with the file that is at fault.
Neighbours: ``_loading.py`` calls, ``_dual.py`` knows where a tower pools.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wordframe.encoders._dual import Backbone, model_type_of
from wordframe.errors import EncoderError

VOCABULARY_FILES = (
    ("tokenizer.json",),
    ("vocab.json", "merges.txt"),
    ("vocab.txt",),
    ("spiece.model",),
    ("sentencepiece.bpe.model",),
    ("tokenizer.model",),
)
"""Any of these sets is a whole vocabulary."""
_LEAST_SHARE = 0.95
"""Of the text tower's tokens that its tokenizer has: towers are rounded up to numbers that hardware likes."""
_PROBE = "a"


def need_vocabulary(folder: Path, model_type: str) -> None:
    """Raises unless a ``folder`` in transformers' format holds what its sentences are read by.

    Raises:
        EncoderError: it names the files; or the type is not supported.
    """
    kind = model_type_of(model_type)
    if not any(all((folder / file).is_file() for file in files) for files in VOCABULARY_FILES):
        known = ", ".join(" with ".join(files) for files in VOCABULARY_FILES)
        raise EncoderError(
            f"{folder} holds no vocabulary (one of {known}): its sentences cannot be read; "
            "put the tokenizer's files of the same model there"
        )
    # only SigLIP's settings say by which of two tokenizers, with and without capitals, the vocabulary is meant
    if kind.fixed_length and not (folder / "tokenizer_config.json").is_file():
        raise EncoderError(
            f"{folder} holds no tokenizer_config.json: it does not say how sentences are cut into tokens; "
            "put the tokenizer's files of the same model there"
        )


def refuse_strangers(name: str, towers: Backbone, tokenizer: Any) -> None:
    """Raises unless a model's parts fit each other.

    Args:
        name: of the model, for the message.
        towers: with the preprocessing of its pictures.
        tokenizer: of transformers.

    Raises:
        EncoderError: the vocabulary is another one, the sentence would be taken from the wrong token, or pictures have
            another size than the tower's.
    """
    _compare_vocabulary(name, towers, tokenizer)
    _compare_pooling(name, towers, tokenizer)
    _compare_pictures(name, towers)


def _compare_vocabulary(name: str, towers: Backbone, tokenizer: Any) -> None:
    size = len(tokenizer)
    if not _LEAST_SHARE * towers.vocabulary <= size <= towers.vocabulary:
        raise EncoderError(
            f"{name}: the tokenizer has {size:,} tokens, the text tower (config.json) knows {towers.vocabulary:,}: "
            "they do not belong together, or a file of the vocabulary is missing"
        )
    beyond = [number for number in tokenizer.all_special_ids if not 0 <= number < towers.vocabulary]
    if beyond or tokenizer.pad_token_id is None:
        what = "there is no padding token" if not beyond else f"the special token {beyond[0]} is none of the tower's"
        raise EncoderError(
            f"{name}: {what}; take tokenizer_config.json and the vocabulary from the same model as the weights"
        )


def _compare_pooling(name: str, towers: Backbone, tokenizer: Any) -> None:
    """A sentence is pooled from a token that stands in each, also in one without a word."""
    if towers.model_type.fixed_length:  # pooled from the last position, whatever stands there
        return
    some, none = (list(tokenizer(text)["input_ids"]) for text in (_PROBE, ""))
    place, wanted = (0, 0) if towers.model_type.pools_first else (towers.pooled_place(some), len(some) - 1)
    if not none or place != wanted or some[place] != none[0 if towers.model_type.pools_first else -1]:
        which = "start" if towers.model_type.pools_first else "end"
        raise EncoderError(
            f"{name}: the text tower takes a sentence from its {which} token, which the tokenizer does not write there "
            f"(config.json says {towers.model.config.text_config.eos_token_id} of the end); "
            "take tokenizer_config.json, the vocabulary and config.json from the same model as the weights"
        )


def _compare_pictures(name: str, towers: Backbone) -> None:
    side = getattr(towers.model.config.vision_config, "image_size", None)
    made = (towers.preprocessing.height, towers.preprocessing.width)
    if side is not None and not towers.model_type.patches and made != (side, side):
        raise EncoderError(
            f"{name}: preprocessor_config.json makes pictures of {made[0]} × {made[1]} pixels, the image tower "
            f"(config.json) takes {side} × {side}: take both files from the same model as the weights"
        )
