"""Captioned videos, or a cache of their features, into what an evaluation compares: texts, videos, and who is whose.

Two ways of choosing frames: ``uniform``, the centres of equal parts of the video (one's own folder); ``seconds``, the
benchmarks' one a second and of these at most ``num_frames``, by a ``FrameRule`` (METHODS section 8).
A video that cannot be read is listed and, unless the caller allows it, ends the evaluation, since a smaller gallery is
an easier one. From a cache, captions are read a block at a time when their tile comes; frames, ``V · F · D`` numbers,
are held. Several processes may each read some of the videos, and tell the others.
Neighbours: ``evaluator.py`` ranks the features, ``outcome.py`` makes the report.
Axes: ``V`` videos, ``F`` frames, ``D`` embedding size, ``T`` texts of a block, ``W`` token positions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wordframe.data import CachedFeatures, FrameCache, MatchedVideos, in_order, read_sampled
from wordframe.encoders import Encoder
from wordframe.errors import AnnotationError, VideoError, counted
from wordframe.evaluate.report import Skipped
from wordframe.evaluate.sharing import ALONE, Share
from wordframe.extraction import Failure, Job, extract
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.models import fit_text, kept_words
from wordframe.video import WHOLE_VIDEO, FrameRule, VideoInfo, benchmark_indices, per_second, uniform

Sampling = Literal["uniform", "seconds"]
"""How frames are chosen: the centres of equal parts, or one a second and of these some."""
TEXTS_AT_ONCE = 256


@dataclass(frozen=True)
class Gathered:
    """An evaluation's two sides.

    names: of the videos; captions and caption_video: every query and the place of its video in ``names``; texts:
    blocks of ``TEXTS_AT_ONCE``; videos: raw frames; full_gallery: the number of videos that were asked for.
    """

    names: tuple[str, ...]
    captions: tuple[str, ...]
    caption_video: Tensor
    texts: Sequence[TextFeatures]
    videos: VideoFeatures
    full_gallery: int
    skipped: tuple[Skipped, ...] = ()
    damaged: tuple[Skipped, ...] = ()


@dataclass
class _Read:
    """Frame features ``(F, D)`` of each video in order, None where there are none; and, by their places, why some could
    not be read and what is wrong with others."""

    features: list[NDArray[np.float32] | None]
    failures: dict[int, str] = field(default_factory=dict)
    damaged: dict[int, str] = field(default_factory=dict)

    def whole(self, share: Share) -> _Read:
        """All videos, where this was a process's share of them."""
        own = [(each, self.failures.get(at), self.damaged.get(at)) for at, each in enumerate(self.features)]
        every = share.whole(own)
        failures = {place: reason for place, (_, reason, _) in enumerate(every) if reason is not None}
        damaged = {place: reason for place, (_, _, reason) in enumerate(every) if reason is not None}
        return _Read([features for features, _, _ in every], failures, damaged)


