"""The benchmarks by their protocols' names: which files, which splits, how many videos, how many words and frames.

``load_benchmark`` reads the splits that are asked for, ``own_benchmark`` makes one of anybody's captions, so that all
that follows (caches, training, evaluation) takes the same. Where a benchmark has no validation split of its own, part
of train is held out, whole videos, the same for a seed.
Neighbours: ``_readers.py`` knows each data set's files, ``captions.py`` reads one's own and finds the videos.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from wordframe.data import _readers
from wordframe.data._readers import AnnotationFolder, Captions
from wordframe.data.captions import read_captions
from wordframe.data.moments import MOMENT_BENCHMARKS
from wordframe.disk import content_hash
from wordframe.errors import AnnotationError, counted
from wordframe.video import Cut, FrameRule

SPLITS = ("train", "val", "test")
ALL_OF_TRAIN = "all of train, as published: no video is held out to choose a checkpoint"
"""The note of a train split that no part was taken from although the benchmark has no val split."""
OWN_NUM_FRAMES = 12
"""Frames a video of captions that no benchmark's protocol speaks of: what the papers give short videos."""


@dataclass(frozen=True)
class Split:
    """The captioned videos of one part of a benchmark.

    benchmark, name: such as ``msrvtt_9k_1ka`` and ``test``; captions: each video's captions by its id, in the order of
    the annotations; note: how the part came about where it is not the authors' own, for the report.
    """

    benchmark: str
    name: str
    captions: Mapping[str, tuple[str, ...]]
    note: str = ""

    def __post_init__(self) -> None:
        if self.name not in SPLITS:
            raise ValueError(f"name={self.name!r} is no split; use one of {', '.join(SPLITS)}")
        empty = [video for video, captions in self.captions.items() if not captions]
        if empty:
            raise ValueError(f"video {empty[0]!r} of {self.benchmark} {self.name} has no caption; leave it out")

    def __len__(self) -> int:
        return len(self.captions)

    def __str__(self) -> str:
        return f"{self.benchmark} {self.name}"

    def rule(self, cut: Cut = "uniform") -> FrameRule:
        """Which frames of its videos are looked at, by the benchmark's protocol where there is one."""
        known = BENCHMARKS.get(self.benchmark)
        return FrameRule(last_second=None if known is None else known.last_second, cut=cut)

    def queries(self) -> tuple[list[str], list[int]]:
        """Every caption, and the place in ``captions`` of the video it was written for."""
        pairs = [(caption, place) for place, several in enumerate(self.captions.values()) for caption in several]
        return [caption for caption, _ in pairs], [place for _, place in pairs]


