"""The benchmarks by their protocols' names: which files, which splits, how many videos, how many words and frames.

One file reads each data set (``msrvtt.py``, ``didemo.py``, …); ``docs/benchmarks.md`` says where the files come from.
Where a benchmark has no validation split of its own, part of train is held out, whole videos, the same for a seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from wordframe.data import activitynet, didemo, lsmdc, msrvtt, msvd, vatex
from wordframe.data.annotations import AnnotationFolder, Captions
from wordframe.data.records import SPLITS, Benchmark, Split
from wordframe.errors import AnnotationError


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One way of testing on one data set.

    files: the names that the annotation files go by, by what they hold; counts: the published number of videos of each
    split, where it is known; num_words, num_frames: what the papers use; held_out: videos taken from train to choose
    checkpoints, 0 where there is an official split; read: captions of a split.
    """

    name: str
    title: str
    files: Mapping[str, tuple[str, ...]]
    counts: Mapping[str, int]
    num_words: int
    num_frames: int
    held_out: int = 0
    read: Callable[[AnnotationFolder, str], Captions]


_SHORT = {"num_words": 32, "num_frames": 12}
_LONG = {"num_words": 64, "num_frames": 64}

BENCHMARKS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="msrvtt_9k_1ka",
            title="MSR-VTT, trained on 9,000 clips, tested on 1k-A, one caption a clip",
            files={"captions": msrvtt.DATA, "train": msrvtt.TRAIN_9K, "test": msrvtt.TEST_1K},
            counts={"train": 9000, "test": 1000},
            held_out=500,
            read=msrvtt.read_1k(msrvtt.TRAIN_9K),
            **_SHORT,
        ),
        Protocol(
            name="msrvtt_7k_1ka",
            title="MSR-VTT, trained on 7,010 clips, tested on 1k-A, one caption a clip",
            files={"captions": msrvtt.DATA, "train": msrvtt.TRAIN_7K, "test": msrvtt.TEST_1K},
            counts={"train": 7010, "test": 1000},
            held_out=500,
            read=msrvtt.read_1k(msrvtt.TRAIN_7K),
            **_SHORT,
        ),
        Protocol(
            name="msrvtt_full",
            title="MSR-VTT, the official split, 20 captions a clip",
            files={"captions": msrvtt.DATA, "test alone": msrvtt.FULL_TEST},
            counts={"train": 6513, "val": 497, "test": 2990},
            read=msrvtt.read_full,
            **_SHORT,
        ),
        Protocol(
            name="didemo",
            title="DiDeMo, all descriptions of a video as one paragraph",
            files=didemo.FILES,
            counts={"train": 8395, "val": 1065, "test": 1004},
            read=didemo.read,
            **_LONG,
        ),
        Protocol(
            name="vatex",
            title="VATEX, English, ten captions a clip",
            files={"captions": vatex.CAPTIONS, **vatex.LISTS},
            counts={"train": 25991, "val": 1500, "test": 1500},
            read=vatex.read,
            **_SHORT,
        ),
        Protocol(
            name="activitynet",
            title="ActivityNet Captions, all sentences of a video as one paragraph, tested on val_1",
            files=activitynet.FILES,
            counts={"train": 10009, "test": 4917},
            held_out=500,
            read=activitynet.read,
            **_LONG,
        ),
        Protocol(
            name="msvd",
            title="MSVD, about 40 captions a clip",
            files={"captions": msvd.CAPTIONS, **msvd.LISTS},
            counts={"train": 1200, "val": 100, "test": 670},
            read=msvd.read,
            **_SHORT,
        ),
        Protocol(
            name="lsmdc",
            title="LSMDC 2016, one sentence a clip",
            files=lsmdc.FILES,
            counts={"test": 1000},
            read=lsmdc.read,
            **_SHORT,
        ),
    )
}


def protocol(name: str) -> Protocol:
    """The protocol of this name; AnnotationError, which lists them, if there is none."""
    if name not in BENCHMARKS:
        raise AnnotationError(f"there is no benchmark {name!r}; use one of {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]


def load_benchmark(
    name: str,
    annotations: str | Path,
    *,
    splits: Sequence[str] = SPLITS,
    held_out_seed: int = 0,
    validate_on_test: bool = False,
) -> Benchmark:
    """Read the captions of some splits of a benchmark from the folder ``annotations``.

    Args:
        splits: of train, val, test; only the files they need are read.
        held_out_seed: which part of train becomes val where the benchmark has none of its own.
        validate_on_test: take the test split for val, as the published codes do; the split's note says so.

    Raises:
        AnnotationError: a file is missing or malformed, or two splits share videos.
    """
    chosen = protocol(name)
    folder = AnnotationFolder(Path(annotations))
    read: dict[str, Captions] = {}

    def captions(split: str) -> Captions:
        if split not in read:
            read[split] = chosen.read(folder, split)
            folder.problems.extend(_count_problem(chosen, split, len(read[split])))
        return read[split]

    found: dict[str, Split] = {}
    for split in splits:
        if split not in SPLITS:
            raise ValueError(f"splits holds {split!r}; use some of {', '.join(SPLITS)}")
        found[split] = _split(chosen, split, captions, held_out_seed, validate_on_test)
    _refuse_overlap(name, found, but=("val", "test") if validate_on_test else ())
    return Benchmark(name, found, tuple(folder.read), tuple(folder.problems))


def _split(
    chosen: Protocol, split: str, captions: Callable[[str], Captions], seed: int, validate_on_test: bool
) -> Split:
    if validate_on_test and split == "val":
        return Split(chosen.name, split, captions("test"), "this is the test split: what is chosen on it is biased")
    if not chosen.held_out or split == "test" or validate_on_test:
        return Split(chosen.name, split, captions(split))
    whole = captions("train")
    if len(whole) < 2:
        raise AnnotationError(f"{chosen.name}: train has {len(whole)} videos, too few to hold some out for val")
    size = min(chosen.held_out, len(whole) // 2)
    held_out = _sample(whole, size, seed)
    if split == "val":
        note = f"{size} of the {len(whole)} training videos, drawn with seed {seed}; the benchmark has no val split"
        return Split(chosen.name, split, {video: whole[video] for video in whole if video in held_out}, note)
    note = f"without the {size} videos that are held out as val (seed {seed})"
    return Split(chosen.name, split, {video: whole[video] for video in whole if video not in held_out}, note)


def _sample(videos: Collection[str], size: int, seed: int) -> set[str]:
    """``size`` of the ids: the same ones whatever their order."""
    return set(random.Random(seed).sample(sorted(videos), size))


def _count_problem(chosen: Protocol, split: str, count: int) -> list[str]:
    known = chosen.counts.get(split, count)
    if count == known:
        return []
    return [f"{chosen.name} {split}: the annotations hold {count} videos, {known} are published"]


def _refuse_overlap(name: str, splits: Mapping[str, Split], but: Collection[str]) -> None:
    for one, other in combinations(splits, 2):
        common = splits[one].captions.keys() & splits[other].captions.keys()
        if common and {one, other} != set(but):
            raise AnnotationError(
                f"{name}: {one} and {other} share {len(common)} videos, such as {min(common)!r}; "
                "numbers would be too good: use files of one release"
            )
