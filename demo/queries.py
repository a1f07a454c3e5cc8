"""The demo's dozen queries, written down before the first search and left alone since.

Each names the subject it asks for, as ``films.places`` knows it. Not all are easy: ImageNet's thousand classes, which
are all the picture side of the offline encoder was taught, hold neither astronauts nor pagodas. What it misses stays.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Query:
    """What a person types, and the subject that answers it."""

    text: str
    subject: str


QUERIES = (
    Query("a cat looking into the camera", "chelsea.png"),
    Query("a cup of coffee on a wooden table", "coffee.png"),
    Query("a rocket on its launch pad at dusk", "rocket.jpg"),
    Query("an astronaut in an orange space suit", "astronaut.png"),
    Query("a red motorcycle in a garage", "motorcycle_left.png"),
    Query("a Chinese pagoda above a lake", "china.jpg"),
    Query("an orange flower in bloom", "flower.jpg"),
    Query("a photographer with his camera on a tripod", "camera.png"),
    Query("old coins laid out in rows", "coins.png"),
    Query("a big rabbit stretching in a meadow", "rabbit"),
    Query("a man with a bow tie talking in a car", "man in a car"),
    Query("a bicycle parked against a wall", "parked bicycle"),
)
