"""A world of films on disk: mp4 files of several scenes each, captions that tell a part, and the truth beside them.

    FOLDER/world.json                       the settings; a folder of others is refused
    FOLDER/{train,val,test}/00000.mp4 …     2 to 4 scenes of 1.5 to 2.5 s each, H.264
    FOLDER/{train,val,test}/captions.json   {"00000.mp4": ["a tiny red star falls", …]}, as ``captions.py`` reads it
    FOLDER/{train,val,test}/truth.json      every scene with its time and sentences, and what each caption says

So ``wordframe evaluate --videos FOLDER/test --captions FOLDER/test/captions.json`` runs on it. Each film has a random
source of its own (seed, split, number): a larger world holds the films of a smaller one. Films that are there are kept,
so a stopped run goes on. Neighbours: ``scene.py``, ``wording.py``, ``painting.py``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wordframe.data import SPLITS
from wordframe.disk import write_whole
from wordframe.errors import AnnotationError
from world.mp4 import write_video
from world.painting import paint
from world.scene import Scene, Thing, draw_scene
from world.wording import Caption, Claim, describe, describe_part

FRAME_RATE = 8
FRAMES_A_SCENE = (12, 20)
SCENES_A_FILM = (2, 4)
SENTENCES_A_SCENE = 4
CAPTIONS_A_FILM = {"train": 4, "val": 2, "test": 2}
_VERSION = 1  # counts up when the same settings would give other films


@dataclass(frozen=True, kw_only=True)
class Shot:
    """A scene in its film, ``[start_seconds, end_seconds)``, and sentences about it alone."""

    scene: Scene
    start_seconds: float
    end_seconds: float
    sentences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Film:
    """One video: its file's name, its shots in order, and its captions."""

    file: str
    shots: tuple[Shot, ...]
    captions: tuple[Caption, ...]

    @property
    def scenes(self) -> tuple[Scene, ...]:
        return tuple(shot.scene for shot in self.shots)


def write_world(
    folder: str | os.PathLike[str],
    *,
    seed: int,
    train: int = 2000,
    val: int = 200,
    test: int = 400,
    size: int = 64,
    on_progress: Callable[[int], None] = lambda done: None,
) -> None:
    """Write the films, captions and truth of all three splits.

    Args:
        seed: of everything; another seed is another world of the same kind.
        train, val, test: films of each split.
        size: side of the square pictures in pixels, even.
        on_progress: called with the number of films done so far.

    Raises:
        AnnotationError: the folder holds a world of other settings.
    """
    counts = dict(zip(SPLITS, (train, val, test), strict=True))
    if min(counts.values()) < 1 or size < 16 or size % 2:
        raise ValueError(f"a world needs at least one film a split and an even size from 16, got {counts}, size={size}")
    root = Path(folder)
    _claim(root, {"version": _VERSION, "seed": seed, "size": size})
    done = 0
    for split, count in counts.items():
        (root / split).mkdir(exist_ok=True)
        films = []
        for number in range(count):
            chance = np.random.default_rng([seed, SPLITS.index(split), number])
            film, num_frames = _plan(chance, split, number)
            target = root / split / film.file
            if not target.exists():
                write_video(target, _pictures(chance, film, num_frames, size), frame_rate=FRAME_RATE)
            films.append(film)
            done += 1
            on_progress(done)
        captions = {film.file: [caption.text for caption in film.captions] for film in films}
        write_whole(root / split / "captions.json", json.dumps(captions))
        write_whole(root / split / "truth.json", json.dumps([asdict(film) for film in films]))


def read_films(folder: str | os.PathLike[str], split: str) -> tuple[Film, ...]:
    """The truth of one split, as ``write_world`` left it."""
    path = Path(folder) / split / "truth.json"
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error.strerror}); make the world anew") from error
    return tuple(_film(entry) for entry in entries)


def best_recall_at_1(films: tuple[Film, ...]) -> float:
    """R@1 text→video in percent of a reader who sees everything: where several films fit a caption it has to guess."""
    scenes = [film.scenes for film in films]
    fitting = [sum(caption.is_true_of(each) for each in scenes) for film in films for caption in film.captions]
    return 100 * float(np.mean([1 / count for count in fitting]))


def _plan(chance: np.random.Generator, split: str, number: int) -> tuple[Film, list[int]]:
    """A film and the number of frames of each of its shots."""
    scenes: list[Scene] = []
    for _ in range(chance.integers(SCENES_A_FILM[0], SCENES_A_FILM[1] + 1)):
        scenes.append(draw_scene(chance, split))
    num_frames = [int(chance.integers(FRAMES_A_SCENE[0], FRAMES_A_SCENE[1] + 1)) for _ in scenes]
    ends = np.cumsum(num_frames) / FRAME_RATE
    shots = tuple(
        Shot(
            scene=scene,
            start_seconds=float(end) - frames / FRAME_RATE,
            end_seconds=float(end),
            sentences=tuple(describe(chance, scenes, place).text for _ in range(SENTENCES_A_SCENE)),
        )
        for place, (scene, frames, end) in enumerate(zip(scenes, num_frames, ends, strict=True))
    )
    captions = tuple(describe_part(chance, scenes) for _ in range(CAPTIONS_A_FILM[split]))
    return Film(file=f"{number:05d}.mp4", shots=shots, captions=captions), num_frames


def _pictures(chance: np.random.Generator, film: Film, num_frames: list[int], size: int) -> Iterator[NDArray[np.uint8]]:
    for shot, frames in zip(film.shots, num_frames, strict=True):
        yield from paint(chance, shot.scene, num_frames=frames, size=size)


def _claim(root: Path, settings: dict[str, int]) -> None:
    """Mark the folder as this world's, or refuse one that is another's."""
    root.mkdir(parents=True, exist_ok=True)
    path = root / "world.json"
    if path.exists() and json.loads(path.read_text()) != settings:
        raise AnnotationError(
            f"{root} holds a world of other settings ({path.read_text().strip()}); name another folder"
        )
    write_whole(path, json.dumps(settings))


def _film(entry: dict[str, Any]) -> Film:
    return Film(
        file=entry["file"],
        shots=tuple(
            Shot(
                scene=_scene(shot["scene"]),
                start_seconds=shot["start_seconds"],
                end_seconds=shot["end_seconds"],
                sentences=tuple(shot["sentences"]),
            )
            for shot in entry["shots"]
        ),
        captions=tuple(
            Caption(text=caption["text"], claims=tuple(_claimed(claim) for claim in caption["claims"]))
            for caption in entry["captions"]
        ),
    )


def _scene(entry: dict[str, Any]) -> Scene:
    partner = None if entry["partner"] is None else Thing(**entry["partner"])
    return Scene(thing=Thing(**entry["thing"]), place=entry["place"], event=entry["event"], partner=partner)


def _claimed(entry: dict[str, Any]) -> Claim:
    partner = None if entry["partner"] is None else tuple(entry["partner"])
    return Claim(scene=entry["scene"], told=entry["told"], partner=partner)
