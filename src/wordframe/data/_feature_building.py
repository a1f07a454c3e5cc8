"""Writes a feature cache: frames of all videos and all captions of a split through an encoder, block by block.

Videos are read and encoded by several threads, a video each (torch on one core in each of them), in the order of the
blocks; captions by all cores, a few hundred at a time. A block is written whole or not at all, so a run goes on where
another was ended; a video is encoded again only if it has changed or had failed.
Neighbours: ``sampled.py`` and ``frame_cache.py`` give the frames, ``feature_cache.py`` knows the format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from wordframe.data._cache_folder import CacheError, read_metadata, write_json, write_tensors, writing
from wordframe.data.benchmarks import Split
from wordframe.data.captions import match_videos
from wordframe.data.feature_cache import (
    BLOCK_TEXTS,
    BLOCK_VIDEOS,
    CAPTIONS,
    FeatureDescription,
    block_name,
    damaged_blocks,
)
from wordframe.data.frame_cache import FrameCache
from wordframe.data.sampled import FrameSource, VideoFiles, in_order
from wordframe.disk import short_hash
from wordframe.encoders import Encoder
from wordframe.errors import EncoderError, VideoError, counted
from wordframe.video import Cut

_TEXTS_AT_ONCE = 256
"""Captions of one call: enough to fill all cores, few enough that Ctrl-C is heard within seconds."""
_FAULTS = "told"
"""The key under which blocks have kept faults since the first of them."""

OnProgress = Callable[[str, int], None]
"""Called with ``captions`` or ``videos`` and how many of them are done."""


@dataclass
class FeatureCacheSummary:
    """What a run did.

    encoded, kept: numbers of videos; damaged: videos whose frames are in the cache although something is wrong with
    the file; left_out: videos that could not be read. complete: the cache can be used.
    """

    encoded: int = 0
    kept: int = 0
    damaged: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False
    complete: bool = False


def open_frames_of(
    split: Split,
    encoder: Encoder,
    *,
    num_frames: int,
    videos: str | Path | None = None,
    frame_cache: str | Path | None = None,
    cut: Cut = "uniform",
    allow_missing: bool = False,
) -> FrameSource:
    """Where the frames of a split come from: a folder of videos or a frame cache, one of the two.

    What is missing, too small or chosen by another rule is refused here, before hours of encoding.

    Raises:
        AnnotationError: captioned videos are not in the folder and that is not allowed.
        CacheError: there is no such frame cache, it lacks videos, or its frames are too few or too small.
    """
    if (videos is None) == (frame_cache is None):
        raise ValueError(f"give either videos or frame_cache, got {videos=} and {frame_cache=}")
    rule = split.rule(cut)
    if videos is not None:
        matched = match_videos(videos, split.captions)
        if not allow_missing:
            matched.refuse_missing()
        return VideoFiles({pair.name: pair.path for pair in matched.pairs}, encoder.short_side, rule)
    assert frame_cache is not None
    cache = FrameCache.open(frame_cache)
    cache.refuse_less(num_frames=num_frames, short_side=encoder.short_side)
    cache.refuse_other_rule(rule)
    missing = [video for video in split.captions if video not in cache]
    if missing and not allow_missing:
        raise CacheError(
            f"{frame_cache}: {len(missing)} of {counted(len(split), 'captioned video')} "
            f"{'is' if len(split) == 1 else 'are'} not in it, the first: {missing[0]!r}; "
            f"run wordframe cache frames for {split.name}, or say --allow-missing"
        )
    return cache


def build_feature_cache(
    folder: str | Path,
    split: Split,
    source: FrameSource,
    encoder: Encoder,
    *,
    num_frames: int,
    annotations: Mapping[str, str] | None = None,
    allow_missing: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: OnProgress = lambda what, done: None,
) -> FeatureCacheSummary:
    """Bring the cache in ``folder`` up to date with the captioned videos of a split.

    Args:
        source: has the videos by the names of the split's captions; another kind of source than before is refused.
        num_frames: at most, a video.
        annotations: hashes of the annotation files by name; others than before are refused.
        allow_missing: leave out videos that cannot be read. Without it such a cache is not complete.
        should_stop: True ends the run in order.

    Raises:
        CacheError: the folder holds other features or cannot be written, or no video could be read.
    """
    listed = [[video, list(several)] for video, several in split.captions.items()]
    asked = FeatureDescription(
        encoder=encoder.name,
        fingerprint=encoder.fingerprint,
        dimension=encoder.dimension,
        max_words=encoder.max_words,
        num_frames=num_frames,
        frames=source.description,
        last_second=source.rule.last_second,
        cut=source.rule.cut,
        text_cleaning=encoder.text_cleaning,
        benchmark=split.benchmark,
        split=split.name,
        note=split.note,
        annotations=dict(annotations or {}),
        captions=short_hash(listed),
    )
    place = Path(folder)
    with writing(place):
        builder = _Builder(place, _started(place, asked), source, encoder, should_stop, on_progress)
        write_json(place / CAPTIONS, listed)
        builder.write_texts(split.queries()[0])
        builder.write_videos(list(split.captions))
        return builder.finish(allow_missing=allow_missing)


def _started(folder: Path, asked: FeatureDescription) -> FeatureDescription:
    """The description to go on from: the folder's without blocks that are damaged, or a new one."""
    there = FeatureDescription.read(folder)
    if there is not None:
        there.refuse_other(asked, folder)
        damaged = damaged_blocks(folder, there)
        asked = replace(asked, blocks={name: sum_ for name, sum_ in there.blocks.items() if name not in damaged})
    asked.write(folder)
    return asked


