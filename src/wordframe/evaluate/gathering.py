"""Captioned videos into features: what an evaluation asks, whom it asks, and what could not be read.

Two ways of choosing frames: ``uniform``, the centres of equal parts of the video (one's own folder); ``seconds``, the
benchmarks' one a second and of these at most ``num_frames`` spread evenly (METHODS section 8).
A video that cannot be read is told and, unless the caller allows it, ends the evaluation, since a smaller gallery is an
easier one. Neighbours: ``evaluator.py`` ranks the features, ``folder.py`` makes the report.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wordframe.data import MatchedVideos, in_order, read_sampled
from wordframe.encoders import Encoder
from wordframe.errors import AnnotationError, VideoError
from wordframe.evaluate.report import Skipped
from wordframe.extraction import Failure, Job, extract
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.models import fit_text
from wordframe.video import VideoInfo, benchmark_indices, per_second, uniform

TEXTS_AT_ONCE = 256

Features = dict[int, NDArray[np.float32]]


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
class Read:
    """Frame features ``(F, D)`` by the video's place, files that gave none, and files that gave only a part."""

    features: Features = field(default_factory=dict)
    failures: list[Skipped] = field(default_factory=list)
    damaged: list[Skipped] = field(default_factory=list)


def gather(
    matched: MatchedVideos,
    encoder: Encoder,
    *,
    sampling: str,
    num_frames: int,
    num_words: int | None,
    allow_missing: bool,
    on_progress: Callable[[int], None],
) -> Gathered:
    """Encode the videos and their captions.

    Raises:
        AnnotationError: videos are missing or unreadable and that is not allowed, or none is left.
    """
    if not allow_missing:
        matched.refuse_missing()
    paths = [pair.path for pair in matched.pairs]
    read = _READERS[sampling](paths, encoder, num_frames, on_progress)
    skipped = [Skipped(name, "not in the folder") for name in matched.missing] + read.failures
    if read.failures and not allow_missing:
        raise AnnotationError(
            f"{len(read.failures)} of {len(paths)} videos cannot be read, the first: {read.failures[0].reason}; "
            "mend them, or say --allow-missing to evaluate the others"
        )
    if not read.features:
        raise AnnotationError("no captioned video could be read; nothing to evaluate")
    kept = sorted(read.features)
    place = {video: column for column, video in enumerate(kept)}
    captions, owners = matched.queries()
    queries = [(caption, place[owner]) for caption, owner in zip(captions, owners, strict=True) if owner in place]
    return Gathered(
        names=tuple(matched.pairs[video].name for video in kept),
        captions=tuple(caption for caption, _ in queries),
        caption_video=torch.tensor([owner for _, owner in queries]),
        texts=encode_texts([caption for caption, _ in queries], encoder, num_words=num_words),
        videos=pad_videos([read.features[video] for video in kept]),
        full_gallery=len(matched.pairs) + len(matched.missing),
        skipped=tuple(skipped),
        damaged=tuple(read.damaged),
    )


def encode_texts(captions: Sequence[str], encoder: Encoder, *, num_words: int | None) -> list[TextFeatures]:
    """Captions in blocks of ``TEXTS_AT_ONCE``, each cut to ``num_words`` token positions."""
    starts = range(0, len(captions), TEXTS_AT_ONCE)
    return [fit_text(encoder.encode_text(captions[start : start + TEXTS_AT_ONCE]), num_words) for start in starts]


def pad_videos(features: Sequence[NDArray[np.float32]]) -> VideoFeatures:
    """Videos of different lengths ``(F_i, D)`` as one ``(V, F, D)`` with its mask."""
    counts = torch.tensor([len(frames) for frames in features])
    mask = torch.arange(int(counts.max()))[None, :] < counts[:, None]
    frames = torch.zeros(*mask.shape, features[0].shape[1])
    frames[mask] = torch.from_numpy(np.concatenate(features))
    return VideoFeatures(frames, frames, mask)


def _read_uniform(paths: Sequence[Path], encoder: Encoder, num_frames: int, on_progress: Callable[[int], None]) -> Read:
    """Bin centres; where a file does not tell its length, one a second and the papers' choice among them."""

    def times(info: VideoInfo) -> Iterable[float]:
        if info.duration_seconds is None:
            return per_second(1.0, 0.0, None)
        return uniform(0.0, info.duration_seconds, num_frames)

    jobs = [Job(str(place), str(path)) for place, path in enumerate(paths)]
    parts: dict[int, Features] = {}
    read = Read()
    ended = 0
    with contextlib.closing(extract(jobs, encoder, times=times)) as results:
        for result in results:
            file = str(paths[int(result.key)])
            if isinstance(result, Failure):
                read.failures.append(Skipped(file, result.reason))
            else:
                parts.setdefault(int(result.key), {})[result.index] = result.features
                if result.problem is not None:
                    read.damaged.append(Skipped(file, result.problem))
            ended += isinstance(result, Failure) or result.last
            on_progress(ended)
    for place, chunks in parts.items():
        whole = np.concatenate([chunks[i] for i in sorted(chunks)])
        read.features[place] = whole[benchmark_indices(len(whole), num_frames)]
    return read


def _read_seconds(paths: Sequence[Path], encoder: Encoder, num_frames: int, on_progress: Callable[[int], None]) -> Read:
    """One frame a second, at most ``num_frames`` of them, spread evenly."""

    def work(path: Path) -> tuple[NDArray[np.float32], str | None] | VideoError:
        try:
            frames = read_sampled(path, num_frames=num_frames, short_side=encoder.short_side)
        except VideoError as error:
            return error
        return encoder.encode_frames(frames.rgb).numpy(), frames.problem

    read = Read()
    for place, result in enumerate(in_order(work, paths)):
        if isinstance(result, VideoError):
            read.failures.append(Skipped(str(paths[place]), str(result)))
        else:
            read.features[place] = result[0]
            if result[1] is not None:
                read.damaged.append(Skipped(str(paths[place]), result[1]))
        on_progress(place + 1)
    return read


_READERS = {"uniform": _read_uniform, "seconds": _read_seconds}
