"""How well moments are found, as the field measures it, and what each way of bounding them is worth.

    python benchmarks/moments.py [--clips FOLDER ...] [--films 100] [--seed 0] [--encoder NAME] [--sweep]

Three kinds of made-up films, whose moments are known; a caption is asked of its film, and of all films at once:

- ``rendered``: 4 to 7 scenes of the rendered world (``world/``), 3 to 30 s each, described by ``world/wording.py``;
- ``takes``: features alone, no picture: one unbroken take that drifts (an Ornstein-Uhlenbeck process of 20 s), where
  a moment is any 4 to 40 s of it and its caption the mean direction with noise; nothing ends with a cut;
- ``clips``: 5 to 8 clips of the given folders in a row, each with a captions.json {file: caption or [captions]}.

They become a library as ``wordframe index`` cuts it, and are asked as ``wordframe evaluate --moments`` asks. Compared
with the default, by whole films: ``segments``, the library's segments as they are; ``scores``, neighbours taken in
whose score lies above half way from chance to the best; ``heat``, the stretch around the most salient second where the
heat stays above half of it. ``--sweep`` adds other settings of the default.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from results import save
from world.painting import paint
from world.scene import draw_scene
from world.wording import describe

from wordframe.data import MomentQuery
from wordframe.encoders import Encoder, load_encoder
from wordframe.evaluate import (
    CORPUS,
    INSIDE,
    MomentAnswer,
    PredictedMoment,
    compare_values,
    moment_figures,
    moment_values,
)
from wordframe.features import TextFeatures
from wordframe.library import Library, SegmentEntry, Snapshot, VideoEntry, run_centroids
from wordframe.search import Query, _widening, answer_moments, background, encode, heat
from wordframe.video import cut_segments, open_frames, per_second

Array = NDArray[np.float32]
SHOWN = {
    "R@1 IoU 0.5": (INSIDE, "recall_at_1_iou_0.5"),
    "R@1 IoU 0.7": (INSIDE, "recall_at_1_iou_0.7"),
    "R@5 IoU 0.5": (INSIDE, "recall_at_5_iou_0.5"),
    "mAP average": (INSIDE, "map_average"),
    "mIoU": (INSIDE, "mean_iou"),
    "HIT@1": (INSIDE, "hit_at_1"),
    "corpus R@1 IoU 0.5": (CORPUS, "recall_at_1_iou_0.5"),
    "corpus R@10 IoU 0.5": (CORPUS, "recall_at_10_iou_0.5"),
}


@dataclass(frozen=True)
class Film:
    """Frames a second ``(N, D)`` at ``seconds (N,)``, and what is said of which part."""

    seconds: Array
    features: Array
    duration_seconds: float
    moments: tuple[tuple[str, float, float], ...]


class Told(Encoder):
    """The encoder of films that have no pictures: a caption is the name of a vector."""

    name, short_side, max_words, fingerprint = "told", 1, 8, "told"  # type: ignore[assignment]

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self.vectors: dict[str, Array] = {}

    def preprocess(self, frames: Any) -> Any:
        raise RuntimeError("there are no pictures")

    encode_pixels = preprocess

    def encode_text(self, sentences: Sequence[str]) -> TextFeatures:
        unknown = np.zeros(self.dimension, np.float32) + 1.0
        rows = torch.from_numpy(np.stack([self.vectors.get(sentence, unknown) for sentence in sentences]))
        return TextFeatures(rows, rows[:, None], torch.ones(len(rows), 1, dtype=torch.bool))


# Films ----------------------------------------------------------------------------------------------------------------


def in_a_row(parts: Sequence[tuple[str, Array, Array, float]]) -> Film:
    """Captioned pieces (caption, seconds, features, length) one after the other."""
    starts = np.concatenate([[0.0], np.cumsum([length for *_, length in parts])])
    return Film(
        seconds=np.concatenate([seconds + start for (_, seconds, *_), start in zip(parts, starts, strict=False)]),
        features=np.concatenate([features for _, _, features, _ in parts]),
        duration_seconds=float(starts[-1]),
        moments=tuple(
            (caption, float(starts[place]), float(starts[place + 1])) for place, (caption, *_) in enumerate(parts)
        ),
    )


def rendered(encoder: Encoder, count: int, seed: int) -> list[Film]:
    films = []
    for number in range(count):
        chance = np.random.default_rng([seed, number])
        scenes = [draw_scene(chance, "test") for _ in range(chance.integers(4, 8))]
        parts = []
        for place, scene in enumerate(scenes):
            length = int(chance.integers(3, 31))
            frames = np.stack(list(paint(chance, scene, num_frames=length, size=128)))
            features = encoder.encode_frames(frames).numpy()
            parts.append((describe(chance, scenes, place).text, np.arange(length) + 0.5, features, float(length)))
        films.append(in_a_row(parts))
    return films


def takes(encoder: Told, count: int, seed: int, *, apart_seconds: float = 20.0) -> list[Film]:
    films = []
    keep = np.exp(-1 / apart_seconds)
    for number in range(count):
        chance = np.random.default_rng([seed, number])
        length = int(chance.integers(60, 180))
        place, state = chance.standard_normal((2, encoder.dimension))
        rows = np.empty((length, encoder.dimension), np.float32)
        for row in rows:
            state = keep * state + np.sqrt(1 - keep**2) * chance.standard_normal(encoder.dimension)
            row[:] = state + 0.5 * place + 0.4 * chance.standard_normal(encoder.dimension)
        moments = []
        for which in range(5):
            long = int(chance.integers(4, 40))
            start = int(chance.integers(0, length - long))
            mean = rows[start : start + long].mean(axis=0)
            noise = 0.9 * chance.standard_normal(encoder.dimension) / np.sqrt(encoder.dimension)
            encoder.vectors[f"{number} {which}"] = (mean / np.linalg.norm(mean) + noise).astype(np.float32)
            moments.append((f"{number} {which}", float(start), float(start + long)))
        films.append(Film(np.arange(length, dtype=np.float32) + 0.5, rows, float(length), tuple(moments)))
    return films


def clips(encoder: Encoder, count: int, seed: int, folders: Sequence[Path]) -> list[Film]:
    found = []
    for folder in folders:
        for name, caption in json.loads((folder / "captions.json").read_text(encoding="utf-8")).items():
            with open_frames(folder / name, per_second(1.0, 0.5), short_side=encoder.short_side) as stream:
                frames = list(stream)
            features = encoder.encode_frames(np.stack([frame.rgb for frame in frames])).numpy()
            length = stream.info.duration_seconds or stream.decoded_until_seconds
            seconds = np.array([frame.seconds for frame in frames])
            found.append((caption if isinstance(caption, str) else caption[0], seconds, features, length))
    chance = random.Random(seed)
    return [in_a_row(chance.sample(found, chance.randint(5, 8))) for _ in range(count)]


# Asking ---------------------------------------------------------------------------------------------------------------


def build(folder: Path, encoder: Encoder, films: Sequence[Film]) -> Library:
    """A library of the films' features, cut as ``wordframe index`` cuts them."""
    library = Library.open(folder, encoder=encoder)
    videos = []
    for number, film in enumerate(films):
        parts = []
        for cut in cut_segments(film.seconds, film.features, film.duration_seconds):
            rows = slice(cut.first_frame, cut.last_frame_exclusive)
            frames = film.features[rows].astype(np.float32)
            vectors = run_centroids(frames[None])[0]
            seconds = film.seconds[rows].astype(np.float32)
            half = frames.astype(np.float16)
            parts.append(SegmentEntry(cut.start_seconds, cut.end_seconds, half, seconds, vectors, b""))
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        facts = (digest, film.duration_seconds, 640, 360, "h264", "mp4", None, len(parts))
        videos.append((VideoEntry(f"film{number:05d}", f"/film{number}.mp4", 1, 1, *facts), parts))
    library.add_videos(videos)
    return library


