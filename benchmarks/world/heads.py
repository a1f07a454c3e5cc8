"""Every head on the cached features of the rendered world: the same data, steps and batches for all, several seeds.

First each head's learning rate is chosen from one grid by its R@1 on the validation films (seed 1000, which no reported
run has); then the reported seeds are trained at that rate and ranked once on the test films. The backbone is frozen,
since features are cached. Temporal and joint transformers start from CLIP's text tower and the scale is CLIP's, as
published. Ablations of TC-MGC train at TC-MGC's rate.

Each run leaves one JSON file with the rank of every query. A run whose file is there, of the same recipe and features,
is not repeated, so a stopped sweep goes on. ``table.py`` reads the files; benchmarks/rendered_world.py calls this.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import torch

from wordframe.encoders import load_clip
from wordframe.evaluate import both_ranks, evaluate_features
from wordframe.features import PART_NAMES
from wordframe.models import TextVideoModel, load_model, start_from_clip
from wordframe.train import Recipe, build_model, make_recipe, train
from world.features import CachedFeatures, read_features

RATES = (1e-4, 3e-4, 1e-3, 3e-3)
SEEDS = (0, 1, 2, 3, 4)
GRID_SEED = 1000
BATCH = 32
EPOCHS = 2.0


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One row of the table.

    model: a recipe's; decorrelation: SDR's weight where it is not the published one; sharpness: what the logits of
    TC-MGC's attention start multiplied by; rate_of: the arm whose learning rate it takes, itself by default.
    """

    name: str
    title: str
    model: Mapping[str, Any]
    decorrelation: float | None = None
    sharpness: float = 1.0
    rate_of: str | None = None


def _ablation(
    name: str, title: str, *, decorrelation: float | None = None, sharpness: float = 1.0, **changes: Any
) -> Arm:
    return Arm(
        name=f"tcmgc-{name}",
        title=title,
        model={"preset": "tcmgc-msrvtt", **changes},
        decorrelation=decorrelation,
        sharpness=sharpness,
        rate_of="tcmgc",
    )


HEADS = (
    Arm(name="mean", title="CLIP4Clip, mean", model={"preset": "clip4clip-mean"}),
    Arm(name="lstm", title="CLIP4Clip, LSTM", model={"preset": "clip4clip-lstm"}),
    Arm(name="transformer", title="CLIP4Clip, transformer", model={"preset": "clip4clip-transformer"}),
    Arm(name="tight", title="CLIP4Clip, tight", model={"preset": "clip4clip-tight"}, rate_of="transformer"),
    Arm(name="ea-mean", title="EA, mean", model={"preset": "ea-clip4clip-mean"}),
    Arm(name="ea-lstm", title="EA, LSTM", model={"preset": "ea-clip4clip-lstm"}),
    Arm(name="ea-transformer", title="EA, transformer", model={"preset": "ea-clip4clip-transformer"}),
    Arm(name="ea-tight", title="EA, tight", model={"preset": "ea-clip4clip-tight"}, rate_of="ea-transformer"),
    Arm(name="xclip", title="X-CLIP", model={"preset": "xclip"}),
    Arm(name="tcmgc", title="TC-MGC", model={"preset": "tcmgc-msrvtt"}),
    Arm(name="xpool", title="X-Pool", model={"preset": "xpool"}),
    Arm(name="wti", title="WTI", model={"preset": "wti"}),
    Arm(name="tmass", title="T-MASS", model={"preset": "tmass"}),
)
ABLATIONS = (
    _ablation("without-lva", "without LVA (frames averaged for every query)", options={"attention": "uniform"}),
    _ablation("released-without-lva", "without LVA, as released (raw frames)", options={"attention": "none"}),
    _ablation("without-sr", "without SR (all words kept)", keep_rate=1.0),
    _ablation("without-sdr", "without SDR", decorrelation=0.0),
    _ablation("without-lsa", "without LSA (plain mean of the parts)", options={"aggregation": "mean"}),
    *(
        _ablation(
            f"only-{part.replace('_', '-')}",
            f"{part.replace('_', '-')} alone",
            decorrelation=0.0,
            options={"parts": [part]},
        )
        for part in PART_NAMES
    ),
    _ablation("keep-0.04", "keep rate 0.04 (1 of 32 words)", keep_rate=0.04),
    _ablation("keep-0.3", "keep rate 0.3 (9 of 32)", keep_rate=0.3),
    _ablation("keep-0.5", "keep rate 0.5 (16 of 32)", keep_rate=0.5),
    _ablation("sharper-4", "attention 4 times as sharp at the start", sharpness=4.0),
    _ablation("without-dropout", "without dropout in LVA", dropout=0.0),
    _ablation("without-temporal", "without the temporal transformer", sim_header="meanP"),
)
ARMS = {arm.name: arm for arm in (*HEADS, *ABLATIONS)}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a sweep reads and writes, and how long a run is."""

    folder: Path
    epochs: float = EPOCHS

    def features(self, split: str) -> Path:
        return self.folder / "features" / f"{split}.safetensors"

    @property
    def clip(self) -> Path:
        return self.folder / "clip"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run: an arm at a rate with a seed, ranked on a split."""

    place: Place
    arm: Arm
    rate: float
    seed: int
    split: str

    @property
    def recipe(self) -> Recipe:
        return make_recipe(
            {
                "name": f"rendered-world-{self.arm.name}",
                "model": dict(self.arm.model),
                "procedure": "published",  # float16 weights are a tuned CLIP's; here it is frozen
                "optimizer": {"lr": self.rate},
                "loss": {"decorrelation": self.arm.decorrelation},
                "batch_size": BATCH,
                "epochs": self.place.epochs,
                "seed": self.seed,
            }
        )

    @property
    def file(self) -> Path:
        return self.place.folder / "runs" / f"{self.arm.name}_{self.split}_{self.rate:g}_{self.seed}.json"

    @property
    def identity(self) -> dict[str, Any]:
        """What makes a stored run this one."""
        files = [self.place.features(split) for split in ("train", self.split)]
        identity = {"recipe": self.recipe.fingerprint, "features": [_features(path).fingerprint for path in files]}
        return identity if self.arm.sharpness == 1 else {**identity, "sharpness": self.arm.sharpness}

    def result(self) -> dict[str, Any] | None:
        """The stored result, if it is this job's."""
        if not self.file.exists():
            return None
        stored: dict[str, Any] = json.loads(self.file.read_text())
        return stored if stored["identity"] == self.identity else None


