"""Evaluates a folder of captioned videos: decode, encode, score, rank.

Protocol ``folder``: frames spread uniformly over each video (bin centres; where a file does not tell its length, one a
second and the papers' choice among them), every caption a text→video query, video→text by the best of a video's
captions. A video that cannot be read is told and, unless the caller allows it, ends the evaluation, since a smaller
gallery is an easier one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wordframe.data.folder import MatchedVideos
from wordframe.encoders import Encoder
from wordframe.errors import AnnotationError
from wordframe.evaluation.metrics import evaluate_ranks
from wordframe.evaluation.report import EvaluationReport, Skipped
from wordframe.evaluation.streaming import streamed_ranks
from wordframe.extraction import Failure, Job, extract
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.models import TextVideoModel
from wordframe.models.in_use import contextualize, fit_text, score
from wordframe.video.decode import VideoInfo
from wordframe.video.sampling import benchmark_indices, per_second, uniform

TEXTS_AT_ONCE = 256


def evaluate_folder(
    matched: MatchedVideos,
    encoder: Encoder,
    model: TextVideoModel,
    *,
    model_name: str,
    num_frames: int = 12,
    allow_missing: bool = False,
    on_progress: Callable[[int], None] = lambda done: None,
) -> EvaluationReport:
    """Both directions' numbers of ``model`` on captioned videos.

    Args:
        num_frames: frames a video, ``F``; fewer if the model takes fewer.
        allow_missing: evaluate the other videos when some are not there or cannot be read.
        on_progress: called with the number of videos read so far.

    Raises:
        AnnotationError: videos are missing or unreadable and that is not allowed, or none is left.
    """
    if not allow_missing:
        matched.refuse_missing()
    num_frames = min(num_frames, model.max_frames or num_frames)
    paths = [str(pair.path) for pair in matched.pairs]
    found, failures = _read_videos(paths, encoder, num_frames, on_progress)
    skipped = [Skipped(name, "not in the folder") for name in matched.missing] + failures
    if failures and not allow_missing:
        raise AnnotationError(
            f"{len(failures)} of {len(paths)} videos cannot be read, the first: {failures[0].reason}; "
            "mend them, or say --allow-missing to evaluate the others"
        )
    if not found:
        raise AnnotationError("no captioned video could be read; nothing to evaluate")
    kept = sorted(found)
    place = {video: column for column, video in enumerate(kept)}
    captions, owners = matched.queries()
    queries = [(caption, place[owner]) for caption, owner in zip(captions, owners, strict=True) if owner in place]
    texts = [fit_text(block, model.max_words) for block in _encode_texts([caption for caption, _ in queries], encoder)]
    caption_video = torch.tensor([owner for _, owner in queries])
    videos = contextualize(model, pad_videos([found[video] for video in kept]))
    ranks = _ranks(model, texts, videos, caption_video)
    return EvaluationReport(
        evaluation=evaluate_ranks(*ranks, caption_video, num_videos=len(kept)),
        protocol="folder",
        encoder=f"{encoder.name} ({encoder.fingerprint})",
        model=model_name,
        frames=f"{num_frames} a video, uniform",
        skipped=tuple(skipped),
    )


def _read_videos(
    paths: Sequence[str], encoder: Encoder, num_frames: int, on_progress: Callable[[int], None]
) -> tuple[dict[int, NDArray[np.float32]], list[Skipped]]:
    """Frame features ``(F, D)`` by the video's place in ``paths``, and what could not be read."""

    def times(info: VideoInfo) -> Iterable[float]:
        if info.duration_seconds is None:
            return per_second(1.0, 0.0, None)
        return uniform(0.0, info.duration_seconds, num_frames)

    jobs = [Job(str(place), path) for place, path in enumerate(paths)]
    parts: dict[int, dict[int, NDArray[np.float32]]] = {}
    failures: list[Skipped] = []
    ended = 0
    with contextlib.closing(extract(jobs, encoder, times=times)) as results:
        for result in results:
            if isinstance(result, Failure):
                failures.append(Skipped(paths[int(result.key)], result.reason))
            else:
                parts.setdefault(int(result.key), {})[result.index] = result.features
            ended += isinstance(result, Failure) or result.last
            on_progress(ended)
    whole = {place: np.concatenate([chunks[i] for i in sorted(chunks)]) for place, chunks in parts.items()}
    return {
        place: features[benchmark_indices(len(features), num_frames)] for place, features in whole.items()
    }, failures


def pad_videos(features: Sequence[NDArray[np.float32]]) -> VideoFeatures:
    """Videos of different lengths ``(F_i, D)`` as one ``(V, F, D)`` with its mask."""
    counts = torch.tensor([len(frames) for frames in features])
    mask = torch.arange(int(counts.max()))[None, :] < counts[:, None]
    frames = torch.zeros(*mask.shape, features[0].shape[1])
    frames[mask] = torch.from_numpy(np.concatenate(features))
    return VideoFeatures(frames, frames, mask)


def _encode_texts(captions: Sequence[str], encoder: Encoder) -> list[TextFeatures]:
    return [encoder.encode_text(captions[i : i + TEXTS_AT_ONCE]) for i in range(0, len(captions), TEXTS_AT_ONCE)]


def _texts_at(texts: Sequence[TextFeatures], rows: Tensor) -> Iterator[TextFeatures]:
    """The wanted texts, block of encoding by block; ``rows`` ascending within a block."""
    for number, block in enumerate(texts):
        inside = rows[(rows >= number * TEXTS_AT_ONCE) & (rows < (number + 1) * TEXTS_AT_ONCE)]
        if len(inside):
            yield block[inside - number * TEXTS_AT_ONCE]


@torch.inference_mode()
def _ranks(
    model: TextVideoModel, texts: Sequence[TextFeatures], videos: VideoFeatures, caption_video: Tensor
) -> tuple[Tensor, Tensor]:
    def logits(rows: Tensor, columns: slice) -> Tensor:
        return torch.cat([score(model, block, videos[columns]) for block in _texts_at(texts, rows)])

    return streamed_ranks(logits, caption_video, num_videos=len(videos))
