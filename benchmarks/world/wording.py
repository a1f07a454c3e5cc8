"""Sentences about scenes: synonyms, changing word order, and aspects left out, as people leave them out.

A ``Caption`` keeps what its text says, so that a test can hold it against the truth and the best possible recall can
be counted: several videos may fit one sentence. Neighbours: ``scene.py``, ``films.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from world.scene import ASPECTS, Scene, Thing

SHAPE_WORDS = {
    "circle": ("circle", "disc", "round shape"), "square": ("square", "box"), "triangle": ("triangle", "wedge"),
    "star": ("star", "star shape"), "ring": ("ring", "hoop"), "cross": ("cross", "plus sign"),
    "diamond": ("diamond", "rhombus"), "heart": ("heart", "heart shape"),
}  # fmt: skip
COLOUR_WORDS = {
    "red": ("red", "crimson"), "orange": ("orange",), "yellow": ("yellow", "golden"), "green": ("green", "emerald"),
    "blue": ("blue", "azure"), "purple": ("purple", "violet"), "pink": ("pink", "rosy"), "white": ("white", "pale"),
}  # fmt: skip
SIZE_WORDS = {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")}
TEXTURE_WORDS = {"plain": ("plain",), "striped": ("striped", "lined"), "dotted": ("dotted", "spotted")}
TEXTURE_ENDINGS = {"striped": ("with stripes", "with lines on it"), "dotted": ("with dots", "with spots on it")}
PLACE_WORDS = {
    "night": ("at night", "in the dark", "under a dark sky"), "grass": ("on the grass", "over a meadow", "on a lawn"),
    "sea": ("over the sea", "on the water", "above the waves"), "sand": ("on the sand", "in the desert", "on a beach"),
    "wall": ("in front of a brick wall", "by a wall of bricks"), "snow": ("in the snow", "on snowy ground"),
}  # fmt: skip
EVENT_WORDS = {
    "stays left": ("stays on the left", "rests at the left side", "sits on the left"),
    "stays right": ("stays on the right", "rests at the right side", "sits on the right"),
    "stays high": ("stays at the top", "hangs high up", "floats near the top"),
    "stays low": ("stays at the bottom", "lies low down", "rests near the bottom"),
    "moves left": ("moves to the left", "drifts left", "goes from right to left"),
    "moves right": ("moves to the right", "drifts right", "goes from left to right"),
    "rises": ("rises", "goes up", "climbs"),
    "falls": ("falls", "goes down", "drops"),
    "grows": ("grows", "gets bigger", "swells"),
    "shrinks": ("shrinks", "gets smaller", "dwindles"),
    "meets": ("meets", "comes together with", "bumps into"),
    "leaves": ("leaves", "moves away from", "parts from"),
}
_SAID = {"shape": 1.0, "colour": 0.9, "size": 0.35, "texture": 0.5, "place": 0.5, "event": 0.7}
"""How often a sentence tells each aspect; plainness is told half as often as a pattern."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a sentence says of the scene with this number: aspects, and the partner's shape and colour."""

    scene: int
    told: dict[str, str]
    partner: tuple[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Caption:
    """A sentence and what it says."""

    text: str
    claims: tuple[Claim, ...]

    def is_true_of(self, scenes: Sequence[Scene]) -> bool:
        """Whether every claim holds in some scene of a video; the order of scenes is not looked at."""
        return all(any(scene.fits(claim.told, claim.partner) for scene in scenes) for claim in self.claims)


def describe(chance: np.random.Generator, scenes: Sequence[Scene], number: int) -> Caption:
    """A sentence about the scene with this number."""
    scene = scenes[number]
    likely = {**_SAID, "texture": _SAID["texture"] / (2 if scene.thing.texture == "plain" else 1)}
    told = {name: scene.aspect(name) for name in ASPECTS if chance.random() < likely[name]}
    if "place" not in told and "event" not in told:
        told["event"] = scene.event
    partner = None
    if "event" in told and scene.partner is not None:
        partner = (scene.partner.shape, scene.partner.colour)
    return Caption(text=_clause(chance, scene, told), claims=(Claim(scene=number, told=told, partner=partner),))


def describe_part(chance: np.random.Generator, scenes: Sequence[Scene]) -> Caption:
    """A sentence about one scene of a video or, in three of ten, about two of them in their order."""
    if chance.random() < 0.7:
        return describe(chance, scenes, int(chance.integers(len(scenes))))
    first, second = sorted(int(number) for number in chance.choice(len(scenes), size=2, replace=False))
    one, two = describe(chance, scenes, first), describe(chance, scenes, second)
    pattern = _one(
        chance, ("{one}, then {two}", "first {one} and then {two}", "{two} after {one}", "{one} before {two}")
    )
    return Caption(text=pattern.format(one=one.text, two=two.text), claims=one.claims + two.claims)


def _one(chance: np.random.Generator, words: Sequence[str]) -> str:
    return words[int(chance.integers(len(words)))]


def _clause(chance: np.random.Generator, scene: Scene, told: dict[str, str]) -> str:
    subject = _noun_phrase(chance, scene.thing, told)
    place = _one(chance, PLACE_WORDS[scene.place]) if "place" in told else ""
    if "event" not in told:
        return f"{_one(chance, ('there is ', 'we see ', ''))}{subject} {place}"
    happens = _one(chance, EVENT_WORDS[scene.event])
    if scene.partner is not None:
        named = {"shape": scene.partner.shape, "colour": scene.partner.colour}
        happens = f"{happens} {_noun_phrase(chance, scene.partner, named)}"
    if not place:
        return f"{subject} {happens}"
    return f"{place}, {subject} {happens}" if chance.random() < 0.3 else f"{subject} {happens} {place}"


def _noun_phrase(chance: np.random.Generator, thing: Thing, told: dict[str, str]) -> str:
    """``a tiny red star with stripes``: the pattern before or behind the noun, before or behind the colour."""
    colour = _one(chance, COLOUR_WORDS[thing.colour]) if "colour" in told else ""
    texture, ending = "", ""
    if "texture" in told:
        behind = thing.texture in TEXTURE_ENDINGS and chance.random() < 0.5
        ending = _one(chance, TEXTURE_ENDINGS[thing.texture]) if behind else ""
        texture = "" if behind else _one(chance, TEXTURE_WORDS[thing.texture])
    size = _one(chance, SIZE_WORDS[thing.size]) if "size" in told else ""
    middle = [texture, colour] if chance.random() < 0.5 else [colour, texture]
    words = " ".join(word for word in (size, *middle, _one(chance, SHAPE_WORDS[thing.shape]), ending) if word)
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
