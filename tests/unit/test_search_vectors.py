"""Where a text sends the first stage of a search: the sentence, or halfway to its words where they are compared."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from wordframe.features import TextFeatures
from wordframe.models import load_model

D = 64


def text(words: list[list[float]], mask: list[bool]) -> TextFeatures:
    sentence = F.pad(torch.tensor([[3.0]]), (0, D - 1))
    return TextFeatures(sentence, F.pad(torch.tensor([words]), (0, D - 2)), torch.tensor([mask]))


@pytest.mark.parametrize("preset", ["xclip", "tcmgc-msrvtt"])
def test_halfway_between_the_sentence_and_the_mean_of_its_words(preset: str) -> None:
    given = text([[0.0, 5.0], [0.0, 0.1]], [True, True])  # of any length: both point along the second axis
    found = load_model(preset, dimension=D).search_vectors(given)
    torch.testing.assert_close(found, F.pad(torch.tensor([[0.5**0.5, 0.5**0.5]]), (0, D - 2)))


@pytest.mark.parametrize("preset", ["xclip", "tcmgc-msrvtt"])
def test_padding_may_hold_anything(preset: str) -> None:
    given = text([[0.0, 5.0], [float("nan"), 0.1]], [True, False])
    torch.testing.assert_close(
        load_model(preset, dimension=D).search_vectors(given),
        load_model(preset, dimension=D).search_vectors(text([[0.0, 5.0]], [True])),
    )


@pytest.mark.parametrize("preset", ["clip4clip-mean", "ea-clip4clip-mean", "clip4clip-tight", "zero-shot"])
def test_the_sentence_alone_where_words_are_not_compared(preset: str) -> None:
    found = load_model(preset, dimension=D).search_vectors(text([[0.0, 5.0]], [True]))
    torch.testing.assert_close(found, F.pad(torch.tensor([[1.0]]), (0, D - 1)))