def gather(
    matched: MatchedVideos,
    encoder: Encoder,
    *,
    sampling: Sampling,
    rule: FrameRule = WHOLE_VIDEO,
    num_frames: int,
    num_words: int | None,
    allow_missing: bool,
    cache: FrameCache | None = None,
    share: Share = ALONE,
    on_progress: Callable[[int], None],
) -> Gathered:
    """Encode the videos and their captions. rule: of ``seconds``, which ones; cache: what frames are taken from, by the
    videos' names and its own rule, if not from files; share: the videos that this process reads.

    Raises:
        AnnotationError: videos are missing or unreadable and that is not allowed, or none is left.
    """
    with share.failing_together():
        if not allow_missing:
            matched.refuse_missing()
    captions, owners = matched.queries()
    share.refuse_unlike(encoder=[encoder.fingerprint], videos=[pair.name for pair in matched.pairs], captions=captions)
    with share.failing_together():
        pairs = share.own(matched.pairs)
        paths = [pair.path for pair in pairs]
        if cache is not None:
            read = _read_cached([pair.name for pair in pairs], cache, encoder, num_frames, on_progress)
        elif sampling == "uniform":
            read = _read_uniform(paths, encoder, num_frames, on_progress)
        else:
            read = _read_seconds(paths, encoder, num_frames, rule, on_progress)
    read = read.whole(share)
    files = [str(pair.path) if cache is None else pair.name for pair in matched.pairs]
    skipped = [
        Skipped(name, "not in the folder" if cache is None else "not in the frame cache") for name in matched.missing
    ] + [Skipped(files[place], reason) for place, reason in read.failures.items()]
    if read.failures and not allow_missing:
        raise AnnotationError(
            f"{len(read.failures)} of {counted(len(matched.pairs), 'video')} cannot be read, "
            f"the first: {next(iter(read.failures.values()))}; "
            "mend them, or say --allow-missing to evaluate the others"
        )
    there = np.array([frames is not None for frames in read.features])  # (videos that were asked for,)
    if not there.any():
        raise AnnotationError("no captioned video could be read; nothing to evaluate")
    # captions of videos that are not there are left out with them: a query whose answer is missing measures nothing
    place = np.cumsum(there) - 1  # among those that are there
    asked = np.array(owners)
    kept = there[asked]
    found = [caption for caption, keep in zip(captions, kept.tolist(), strict=True) if keep]
    return Gathered(
        names=tuple(pair.name for pair, keep in zip(matched.pairs, there.tolist(), strict=True) if keep),
        captions=tuple(found),
        caption_video=torch.from_numpy(place[asked[kept]]),
        texts=encode_texts(found, encoder, num_words=num_words),
        videos=VideoFeatures.from_ragged([frames for frames in read.features if frames is not None]),
        full_gallery=len(matched.pairs) + len(matched.missing),
        skipped=tuple(skipped),
        damaged=tuple(Skipped(files[place], reason) for place, reason in read.damaged.items()),
    )


def encode_texts(captions: Sequence[str], encoder: Encoder, *, num_words: int | None) -> list[TextFeatures]:
    """Captions in blocks of ``TEXTS_AT_ONCE``, each cut to ``num_words`` token positions."""
    starts = range(0, len(captions), TEXTS_AT_ONCE)
    return [fit_text(encoder.encode_text(captions[start : start + TEXTS_AT_ONCE]), num_words) for start in starts]


def _read_uniform(
    paths: Sequence[Path], encoder: Encoder, num_frames: int, on_progress: Callable[[int], None]
) -> _Read:
    """Bin centres; where a file does not tell its length, one a second and the papers' choice among them."""

    def times(info: VideoInfo) -> Iterable[float]:
        if info.duration_seconds is None:
            return per_second(1.0, 0.0, None)
        return uniform(0.0, info.duration_seconds, num_frames)

    jobs = [Job(str(place), str(path)) for place, path in enumerate(paths)]
    parts: list[list[tuple[int, NDArray[np.float32]]]] = [[] for _ in paths]
    read = _Read([None] * len(paths))
    ended = 0
    with contextlib.closing(extract(jobs, encoder, times=times)) as results:
        for result in results:
            place = int(result.key)
            if isinstance(result, Failure):
                read.failures[place] = result.reason
                parts[place].clear()  # a video that is listed as missing must not be a candidate as well
            else:
                parts[place].append((result.index, result.features))
                if result.problem is not None:
                    read.damaged[place] = result.problem
            ended += isinstance(result, Failure) or result.last
            on_progress(ended)
    for place, chunks in enumerate(parts):
        if not chunks:
            continue
        # workers may finish a video's pieces in any order
        whole = np.concatenate([features for _, features in sorted(chunks, key=lambda chunk: chunk[0])])
        read.features[place] = whole[benchmark_indices(len(whole), num_frames)]
    return read


