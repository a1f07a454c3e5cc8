"""What there is in the rendered world: things, places and events, and which of their combinations each split may show.

A scene is one thing (shape, colour, size, texture) at a place in an event; in two events it meets or leaves another
thing. Every combination of these six belongs to one split only, by its hash, so no scene of the test part is ever seen
in training. One colour of each shape (``is_held_out``) is never shown in training as that scene's thing: the test part
asks for compositions that are new as pairs, too.
Neighbours: ``wording.py`` says what happens in a scene, ``painting.py`` shows it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from wordframe.data import SPLITS

SHAPES = ("circle", "square", "triangle", "star", "ring", "cross", "diamond", "heart")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
SIZES = ("small", "large")
TEXTURES = ("plain", "striped", "dotted")
PLACES = ("night", "grass", "sea", "sand", "wall", "snow")
EVENTS = (
    "stays left", "stays right", "stays high", "stays low", "moves left", "moves right", "rises", "falls", "grows",
    "shrinks", "meets", "leaves",
)  # fmt: skip
WITH_PARTNER = ("meets", "leaves")
ASPECTS = ("shape", "colour", "size", "texture", "place", "event")
"""What a caption may tell of a scene; a partner is told by its shape and colour with the event."""

_TENTHS = {"train": range(0, 8), "val": range(8, 9), "test": range(9, 10)}
_TENTHS_HELD_OUT = {"train": range(0, 0), "val": range(0, 5), "test": range(5, 10)}


@dataclass(frozen=True, kw_only=True)
class Thing:
    """What can be seen."""

    shape: str
    colour: str
    size: str
    texture: str


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One shot: a thing at a place in an event; ``partner`` is the other thing of ``meets`` and ``leaves``."""

    thing: Thing
    place: str
    event: str
    partner: Thing | None = None

    def __post_init__(self) -> None:
        if (self.partner is not None) != (self.event in WITH_PARTNER):
            raise ValueError(f"event={self.event!r} with partner={self.partner}; only {WITH_PARTNER} have a partner")

    def aspect(self, name: str) -> str:
        """The value of one of ``ASPECTS``."""
        return self.place if name == "place" else self.event if name == "event" else str(getattr(self.thing, name))

    @property
    def combination(self) -> tuple[str, ...]:
        """What makes two scenes the same: all aspects of the thing, place and event."""
        return tuple(self.aspect(name) for name in ASPECTS)

    def fits(self, told: dict[str, str], partner: tuple[str, str] | None) -> bool:
        """Whether a caption that tells these aspects, and the partner's shape and colour, is true of this scene."""
        mine = None if self.partner is None else (self.partner.shape, self.partner.colour)
        return all(self.aspect(name) == value for name, value in told.items()) and partner in (None, mine)


def is_held_out(shape: str, colour: str) -> bool:
    """Whether this pair is kept from training: one colour a shape.

    >>> [colour for colour in COLOURS if is_held_out("star", colour)]
    ['purple']
    """
    return (SHAPES.index(shape) + COLOURS.index(colour)) % len(COLOURS) == 0


def split_of(scene: Scene) -> str:
    """The one split that may show this combination."""
    digest = hashlib.sha256("|".join(scene.combination).encode()).digest()
    tenths = _TENTHS_HELD_OUT if is_held_out(scene.thing.shape, scene.thing.colour) else _TENTHS
    return next(split for split in SPLITS if digest[0] % 10 in tenths[split])


def draw_scene(chance: np.random.Generator, split: str) -> Scene:
    """A random scene of ``split``: its pair of shape and colour first, so that all pairs are equally frequent."""
    if split not in SPLITS:
        raise ValueError(f"split={split!r} is no split; use one of {', '.join(SPLITS)}")
    while True:
        shape, colour = str(chance.choice(SHAPES)), str(chance.choice(COLOURS))
        if split != "train" or not is_held_out(shape, colour):
            break
    while True:
        scene = _draw_rest(chance, shape, colour)
        if split_of(scene) == split:
            return scene


def _draw_rest(chance: np.random.Generator, shape: str, colour: str) -> Scene:
    event = str(chance.choice(EVENTS))
    partner = None
    if event in WITH_PARTNER:
        others = [name for name in SHAPES if name != shape]
        partner = Thing(
            shape=str(chance.choice(others)), colour=str(chance.choice(COLOURS)), size="small", texture="plain"
        )
    return Scene(
        thing=Thing(shape=shape, colour=colour, size=str(chance.choice(SIZES)), texture=str(chance.choice(TEXTURES))),
        place=str(chance.choice(PLACES)),
        event=event,
        partner=partner,
    )
