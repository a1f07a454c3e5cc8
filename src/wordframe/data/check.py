"""Which videos of a split are there and can be read: what to know before hours of training.

Every captioned video is missing, broken (no frame can be decoded), damaged (it was read through and something is wrong
with it) or good. Neighbours: ``benchmarks.py`` gives the captions, ``captions.py`` finds the files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wordframe.data.benchmarks import Split
from wordframe.data.captions import match_videos
from wordframe.errors import VideoError
from wordframe.video import VideoInfo, open_frames_apart, per_second

MAX_WORDS = 75
"""CLIP's 77 token positions less start and end; a word takes one position or more."""


@dataclass(frozen=True)
class Fault:
    """A video that is there and cannot be read as it should."""

    video: str
    path: str
    reason: str


@dataclass(frozen=True)
class SplitCheck:
    """What of a split is there.

    name: of the benchmark and the split; captioned: number of its videos; missing: ids without a file; broken: files
    that give no frame; damaged: files that give frames and have a fault, found only by reading them through;
    long_captions: what no encoder of CLIP's kind reads to the end, in words.
    """

    name: str
    captioned: int
    missing: tuple[str, ...]
    broken: tuple[Fault, ...]
    damaged: tuple[Fault, ...]
    note: str = ""
    long_captions: tuple[str, ...] = ()

    @property
    def coverage_percent(self) -> float:
        """Share of the captioned videos that give frames; 0 where nothing is captioned."""
        return 100.0 * self.readable / max(self.captioned, 1)

    @property
    def readable(self) -> int:
        """Number of the captioned videos that give frames."""
        return self.captioned - len(self.missing) - len(self.broken)

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain values."""
        return asdict(self) | {"coverage_percent": round(self.coverage_percent, 2)}


def check_split(
    split: Split,
    folder: str | Path,
    *,
    deep: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> SplitCheck:
    """Look for each captioned video below ``folder`` and decode it.

    Args:
        deep: read each file through, a frame a second, instead of its first frame only.
        on_progress: called with the videos looked at and their total.

    Raises:
        AnnotationError: the folder is not there, or a name fits several files.
    """
    matched = match_videos(folder, split.captions)
    broken: list[Fault] = []
    damaged: list[Fault] = []
    paths = [pair.path for pair in matched.pairs]
    on_progress(0, len(paths))
    for place, (fails, reason) in enumerate(_looks(paths, deep)):
        pair = matched.pairs[place]
        if reason is not None:
            (broken if fails else damaged).append(Fault(pair.name, str(pair.path), reason))
        on_progress(place + 1, len(paths))
    return SplitCheck(
        str(split), len(split), matched.missing, tuple(broken), tuple(damaged), split.note, tuple(_too_long(split))
    )


def _too_long(split: Split) -> Iterator[str]:
    """Captions of more words than CLIP has token positions for: their ends are cut off in silence everywhere else."""
    for video, captions in split.captions.items():
        for caption in captions:
            count = len(caption.split())
            if count > MAX_WORDS:
                yield f"{video}: a caption of {count:,} words"


def _looks(paths: Sequence[Path], deep: bool) -> Iterator[tuple[bool, str | None]]:
    """``_look`` at every path, a thread a core, in order; leaving early drops what has not begun."""
    # threads, since FFmpeg lets go of Python's lock; not `with`, which would wait for all files after an interrupt
    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        yield from pool.map(lambda path: _look(path, deep), paths)
    finally:
        pool.shutdown(cancel_futures=True)


def _look(path: Path, deep: bool) -> tuple[bool, str | None]:
    """Whether a file gives no frame, and what is wrong with it."""

    def times(info: VideoInfo) -> Iterator[float]:
        return per_second(1.0, 0.0, info.duration_seconds) if deep else iter([0.0])

    try:
        with open_frames_apart(str(path), times, short_side=64) as frames:
            for _ in frames:
                pass
            return False, frames.problem
    except VideoError as error:
        return True, str(error)