@contextlib.contextmanager
def settings(**values: float) -> Iterator[None]:
    """The default with other numbers."""
    with mock.patch.multiple(_widening, **values):
        yield


AS_THEY_ARE = {"LIKENESS": float("inf")}


def bounded(
    snapshot: Snapshot, queries: Sequence[MomentQuery], span: Callable[..., tuple[float, float]]
) -> list[MomentAnswer]:
    """The library's segments, the first of them bounded otherwise; within the film alone."""
    with settings(**AS_THEY_ARE):
        found = []
        for query, answer in zip(queries, answers_of(snapshot, queries), strict=True):
            encoded = encode(snapshot, Query(text=query.text))
            strip = heat(snapshot, encoded, query.video)
            start, end = span(strip, background(snapshot, encoded).median)
            best = PredictedMoment(query.video, start, end, answer.inside[0].score)
            found.append(replace(answer, inside=(best, *answer.inside[1:])))
    return found


def by_scores(strip: Any, chance: float) -> tuple[float, float]:
    ordered = sorted(strip.moments, key=lambda moment: moment.start_seconds)
    best = max(range(len(ordered)), key=lambda place: ordered[place].score)
    level = chance + 0.5 * (ordered[best].score - chance)
    first = last = best
    while first > 0 and ordered[first - 1].score >= level:
        first -= 1
    while last < len(ordered) - 1 and ordered[last + 1].score >= level:
        last += 1
    return ordered[first].start_seconds, ordered[last].end_seconds


