"""Pictures of a scene: a thing (and its partner) moving before a background, frame by frame.

Positions are in the unit square, x to the right and y down; sizes are radii in the same unit. Everything is drawn at
twice the size and halved, so edges are smooth. Neighbours: ``scene.py`` (what there is), ``films.py`` (into files).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from world.scene import Scene, Thing

RGB = {
    "red": (225, 30, 35), "orange": (250, 140, 20), "yellow": (250, 225, 40), "green": (25, 160, 60),
    "blue": (35, 80, 225), "purple": (130, 40, 170), "pink": (250, 140, 190), "white": (245, 245, 245),
}  # fmt: skip
RADIUS = {"small": 0.13, "large": 0.24}
_SPRITE = 128
_FINER = 2
_OUTLINE = (20, 20, 20)


@dataclass(frozen=True)
class _Pose:
    """Where a thing is and how large."""

    x: float
    y: float
    radius: float


def paint(chance: np.random.Generator, scene: Scene, *, num_frames: int, size: int) -> Iterator[NDArray[np.uint8]]:
    """The pictures ``(size, size, 3)`` of one scene; position, tint and background differ from draw to draw."""
    background = _background(chance, scene.place, size * _FINER)
    jitter = chance.uniform(-0.06, 0.06, size=2)
    scale = chance.uniform(0.9, 1.1)
    things = [(scene.thing, 0)] + ([(scene.partner, 1)] if scene.partner is not None else [])
    sprites = [(_sprite(thing, chance), thing, role) for thing, role in things]
    for number in range(num_frames):
        picture = background.copy()
        for sprite, thing, role in reversed(sprites):
            pose = _pose(scene.event, role, number / max(1, num_frames - 1), RADIUS[thing.size] * scale)
            _paste(picture, sprite, _Pose(pose.x + jitter[0], pose.y + jitter[1], pose.radius))
        yield np.asarray(picture.reduce(_FINER))


def _pose(event: str, role: int, time: float, radius: float) -> _Pose:
    """The pose at ``time`` in [0, 1]; role 0 is the thing, 1 its partner."""
    along = 0.24 + 0.52 * time
    if event in ("meets", "leaves"):
        apart = (1 - time if event == "meets" else time) * 0.22 + 0.12
        return _Pose(0.5 - apart if role == 0 else 0.5 + apart, 0.5, min(radius, RADIUS["small"] * 1.3))
    if event in ("grows", "shrinks"):
        share = time if event == "grows" else 1 - time
        return _Pose(0.5, 0.5, radius * (0.4 + 1.0 * share))
    places = {
        "stays left": (0.26, 0.5), "stays right": (0.74, 0.5), "stays high": (0.5, 0.26), "stays low": (0.5, 0.74),
        "moves left": (1 - along, 0.5), "moves right": (along, 0.5), "rises": (0.5, 1 - along), "falls": (0.5, along),
    }  # fmt: skip
    return _Pose(*places[event], radius)


def _paste(picture: Image.Image, sprite: Image.Image, pose: _Pose) -> None:
    side = max(2, round(2 * pose.radius * picture.width))
    small = sprite.resize((side, side), Image.Resampling.BOX)
    corner = (round(pose.x * picture.width - side / 2), round(pose.y * picture.height - side / 2))
    picture.paste(small, corner, small)


def _sprite(thing: Thing, chance: np.random.Generator) -> Image.Image:
    """The thing on a transparent ground, ``RGBA``, with a dark outline that sets it off from any background."""
    tint = np.clip(np.array(RGB[thing.colour]) + chance.integers(-14, 15, size=3), 0, 255)
    colour = tuple(int(value) for value in tint)
    dark = tuple(value * 2 // 5 for value in colour)
    face = Image.new("RGB", (_SPRITE, _SPRITE), colour)
    draw = ImageDraw.Draw(face)
    if thing.texture == "striped":
        for start in range(0, _SPRITE, 32):
            draw.rectangle((0, start, _SPRITE, start + 14), fill=dark)
    elif thing.texture == "dotted":
        for row, y in enumerate(range(14, _SPRITE, 28)):
            for x in range(14 if row % 2 else 0, _SPRITE, 28):
                draw.ellipse((x - 7, y - 7, x + 7, y + 7), fill=dark)
    outer, inner = _mask(thing.shape, 1.0), _mask(thing.shape, 0.84)
    sprite = Image.new("RGBA", (_SPRITE, _SPRITE), (*_OUTLINE, 0))
    sprite.paste(Image.new("RGB", face.size, _OUTLINE), (0, 0), outer)
    sprite.paste(face, (0, 0), inner)
    return sprite


def _mask(shape: str, scale: float) -> Image.Image:
    """Where the shape is, as an ``L`` picture; ``scale`` 1 touches the edges."""
    mask = Image.new("L", (_SPRITE, _SPRITE), 0)
    draw = ImageDraw.Draw(mask)
    centre, radius = _SPRITE / 2, _SPRITE / 2 * scale - 1
    if shape in ("circle", "ring"):
        draw.ellipse((centre - radius, centre - radius, centre + radius, centre + radius), fill=255)
        if shape == "ring":
            hole = _SPRITE / 2 * (0.42 + (1 - scale))
            draw.ellipse((centre - hole, centre - hole, centre + hole, centre + hole), fill=0)
        return mask
    draw.polygon([(centre + radius * x, centre + radius * y) for x, y in _corners(shape)], fill=255)
    return mask


def _corners(shape: str) -> list[tuple[float, float]]:
    """The outline of a shape in the square from -1 to 1."""
    if shape == "square":
        return [(-0.86, -0.86), (0.86, -0.86), (0.86, 0.86), (-0.86, 0.86)]
    if shape == "triangle":
        return [(0.0, -1.0), (0.98, 0.8), (-0.98, 0.8)]
    if shape == "diamond":
        return [(0.0, -1.0), (0.7, 0.0), (0.0, 1.0), (-0.7, 0.0)]
    if shape == "cross":
        a = 0.34
        return [
            (-a, -1),
            (a, -1),
            (a, -a),
            (1, -a),
            (1, a),
            (a, a),
            (a, 1),
            (-a, 1),
            (-a, a),
            (-1, a),
            (-1, -a),
            (-a, -a),
        ]
    if shape == "star":
        angles = [math.pi * (number / 5 - 0.5) for number in range(10)]
        return [
            (math.cos(angle) * (0.42 if number % 2 else 1), math.sin(angle) * (0.42 if number % 2 else 1))
            for number, angle in enumerate(angles)
        ]
    turn = np.linspace(0, 2 * math.pi, 48, endpoint=False)  # the heart: a known curve, 32 units wide
    x = 16 * np.sin(turn) ** 3 / 16.5
    y = -(13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn) + 2.5) / 15
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _background(chance: np.random.Generator, place: str, side: int) -> Image.Image:
    """A ground with a pattern of its place and an accidental brightness."""
    base = {
        "night": (18, 18, 48), "grass": (95, 175, 75), "sea": (60, 140, 190), "sand": (215, 185, 130),
        "wall": (165, 85, 65), "snow": (225, 232, 240),
    }[place]  # fmt: skip
    ground = np.broadcast_to(np.array(base, np.float64), (side, side, 3)).copy()
    rows, columns = np.mgrid[0:side, 0:side] / side
    if place == "night":
        ground[chance.random((side, side)) < 0.004] = (220, 220, 200)
    elif place == "sea":
        phase = chance.uniform(0, 2 * math.pi)
        ground += 26 * np.sin(2 * math.pi * (7 * rows + 0.3 * np.sin(2 * math.pi * 2 * columns)) + phase)[..., None]
    elif place == "wall":
        shifted = columns + 0.125 * (np.floor(rows * 8) % 2)
        joints = (rows * 8 % 1 < 0.14) | (shifted * 4 % 1 < 0.08)
        ground[joints] = (200, 190, 180)
    else:
        coarse = chance.normal(0, {"grass": 26, "sand": 12, "snow": 5}[place], size=(side // 4, side // 4))
        ground += coarse.repeat(4, axis=0).repeat(4, axis=1)[:side, :side, None]
    ground = ground * chance.uniform(0.85, 1.1) + chance.normal(0, 4, size=(side, side, 1))
    return Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))
