"""Captions into token ids as OpenAI's CLIP does it, by what its own tokenizer gave for the same captions.

``tests/golden/clip_tokens.json`` holds ids that open_clip 3.3.0's SimpleTokenizer gave with CLIP's whole vocabulary,
and of that vocabulary the tokens and merges that these captions need: leaving the others out changes no result.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from tests.unit.clip_models import word_tokenizer
from wordframe.encoders import MODEL_TYPES, SentenceTokenizer, clean_text
from wordframe.models import ClipTokenizer

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "clip_tokens.json").read_text(encoding="utf-8"))


def clip_tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer(vocab=GOLDEN["vocab"], merges=[tuple(pair) for pair in GOLDEN["merges"]])


@pytest.mark.parametrize(("caption", "expected"), GOLDEN["captions"])
def test_token_ids_are_openais(caption: str, expected: list[int]) -> None:
    tokenize = SentenceTokenizer(
        tokenizer=clip_tokenizer(), model_type=MODEL_TYPES["clip"], max_words=77, vocabulary=49408
    )
    input_ids, mask = tokenize([caption])
    assert input_ids[0][mask[0]].tolist() == expected
    # a model with a CLIP of its own, as it is trained and evaluated, and an encoder are one in this
    assert ClipTokenizer(clip_tokenizer())([caption], max_words=77, vocabulary=49408)[0].tolist() == input_ids.tolist()


def test_cleaning_again_changes_nothing() -> None:
    once = [clean_text(caption) for caption, _ in GOLDEN["captions"]]
    unescaped_further = [text for text in once if "&" not in text]
    assert len(unescaped_further) >= 18
    assert [clean_text(text) for text in unescaped_further] == unescaped_further


def test_other_models_get_the_text_as_it_is() -> None:
    tokenizer = word_tokenizer(start=None, end="</s>", max_words=16)
    seen: list[str] = []

    def note(texts: list[str], **options: object) -> object:
        seen.extend(texts)
        return tokenizer(texts, **options)

    class Noting:
        __call__ = staticmethod(note)
        __len__ = staticmethod(lambda: len(tokenizer))

    tokenize = SentenceTokenizer(tokenizer=Noting(), model_type=MODEL_TYPES["siglip"], max_words=16, vocabulary=99)
    tokenize(["A &amp; dog"])
    assert seen == ["A &amp; dog"]
    assert tokenize.cleaning == ""