def by_heat(strip: Any, chance: float) -> tuple[float, float]:
    values = np.array(strip.values)
    first = last = int(values.argmax())
    while first > 0 and values[first - 1] >= values.max() / 2:
        first -= 1
    while last < len(values) - 1 and values[last + 1] >= values.max() / 2:
        last += 1
    return max(0.0, strip.seconds[first] - 0.5), strip.seconds[last] + 0.5


def answers_of(snapshot: Snapshot, queries: Sequence[MomentQuery]) -> list[MomentAnswer]:
    return answer_moments(snapshot, queries, {query.video: query.video for query in queries})


def measure(encoder: Encoder, films: Sequence[Film], *, sweep: bool) -> dict[str, Any]:
    """Figures of every way of bounding, and their differences from the segments as they are."""
    queries = [
        MomentQuery(query_id=f"{number}-{place}", video=f"film{number:05d}", text=text, windows=((start, end),))
        for number, film in enumerate(films)
        for place, (text, start, end) in enumerate(film.moments)
    ]
    owners = np.array([int(query.video[4:]) for query in queries])
    answers: dict[str, list[MomentAnswer]] = {}
    with tempfile.TemporaryDirectory() as folder:
        snapshot = build(Path(folder) / "library", encoder, films).snapshot()
        with settings(**AS_THEY_ARE):
            answers["segments"] = answers_of(snapshot, queries)
        answers["default"] = answers_of(snapshot, queries)
        answers["scores"] = bounded(snapshot, queries, by_scores)
        answers["heat"] = bounded(snapshot, queries, by_heat)
        for likeness in (0.3, 0.4, 0.6, 0.7) if sweep else ():
            with settings(LIKENESS=likeness):
                answers[f"likeness {likeness:g}"] = answers_of(snapshot, queries)
        for reach in (2, 6) if sweep else ():
            with settings(REACH=reach):
                answers[f"reach {reach}"] = answers_of(snapshot, queries)
        about = {"films": len(films), "moments": len(queries), "segments": snapshot.num_segments}
    values = {name: moment_values(queries, found) for name, found in answers.items()}
    before = values["segments"]
    ways = {}
    for name, after in values.items():
        figures = moment_figures(after, owners)
        # the others bound the first moment within the film, and nothing elsewhere
        known = [label for label, (at, _) in SHOWN.items() if name not in ("scores", "heat") or at == INSIDE]
        ways[name] = {
            label: {
                "value": figures[SHOWN[label][0]][SHOWN[label][1]].value,
                "interval": [
                    figures[SHOWN[label][0]][SHOWN[label][1]].low,
                    figures[SHOWN[label][0]][SHOWN[label][1]].high,
                ],
                "change": compare_values(
                    before[SHOWN[label][0]][SHOWN[label][1]], after[SHOWN[label][0]][SHOWN[label][1]], clusters=owners
                ).to_json(),
            }
            for label in known
        }
    return {**about, "ways": ways}


def show(kind: str, found: dict[str, Any]) -> None:
    print(f"\n{kind}: {found['films']} films, {found['moments']} moments, {found['segments']} segments")
    for name, numbers in found["ways"].items():
        print(f"  {name}")
        for label, number in numbers.items():
            low, high = number["interval"]
            line = f"    {label:20} {number['value']:6.2f} ({low:.1f}–{high:.1f})"
            change = number["change"]
            if name != "segments":
                line += f"   {change['difference']:+6.2f} [{change['low']:+.2f}, {change['high']:+.2f}]"
                line += f", p {change['p_queries']:.2g}"
            print(line, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, nargs="+", default=[], help="folders of captioned clips")
    parser.add_argument("--films", type=int, default=100, help="films of each kind (default 100)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--encoder", default="offline", help="of the rendered films and of the clips")
    parser.add_argument("--sweep", action="store_true", help="other settings of the default, too")
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    encoder, told = load_encoder(wanted.encoder), Told(64)
    kinds: dict[str, tuple[Encoder, list[Film]]] = {"takes": (told, takes(told, wanted.films, wanted.seed))}
    kinds["rendered"] = (encoder, rendered(encoder, wanted.films, wanted.seed))
    if wanted.clips:
        kinds["clips"] = (encoder, clips(encoder, wanted.films, wanted.seed, wanted.clips))
    found = {}
    for kind, (used, films) in kinds.items():
        found[kind] = measure(used, films, sweep=wanted.sweep)
        show(kind, found[kind])
    save("moments", {"seed": wanted.seed, "encoder": wanted.encoder, "kinds": found})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