@dataclass(frozen=True)
class Benchmark:
    """A protocol by name with those of its splits that were asked for, or one's own captions by their file's name.

    files: the annotation files that were read; a report carries their hashes. problems: what is odd in them, such as a
    number of videos that is not the published one. num_words, num_frames: token positions a caption and frames a video
    that the papers use; of one's own captions, None (what the encoder takes) and 12.
    """

    name: str
    splits: Mapping[str, Split]
    files: tuple[Path, ...]
    problems: tuple[str, ...] = ()
    num_words: int | None = None
    num_frames: int = OWN_NUM_FRAMES

    def file_hashes(self) -> dict[str, str]:
        """SHA-256 of each annotation file by its name."""
        return {file.name: content_hash(file) for file in self.files}


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One way of testing on one data set.

    files: the names that the annotation files go by, by what they hold; counts: the published number of videos of each
    split, where it is known; num_words, num_frames: what the papers use; last_second: the last second of a video that
    is looked at, None for all of it; held_out: videos taken from train to choose
    checkpoints, 0 where there is an official split; read: captions of a split.
    """

    name: str
    title: str
    files: Mapping[str, tuple[str, ...]]
    counts: Mapping[str, int]
    num_words: int
    num_frames: int
    last_second: int | None = None
    held_out: int = 0
    read: _readers.Reader


_SHORT = {"num_words": 32, "num_frames": 12}
_LONG = {"num_words": 64, "num_frames": 64}

BENCHMARKS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="msrvtt_9k_1ka",
            title="MSR-VTT, trained on 9,000 clips, tested on 1k-A, one caption a clip",
            files={
                "captions": _readers.MSRVTT_DATA,
                "train": _readers.MSRVTT_TRAIN_9K,
                "test": _readers.MSRVTT_TEST_1K,
            },
            counts={"train": 9000, "test": 1000},
            held_out=500,
            read=_readers.read_msrvtt_1k(_readers.MSRVTT_TRAIN_9K),
            **_SHORT,
        ),
        Protocol(
            name="msrvtt_7k_1ka",
            title="MSR-VTT, trained on 7,010 clips, tested on 1k-A, one caption a clip",
            files={
                "captions": _readers.MSRVTT_DATA,
                "train": _readers.MSRVTT_TRAIN_7K,
                "test": _readers.MSRVTT_TEST_1K,
            },
            counts={"train": 7010, "test": 1000},
            held_out=500,
            read=_readers.read_msrvtt_1k(_readers.MSRVTT_TRAIN_7K),
            **_SHORT,
        ),
        Protocol(
            name="msrvtt_full",
            title="MSR-VTT, the official split, 20 captions a clip",
            files={"captions": _readers.MSRVTT_DATA, "test alone": _readers.MSRVTT_FULL_TEST},
            counts={"train": 6513, "val": 497, "test": 2990},
            read=_readers.read_msrvtt_full,
            **_SHORT,
        ),
        Protocol(
            name="didemo",
            title="DiDeMo, all descriptions of a video as one paragraph",
            files=_readers.DIDEMO,
            counts={"train": 8395, "val": 1065, "test": 1004},
            # CLIP4Clip reads the span from 0 to 31 s, both ends included: at most 32 frames, as its followers do
            last_second=31,
            read=_readers.read_didemo,
            **_LONG,
        ),
        Protocol(
            name="vatex",
            title="VATEX, English, ten captions a clip",
            files={"captions": _readers.VATEX_CAPTIONS, **_readers.VATEX_LISTS},
            counts={"train": 25991, "val": 1500, "test": 1500},
            read=_readers.read_vatex,
            **_SHORT,
        ),
        Protocol(
            name="activitynet",
            title="ActivityNet Captions, all sentences of a video as one paragraph, tested on val_1",
            files=_readers.ACTIVITYNET,
            counts={"train": 10009, "test": 4917},
            held_out=500,
            read=_readers.read_activitynet,
            **_LONG,
        ),
        Protocol(
            name="msvd",
            title="MSVD, about 40 captions a clip",
            files={"captions": _readers.MSVD_CAPTIONS, **_readers.MSVD_LISTS},
            counts={"train": 1200, "val": 100, "test": 670},
            read=_readers.read_msvd,
            **_SHORT,
        ),
        Protocol(
            name="lsmdc",
            title="LSMDC 2016, one sentence a clip",
            files=_readers.LSMDC,
            counts={"test": 1000},
            read=_readers.read_lsmdc,
            **_SHORT,
        ),
    )
}


def protocol(name: str) -> Protocol:
    """The protocol of this name; AnnotationError, which lists them, if there is none."""
    if name not in BENCHMARKS:
        if name in MOMENT_BENCHMARKS:
            raise AnnotationError(f"{name!r} is a benchmark of moments; measure it with wordframe evaluate --moments")
        raise AnnotationError(f"there is no benchmark {name!r}; use one of {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]


def load_benchmark(
    name: str,
    annotations: str | Path,
    *,
    splits: Sequence[str] = SPLITS,
    held_out_seed: int = 0,
    validate_on_test: bool = False,
    hold_out: bool = True,
) -> Benchmark:
    """Read the captions of some splits of a benchmark from the folder ``annotations``.

    Args:
        splits: of train, val, test; only the files they need are read.
        held_out_seed: which part of train becomes val where the benchmark has none of its own.
        validate_on_test: take the test split for val, as the published codes do; the split's note says so.
        hold_out: False leaves train whole where the benchmark has no val split, as published; val is not there then.

    Raises:
        AnnotationError: a file is missing or malformed, two splits share videos, or val is asked for where the
            benchmark has none and ``hold_out`` is False.
    """
    chosen = protocol(name)
    folder = AnnotationFolder(Path(annotations))
    read: dict[str, Captions] = {}

    def captions(part: str) -> Captions:
        if part not in read:
            read[part] = chosen.read(folder, part)
        return read[part]

    found: dict[str, Split] = {}
    for split in splits:
        if split not in SPLITS:
            raise ValueError(f"splits holds {split!r}; use some of {', '.join(SPLITS)}")
        if chosen.held_out and not hold_out and not validate_on_test and split != "test":
            found[split] = _whole_train(chosen, split, captions)
        else:
            found[split] = _split(chosen, split, captions, held_out_seed, validate_on_test)
    _refuse_overlap(name, found, but=("val", "test") if validate_on_test else ())
    problems = [problem for part in read for problem in _count_problem(chosen, part, len(read[part]), splits)]
    return Benchmark(name, found, tuple(folder.read), tuple(problems), chosen.num_words, chosen.num_frames)


def own_benchmark(captions_file: str | os.PathLike[str], split: str = "test") -> Benchmark:
    """One's own captions (see ``read_captions``) as a benchmark of one split, named after the file.

    Raises:
        AnnotationError: the file cannot be read or understood.
    """
    file = Path(captions_file)
    captions = {video: tuple(several) for video, several in read_captions(file).items()}
    return Benchmark(file.name, {split: Split(file.name, split, captions)}, (file,))


def _split(
    chosen: Protocol, split: str, captions: Callable[[str], Captions], seed: int, validate_on_test: bool
) -> Split:
    if validate_on_test and split == "val":
        return Split(chosen.name, split, captions("test"), "this is the test split: what is chosen on it is biased")
    if not chosen.held_out or split == "test" or validate_on_test:
        return Split(chosen.name, split, captions(split))
    whole = captions("train")
    if len(whole) < 2:
        raise AnnotationError(
            f"{chosen.name}: train has {counted(len(whole), 'video')}, too few to hold some out for val"
        )
    size = min(chosen.held_out, len(whole) // 2)  # files cut down for a trial must leave something to train on
    held_out = _sample(whole, size, seed)
    if split == "val":
        note = f"{size:,} of the {len(whole):,} training videos, drawn with seed {seed}; the benchmark has no val split"
        return Split(chosen.name, split, {video: whole[video] for video in whole if video in held_out}, note)
    note = f"without the {counted(size, 'video')} held out as val (seed {seed})"
    return Split(chosen.name, split, {video: whole[video] for video in whole if video not in held_out}, note)


def _whole_train(chosen: Protocol, split: str, captions: Callable[[str], Captions]) -> Split:
    if split == "val":
        raise AnnotationError(
            f"{chosen.name} has no val split, and hold_out=False takes none from train; leave val out"
        )
    return Split(chosen.name, split, captions(split), ALL_OF_TRAIN)


def _sample(videos: Collection[str], size: int, seed: int) -> set[str]:
    """``size`` of the ids: the same ones whatever their order."""
    return set(random.Random(seed).sample(sorted(videos), size))


def _count_problem(chosen: Protocol, part: str, count: int, asked: Sequence[str]) -> list[str]:
    """What to say where a part of the annotations has not its published size, of the split that was asked for."""
    known = chosen.counts.get(part, count)
    if count == known:
        return []
    if part in asked:
        return [f"{chosen.name} {part}: the annotations hold {counted(count, 'video')}, {known:,} are published"]
    # val is asked for and the benchmark has none: the size that can be odd is that of the part it is taken from
    there = f"the annotations of {part}, which it is taken from, hold {counted(count, 'video')}"
    return [f"{chosen.name} val: {there}, {known:,} are published"]


def _refuse_overlap(name: str, splits: Mapping[str, Split], but: Collection[str]) -> None:
    for one, other in combinations(splits, 2):
        common = splits[one].captions.keys() & splits[other].captions.keys()
        if common and {one, other} != set(but):
            raise AnnotationError(
                f"{name}: {one} and {other} share {counted(len(common), 'video')}, such as {min(common)!r}; "
                "numbers would be too good: use files of one release"
            )