@dataclass
class Sweep:
    """All runs of a table. tell: one line a run that was made; tried: validation R@1 by arm and rate."""

    place: Place
    arms: Sequence[Arm] = tuple(ARMS.values())
    rates: Sequence[float] = RATES
    seeds: Sequence[int] = SEEDS
    workers: int = 1
    tell: Callable[[str], None] = print
    tried: dict[str, dict[float, float]] = field(default_factory=dict)

    def run(self) -> None:
        """The grid, the choice of rates, and the reported runs; what is there already is kept."""
        self._do(list(self.grid()))
        self.choose()
        self._do(list(self.reported()))

    def grid(self) -> Iterator[Job]:
        names = dict.fromkeys(arm.rate_of or arm.name for arm in self.arms)
        for name, rate in product(names, self.rates):
            yield self._job(ARMS[name], rate, GRID_SEED, "val")

    def choose(self) -> None:
        """The rate of the best validation R@1 (mean of both directions) of each arm whose grid is done; of equal ones
        the lowest."""
        tried: dict[str, dict[float, float]] = {}
        for job in self.grid():
            if (result := job.result()) is not None:
                tried.setdefault(job.arm.name, {})[job.rate] = mean_recall(result)
        self.tried = {name: found for name, found in tried.items() if len(found) == len(self.rates)}

    def rate(self, arm: Arm) -> float | None:
        """The chosen rate of an arm, None as long as its grid is not done."""
        tried = self.tried.get(arm.rate_of or arm.name)
        return None if tried is None else max(tried, key=lambda rate: (tried[rate], -rate))

    def reported(self) -> Iterator[Job]:
        """Seed by seed, so that a sweep that is stopped early has whole rows."""
        for seed, arm in product(self.seeds, self.arms):
            if (rate := self.rate(arm)) is not None:
                yield self._job(arm, rate, seed, "test")

    def _job(self, arm: Arm, rate: float, seed: int, split: str) -> Job:
        return Job(place=self.place, arm=arm, rate=rate, seed=seed, split=split)

    def _do(self, jobs: list[Job]) -> None:
        missing = [job for job in jobs if job.result() is None]
        there = len(jobs) - len(missing)
        self.tell(f"{there} of {len(jobs)} runs are there")
        for done, line in enumerate(self._done(missing), start=there + 1):
            self.tell(f"{done}/{len(jobs)} {line}")

    def _done(self, jobs: list[Job]) -> Iterator[str]:
        """A line of each job as it ends; several workers are processes of their own."""
        if self.workers == 1:
            yield from map(do, jobs)
            return
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self.workers, context, initializer=_end_with, initargs=(os.getpid(),)) as pool:
            for future in as_completed([pool.submit(do, job) for job in jobs]):
                yield future.result()