@dataclass(frozen=True)
class _Row:
    """A video in a block: frames ``(F, D)`` and seconds ``(F,)``; F = 0 where it could not be read.

    stamp: what changes when the video does; fault: why there is no frame, or what is wrong with the file, if anything.
    """

    stamp: str
    fault: str
    frames: NDArray[np.float16]
    seconds: NDArray[np.float32]


class _Builder:
    """One run."""

    def __init__(
        self,
        folder: Path,
        description: FeatureDescription,
        source: FrameSource,
        encoder: Encoder,
        should_stop: Callable[[], bool],
        on_progress: OnProgress,
    ) -> None:
        self._folder, self._description = folder, description
        self._source, self._encoder = source, encoder
        self._should_stop, self._on_progress = should_stop, on_progress
        self._summary = FeatureCacheSummary()

    def write_texts(self, captions: Sequence[str]) -> None:
        for number, start in enumerate(range(0, len(captions), BLOCK_TEXTS)):
            stop = min(start + BLOCK_TEXTS, len(captions))
            if block_name("texts", number) not in self._description.blocks:
                tensors = self._encoded_texts(captions, start, stop)
                if tensors is None:
                    self._summary.interrupted = True
                    return
                self._write(block_name("texts", number), tensors, {})
            self._on_progress("captions", stop)

    def write_videos(self, videos: Sequence[str]) -> None:
        if self._summary.interrupted:
            return
        blocks = [videos[start : start + BLOCK_VIDEOS] for start in range(0, len(videos), BLOCK_VIDEOS)]
        # asked of all blocks first: the results come in one stream, so what is in it has to be known before it begins
        kept = [self._still_right(number, names) for number, names in enumerate(blocks)]
        wanted = [name for names, right in zip(blocks, kept, strict=True) for name in names if name not in right]
        # one stream of results over all blocks: no thread waits at the end of a block for its slowest video
        results = in_order(self._encoded_video, wanted, should_stop=self._should_stop)
        for number, (names, right) in enumerate(zip(blocks, kept, strict=True)):
            rows = self._rows(number, names, right, results)
            if rows is None:
                self._summary.interrupted = True
                return
            if len(right) < len(names):
                self._write_videos_block(number, rows)
            self._sum_up(names, rows, right)

    def finish(self, *, allow_missing: bool) -> FeatureCacheSummary:
        summary = self._summary
        if summary.interrupted:
            return summary
        if summary.encoded + summary.kept == 0:
            reason = next(iter(summary.left_out.values()), "the split is empty")
            raise CacheError(f"{self._folder}: no video could be read, the first: {reason}")
        summary.complete = allow_missing or not summary.left_out
        self._describe(left_out=summary.left_out, complete=summary.complete)
        return summary

    def _encoded_texts(self, captions: Sequence[str], start: int, stop: int) -> dict[str, NDArray[Any]] | None:
        """The captions ``[start, stop)``; None if the run was ended meanwhile."""
        sentences, words, counts = [], [], []
        for first in range(start, stop, _TEXTS_AT_ONCE):
            if self._should_stop():
                return None
            text = self._encoder.encode_text(captions[first : min(first + _TEXTS_AT_ONCE, stop)])
            sentences.append(_half(text.sentence.numpy()))
            words.append(_half(text.words[text.word_mask].numpy()))  # (ΣW, D): padding would be half of the file
            counts.append(text.word_mask.sum(dim=1).numpy())
            self._on_progress("captions", first + len(text))
        return {
            "sentence": np.concatenate(sentences),
            "words": np.concatenate(words),
            "ends": np.cumsum(np.concatenate(counts)),
        }

    def _encoded_video(self, video: str) -> _Row:
        try:
            stamp = self._source.stamp(video)  # before reading: a file changed meanwhile is then read again next time
            sampled = self._source.read(video, self._description.num_frames)
            features = _half(self._encoder.encode_frames(sampled.rgb).numpy())
        except (VideoError, EncoderError) as error:
            nothing = np.zeros((0, self._description.dimension), np.float16)
            return _Row("", str(error), nothing, np.zeros(0, np.float32))
        return _Row(stamp, sampled.problem or "", features, sampled.seconds.astype(np.float32))

    def _still_right(self, number: int, names: Sequence[str]) -> dict[str, int]:
        """The rows of a written block whose videos have not changed, by name."""
        name = block_name("videos", number)
        if name not in self._description.blocks:
            return {}
        with safe_open(self._folder / name, framework="numpy") as opened:
            stamps = read_metadata(opened)["stamps"]
        return {video: row for row, video in enumerate(names) if stamps[row] and stamps[row] == self._stamp(video)}

    def _stamp(self, video: str) -> str | None:
        try:
            return self._source.stamp(video)
        except VideoError:
            return None

    def _rows(
        self, number: int, names: Sequence[str], right: Mapping[str, int], results: Iterator[_Row]
    ) -> list[_Row] | None:
        """All rows of a block, kept and new; None if the run was ended meanwhile."""
        old = _read_rows(self._folder / block_name("videos", number)) if right else []
        rows = []
        for video in names:
            row = old[right[video]] if video in right else next(results, None)
            if row is None:
                return None
            rows.append(row)
            self._on_progress("videos", number * BLOCK_VIDEOS + len(rows))
        return rows

    def _write_videos_block(self, number: int, rows: Sequence[_Row]) -> None:
        V, F, D = len(rows), self._description.num_frames, self._description.dimension
        frames, seconds = np.zeros((V, F, D), np.float16), np.zeros((V, F), np.float32)
        for place, row in enumerate(rows):
            frames[place, : len(row.frames)] = row.frames
            seconds[place, : len(row.seconds)] = row.seconds
        tensors: dict[str, NDArray[Any]] = {
            "frames": frames,
            "seconds": seconds,
            "counts": np.array([len(row.frames) for row in rows]),
        }
        metadata = {"stamps": [row.stamp for row in rows], _FAULTS: [row.fault for row in rows]}
        self._write(block_name("videos", number), tensors, metadata)

    def _write(self, name: str, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> None:
        written = write_tensors(self._folder / name, tensors, metadata)
        # the description last: a block it does not name is made again, one it names must be there
        self._describe(blocks={**self._description.blocks, name: written})

    def _describe(self, **changes: Any) -> None:
        self._description = replace(self._description, **changes)
        self._description.write(self._folder)

    def _sum_up(self, names: Sequence[str], rows: Sequence[_Row], right: Mapping[str, int]) -> None:
        for video, row in zip(names, rows, strict=True):
            if not len(row.frames):
                self._summary.left_out[video] = row.fault
                continue
            self._summary.kept += video in right
            self._summary.encoded += video not in right
            if row.fault:
                self._summary.damaged[video] = row.fault


def _half(features: NDArray[np.float32]) -> NDArray[np.float16]:
    with np.errstate(over="ignore"):  # the check below says it better than numpy's warning
        half = features.astype(np.float16)
    if not np.isfinite(half).all():
        raise EncoderError("the encoder gives features that are not finite in float16")
    return half


def _read_rows(path: Path) -> list[_Row]:
    with safe_open(path, framework="numpy") as opened:
        counts, frames, seconds = (opened.get_tensor(name) for name in ("counts", "frames", "seconds"))
        metadata = read_metadata(opened)
    return [
        _Row(metadata["stamps"][row], metadata[_FAULTS][row], frames[row, :count], seconds[row, :count])
        for row, count in enumerate(counts.tolist())
    ]
