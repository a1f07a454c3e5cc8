"""What a benchmark's annotations become: captions by video, split by split, and nothing else.

One file for each benchmark turns its authors' files into a ``Benchmark``; ``folder.match_videos`` finds the videos;
``evaluation`` and ``training`` take queries and their videos as numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "val", "test")


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

    def queries(self) -> tuple[list[str], list[int]]:
        """Every caption, and the place in ``captions`` of the video it was written for."""
        pairs = [(caption, place) for place, several in enumerate(self.captions.values()) for caption in several]
        return [caption for caption, _ in pairs], [place for _, place in pairs]


@dataclass(frozen=True)
class Benchmark:
    """A protocol by name with those of its splits that were asked for.

    files: the annotation files that were read; a report carries their hashes. problems: what is odd in them, such as a
    number of videos that is not the published one.
    """

    name: str
    splits: Mapping[str, Split]
    files: tuple[Path, ...]
    problems: tuple[str, ...] = ()
