"""The rendered world from nothing to its table: films, a CLIP trained on them, features, every head, paired tests.

    python benchmarks/rendered_world.py all --folder DIR [--workers 2]
    python benchmarks/rendered_world.py make|clip|features|sweep --folder DIR
    python benchmarks/rendered_world.py table [--folder DIR]

Each step keeps what is there and goes on where it was stopped (``clip`` starts over). DIR takes about 200 MB. ``sweep``
keeps one file a run in DIR/runs; ``table --folder DIR`` gathers them in benchmarks/results/rendered_world.json, with
the rank of every query, and writes the tables of docs/rendered-world.md from it, as ``table`` alone does. ``--arms``
runs some heads only; ``--seeds`` fewer or more runs of each; ``--results`` names another file of results.
The parts: the package ``world`` beside this file.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import results
import torch
import world.clip
import world.features
import world.heads
import world.table
from world.films import best_recall_at_1, read_films, write_world

from wordframe.data import SPLITS
from wordframe.encoders import load_encoder

STEPS = ("make", "clip", "features", "sweep", "table")
PAGE = Path(__file__).parents[1] / "docs" / "rendered-world.md"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The command line."""

    folder: Path | None
    seed: int
    films: tuple[int, int, int]
    clip_steps: int
    epochs: float
    arms: tuple[str, ...]
    seeds: int
    workers: int
    results: str

    @property
    def place(self) -> world.heads.Place:
        assert self.folder is not None
        return world.heads.Place(folder=self.folder, epochs=self.epochs)

    @property
    def world(self) -> Path:
        return self.place.folder / "world"


def tell(line: str) -> None:
    print(line, flush=True)


def make(wanted: Wanted) -> None:
    train, val, test = wanted.films
    total = sum(wanted.films)
    write_world(
        wanted.world,
        seed=wanted.seed,
        train=train,
        val=val,
        test=test,
        on_progress=lambda done: tell(f"{done} of {total} films") if done % 500 == 0 or done == total else None,
    )


def clip(wanted: Wanted) -> None:
    target = wanted.place.clip
    if target.exists():
        tell(f"there already: {target}")
        return
    torch.set_num_threads(wanted.workers)
    world.clip.train_clip(wanted.world, target, steps=wanted.clip_steps, seed=wanted.seed, tell=tell)


def features(wanted: Wanted) -> None:
    encoder = load_encoder(str(wanted.place.clip))
    for split in SPLITS:
        target = wanted.place.features(split)
        target.parent.mkdir(exist_ok=True)
        if not target.exists():
            world.features.write_features(wanted.world / split, encoder, target)
        tell(f"{split}: {len(world.features.read_features(target).video_ids)} films")


def sweep(wanted: Wanted) -> None:
    _sweep(wanted).run()


def table(wanted: Wanted) -> None:
    """The folder's runs, where one is named, into the results; the results into the page."""
    stored = results.FOLDER / f"{wanted.results}.json"
    if wanted.folder is not None:
        results.save(wanted.results, figures(wanted))
    generated = world.table.tables(json.loads(stored.read_text()))
    PAGE.write_text(world.table.insert(PAGE.read_text(), generated, wanted.results))
    tell(generated)


def figures(wanted: Wanted) -> dict[str, Any]:
    """Everything the tables are made of: the world, the settings, and the rank of every query in every run."""
    runs = _sweep(wanted)
    test = read_films(wanted.world, "test")
    split = world.features.read_features(wanted.place.features("test"))
    return {
        "world": {
            **json.loads((wanted.world / "world.json").read_text()),
            "films": {name: len(read_films(wanted.world, name)) for name in SPLITS},
            "best_recall_at_1": best_recall_at_1(test),
            "owners": world.table.packed(split.video_of),
        },
        "clip": json.loads((wanted.place.clip / "training.json").read_text()),
        "sweep": {"batch": world.heads.BATCH, "epochs": wanted.epochs, "rates": world.heads.RATES},
        "features": split.fingerprint,
        "arms": world.table.arms(runs),
    }


def _sweep(wanted: Wanted) -> world.heads.Sweep:
    return world.heads.Sweep(
        place=wanted.place,
        arms=[world.heads.ARMS[name] for name in wanted.arms],
        rates=world.heads.RATES,
        seeds=tuple(range(wanted.seeds)),
        workers=wanted.workers,
        tell=tell,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=[*STEPS, "all"])
    parser.add_argument("--folder", type=Path, help="where films, CLIP, features and runs are kept")
    parser.add_argument("--seed", type=int, default=0, help="of the world and of CLIP's training")
    parser.add_argument("--films", type=int, nargs=3, default=(2000, 200, 400), metavar=("TRAIN", "VAL", "TEST"))
    parser.add_argument("--clip-steps", type=int, default=1500)
    parser.add_argument("--epochs", type=float, default=world.heads.EPOCHS, help="of each head over the captions")
    parser.add_argument("--arms", nargs="+", choices=world.heads.ARMS, default=tuple(world.heads.ARMS), metavar="ARM")
    parser.add_argument("--seeds", type=int, default=len(world.heads.SEEDS), help="runs of each head")
    parser.add_argument("--workers", type=int, default=1, help="runs at a time, one core each")
    parser.add_argument("--results", default="rendered_world", help="name of the file in benchmarks/results")
    values = vars(parser.parse_args())
    step = values.pop("step")
    if values["folder"] is None and step != "table":
        parser.error("--folder is needed for every step but table")
    wanted = Wanted(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
    doing = {"make": make, "clip": clip, "features": features, "sweep": sweep, "table": table}
    for name in STEPS if step == "all" else (step,):
        tell(f"=== {name}")
        doing[name](wanted)


if __name__ == "__main__":
    main()
