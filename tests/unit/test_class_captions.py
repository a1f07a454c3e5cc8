"""The captions of what pictures of each class show: complete, each once, and as people type."""

from __future__ import annotations

from collections import Counter

from offline_encoder import class_captions


def test_every_class_has_its_captions() -> None:
    captions = class_captions()
    assert len(captions) == 1000
    assert all(len(several) >= 12 for several in captions)
    counted = Counter(caption for several in captions for caption in several)
    assert [caption for caption, number in counted.items() if number > 1] == []


def test_captions_are_plain_sentences() -> None:
    for several in class_captions():
        for caption in several:
            assert caption == caption.strip().lower()
            assert caption.isascii()
            assert 3 <= len(caption.split()) <= 16, caption
            assert not caption.endswith(".")