def _end_with(parent: int) -> None:
    """End this worker when the sweep is killed: it would train on for nobody, in the folder of the next sweep's run."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def do(job: Job) -> str:
    """Train and rank one job and store its result; gives a line about it."""
    torch.set_num_threads(1)
    started = time.process_time()
    train_set, held_out = _features(job.place.features("train")), _features(job.place.features(job.split))
    model = new_model(job, train_set.dimension)
    out = job.place.folder / "training" / job.file.stem
    shutil.rmtree(out, ignore_errors=True)
    result = train(job.recipe, train_set, model=model, out=out, workers=1)
    if result.interrupted:
        raise SystemExit(f"{job.file.stem}: stopped")
    trained = time.process_time() - started
    stored = {
        "arm": job.arm.name,
        "rate": job.rate,
        "seed": job.seed,
        "split": job.split,
        "identity": job.identity,
        "steps": result.steps,
        "trained_numbers": sum(group.numbers for group in result.plan.groups),
        "cpu_seconds": round(trained, 1),
        **ranked(model, held_out),
        "parts": part_recalls(model, held_out),
    }
    _write(job.file, stored)
    shutil.rmtree(out)
    return f"{job.file.stem}: R@1 {mean_recall(stored):.1f}, {trained:.0f} s"


def new_model(job: Job, dimension: int) -> TextVideoModel:
    """A model of the job's recipe and seed on cached features, started from the CLIP that made them."""
    clip = str(job.place.clip)
    backbone = load_clip(clip).towers
    model = build_model(job.recipe, dimension=dimension)
    start_from_clip(model, backbone)
    if hasattr(model.similarity, "logit_scale"):
        model.similarity.logit_scale.data.copy_(backbone.logit_scale.data)
    if job.arm.sharpness != 1:
        # LN1 is shared by query and frames: its scale enters the attention's logits twice, and LN2 takes it out of the
        # values again
        model.similarity.attention.norm1.weight.data.mul_(math.sqrt(job.arm.sharpness))
    return model


def ranked(model: TextVideoModel, split: CachedFeatures) -> dict[str, list[int]]:
    """The rank of every caption's film, and of every film's captions."""
    ranks = evaluate_features(model, split.text_blocks(256), split.video, split.owners)
    return {"t2v": ranks.t2v.tolist(), "v2t": ranks.v2t.tolist()}


@torch.inference_mode()
def part_recalls(model: TextVideoModel, split: CachedFeatures) -> dict[str, list[float]]:
    """R@1 in percent, text→video and video→text, of each similarity that the model puts together, ranked by alone."""
    model.eval()
    video = model.contextualize(split.video.frames, split.video.frame_mask)
    blocks = [model.score(text, video).parts for text in split.text_blocks(64)]
    found = {}
    for name in blocks[0]:
        logits = torch.cat([parts[name] for parts in blocks])  # (T, V)
        both = both_ranks(logits, split.owners, num_videos=len(split.video))
        found[name] = [100 * float((ranks == 1).double().mean()) for ranks in both]
    return found


def untrained(place: Place, split: str = "test") -> dict[str, list[int]]:
    """Ranks of the preset that needs no training."""
    held_out = _features(place.features(split))
    return ranked(load_model("zero-shot", dimension=held_out.dimension), held_out)


def mean_recall(result: Mapping[str, Any]) -> float:
    """R@1 in percent, mean of both directions."""
    return 50 * sum(sum(rank == 1 for rank in result[way]) / len(result[way]) for way in ("t2v", "v2t"))


@lru_cache(maxsize=4)
def _features(path: Path) -> CachedFeatures:
    return read_features(path)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(content, separators=(",", ":")) + "\n")
    os.replace(part, path)
