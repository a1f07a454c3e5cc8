"""In a library of a few videos, too, a match that is no better than what it answers to anything is told as such."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.colours import COLOURS, ColourEncoder, plain_colour, write_scenes
from wordframe.features import TextFeatures
from wordframe.library import Library, Snapshot
from wordframe.search import EncodedQuery, Query, background, encode, search


class KnowingEncoder(ColourEncoder):
    """Sentences without a colour have one each, faint among greys, as everyday sentences are to an encoder."""

    def encode_text(self, sentences: Sequence[str]) -> TextFeatures:
        found = super().encode_text(sentences)
        rows = []
        for sentence, row in zip(sentences, found.sentence, strict=True):
            if any(word in COLOURS for word in sentence.split()):
                rows.append(row)
            else:
                rows.append(torch.from_numpy(np.random.default_rng(sum(sentence.encode())).normal(0, 1, 6)).float())
        return TextFeatures(torch.stack(rows), found.words, found.word_mask)


def library_of(folder: Path, *colours: str) -> Snapshot:
    for number, colour in enumerate(colours):
        write_scenes(folder / "videos" / f"{number}-{colour}.mp4", (colour, 2))
    library = Library.open(folder / "library", encoder=KnowingEncoder())
    library.index([folder / "videos"])
    return library.snapshot()


def weak_of(snapshot: Snapshot, query: Query) -> list[bool]:
    asked = encode(snapshot, query)
    level = background(snapshot, asked)
    assert level.best_by_chance is not None
    return [level.is_weak(hit.score) for hit in search(snapshot, asked)]


@pytest.mark.parametrize("others", [[], ["black"], ["black", "blue", "black", "cyan", "blue"]])
def test_what_is_there_stands_out_and_what_is_not_does_not(tmp_path: Path, others: list[str]) -> None:
    snapshot = library_of(tmp_path, "red", *others)
    assert weak_of(snapshot, Query(text="red"))[0] is False
    assert all(weak_of(snapshot, Query(text="red"))[1:])
    assert all(weak_of(snapshot, Query(text="green")))


def test_a_picture_of_what_is_not_there_is_weak(tmp_path: Path) -> None:
    snapshot = library_of(tmp_path, "red", "magenta", "blue", "black", "magenta", "red")
    assert not weak_of(snapshot, Query(image=plain_colour("red")))[0]
    assert all(weak_of(snapshot, Query(image=plain_colour("green"))))


def test_among_too_few_videos_no_picture_is_weak(tmp_path: Path) -> None:
    snapshot = library_of(tmp_path, "red", "blue")
    assert background(snapshot, encode(snapshot, Query(image=plain_colour("green")))).best_by_chance is None


def test_an_encoder_that_does_not_know_everyday_words_marks_nothing(tmp_path: Path) -> None:
    write_scenes(tmp_path / "videos" / "red.mp4", ("red", 2))
    library = Library.open(tmp_path / "library", encoder=ColourEncoder())
    library.index([tmp_path / "videos"])
    snapshot = library.snapshot()
    assert background(snapshot, encode(snapshot, Query(text="green"))).best_by_chance is None


def test_the_everyday_sentences_are_encoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = library_of(tmp_path, "red")
    query: EncodedQuery = encode(snapshot, Query(text="red"))
    first = background(snapshot, query)
    monkeypatch.setattr(KnowingEncoder, "encode_text", lambda *_: pytest.fail("encoded again"))
    assert background(snapshot, query) == first
