"""Everyday sentences that nobody asked: what a library answers to them is what it answers to anything.

Neighbours: ``search.py`` tells chance by them in a small library, ``recall.py`` asks them to measure the shortlist.
"""

from __future__ import annotations

import random
from functools import lru_cache

from wordframe.encoders import Encoder
from wordframe.features import TextFeatures

NUM_EVERYDAY = 64
_SUBJECTS = "a man|a woman|a child|two people|a crowd|a dog|a cat|a bird|a horse|a car|a train|a boat|a plane".split(
    "|"
)
_DOINGS = "is running|is talking|is eating|is moving slowly|is playing|is standing still|is turning around".split("|")
_PLACES = "in a kitchen|on a street|at the beach|in a forest|on a stage|in the snow|at night|in an office".split("|")


def plain_sentences(count: int, *, seed: int = 0) -> list[str]:
    """Different everyday sentences, always the same ones for a seed.

    >>> plain_sentences(2)[0].startswith(("a ", "two "))
    True
    """
    every = [f"{who} {does} {where}" for who in _SUBJECTS for does in _DOINGS for where in _PLACES]
    return random.Random(seed).sample(every, count)


@lru_cache(maxsize=2)  # a second of work, and the same for every state of a library that grows
def everyday_features(encoder: Encoder) -> TextFeatures:
    """The features of 64 of them."""
    return encoder.encode_text(plain_sentences(NUM_EVERYDAY))