def _read_seconds(
    paths: Sequence[Path], encoder: Encoder, num_frames: int, rule: FrameRule, on_progress: Callable[[int], None]
) -> _Read:
    """One frame a second, at most ``num_frames`` of them."""

    def work(path: Path) -> tuple[NDArray[np.float32], str | None] | VideoError:
        try:
            frames = read_sampled(path, num_frames=num_frames, short_side=encoder.short_side, rule=rule)
        except VideoError as error:
            return error
        return encoder.encode_frames(frames.rgb).numpy(), frames.problem

    return _gathered_in_order(in_order(work, paths), len(paths), on_progress)


def _read_cached(
    names: Sequence[str], cache: FrameCache, encoder: Encoder, num_frames: int, on_progress: Callable[[int], None]
) -> _Read:
    """As ``_read_seconds``, from frames that were decoded before."""

    def work(name: str) -> tuple[NDArray[np.float32], str | None] | VideoError:
        try:
            frames = cache.read(name, num_frames)
        except VideoError as error:
            return error
        return encoder.encode_frames(frames.rgb).numpy(), frames.problem

    return _gathered_in_order(in_order(work, names), len(names), on_progress)


def _gathered_in_order(
    results: Iterable[tuple[NDArray[np.float32], str | None] | VideoError],
    count: int,
    on_progress: Callable[[int], None],
) -> _Read:
    read = _Read([None] * count)
    for place, result in enumerate(results):
        if isinstance(result, VideoError):
            read.failures[place] = str(result)
        else:
            read.features[place] = result[0]
            if result[1] is not None:
                read.damaged[place] = result[1]
        on_progress(place + 1)
    return read


# From a cache of features ------------------------------------------------------------------------------------------


def gather_cached(cache: CachedFeatures, *, num_frames: int, num_words: int) -> Gathered:
    """All of a cache: at most ``num_frames`` frames a video, ``num_words`` token positions a caption."""
    frames = [cache.frames(video) for video in range(len(cache.video_ids))]
    rule = FrameRule(cut=cache.description.cut)  # the cache has applied the protocol's last second already
    chosen = [each[rule.indices(len(each), num_frames)] for each in frames]
    left_out = cache.description.left_out
    return Gathered(
        names=tuple(cache.video_ids),
        captions=tuple(cache.captions()),
        caption_video=torch.from_numpy(cache.video_of),
        texts=CachedTexts(cache, numbers=None, num_words=num_words),
        videos=VideoFeatures.from_ragged(chosen),
        full_gallery=len(cache.video_ids) + len(left_out),
        skipped=tuple(Skipped(video, reason) for video, reason in left_out.items()),
    )


class CachedTexts(Sequence[TextFeatures]):
    """Blocks of ``TEXTS_AT_ONCE`` captions of a cache, read when they are asked for.

    Args:
        numbers: of the captions, in the order wanted; all of them by default.
        num_words: token positions a caption; the last one (EOS) is kept.
    """

    def __init__(self, cache: CachedFeatures, *, numbers: Sequence[int] | None, num_words: int | None) -> None:
        self._cache, self._num_words = cache, num_words
        self._numbers = range(len(cache.video_of)) if numbers is None else numbers

    def __len__(self) -> int:
        return -(-len(self._numbers) // TEXTS_AT_ONCE)

    @overload
    def __getitem__(self, block: int) -> TextFeatures: ...
    @overload
    def __getitem__(self, block: slice) -> list[TextFeatures]: ...
    def __getitem__(self, block: int | slice) -> TextFeatures | list[TextFeatures]:
        if isinstance(block, slice):
            return [self[number] for number in range(*block.indices(len(self)))]
        start = range(len(self))[block] * TEXTS_AT_ONCE
        numbers = self._numbers[start : start + TEXTS_AT_ONCE]
        found = [self._cache.words(number) for number in numbers]
        words = [each[kept_words(len(each), self._num_words)] for each in found]
        return TextFeatures.from_ragged([self._cache.sentence(number) for number in numbers], words)
