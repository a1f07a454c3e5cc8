"""A model at work on features that a library stores or an evaluation made: the right model, within its limits.

Videos with more frames than the model takes keep some of them, by the papers' rule (``video.sampling.
benchmark_indices``); sentences with more words lose those before the last. A model whose padding takes part (the
released codes, ``mask_padding=False``) gets no padding at all, so that a score never depends on what else was scored.
Neighbours: ``model.py``; ``library/prepared.py`` stores what is made here, ``search`` and ``evaluation`` rank by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from wordframe.errors import CheckpointError, WordframeError
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.heads import VideoStatistics
from wordframe.models.checkpoint import load_model
from wordframe.models.model import TextVideoModel
from wordframe.models.presets import PRESETS
from wordframe.video import benchmark_indices

BLOCK_VIDEOS = 256


def load_ready(name: str, *, dimension: int | None = None, untrained: bool = False) -> TextVideoModel:
    """A preset for features of ``dimension``, or a checkpoint by folder or hub id, ready to rank.

    Fresh weights are the same at every start, so an untrained model ranks alike each time.

    Raises:
        WordframeError: there is no such model, or it is untrained and ``untrained`` does not allow that.
    """
    is_preset = name in PRESETS
    if is_preset and PRESETS[name].needs_training and not untrained:
        raise WordframeError(
            f"{name!r} is a preset: settings without trained weights; give a checkpoint's folder, "
            "or say --untrained to rank with its starting values"
        )
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = load_model(name, dimension=dimension if is_preset else None)
    except ValueError as error:
        raise WordframeError(f"{name!r} cannot work on features of {dimension} dimensions: {error}") from error
    if not model.trained and not untrained:
        raise WordframeError(f"{name!r} holds untrained weights; train it first, or say --untrained to rank with them")
    return model


def refuse_other_features(
    model: TextVideoModel, name: str, *, encoder: str, fingerprint: str, dimension: int, remedy: str
) -> None:
    """Raise unless features of ``encoder`` are what ``model`` was made for; ``remedy`` says what to do instead.

    Raises:
        CheckpointError: the model has a backbone of its own that is another one, or works on another ``D``.
    """
    if model.backbone is not None:
        from wordframe.encoders import backbone_fingerprint  # brings transformers, which not every model needs

        own = backbone_fingerprint(model.backbone)
        if own != fingerprint:
            raise CheckpointError(
                f"{name!r} scores features of its own CLIP (fingerprint {own}), these are of the encoder {encoder!r} "
                f"(fingerprint {fingerprint}); {remedy}"
            )
    if model.dimension != dimension:
        raise CheckpointError(
            f"{name!r} works on features of {model.dimension} dimensions, the encoder {encoder!r} gives {dimension}; "
            "use the encoder it was trained with"
        )


def kept_words(count: int, max_words: int | None) -> list[int]:
    """Which of ``count`` token positions a model takes: the leading ones and the last (EOS).

    >>> kept_words(3, None), kept_words(6, 4)
    ([0, 1, 2], [0, 1, 2, 5])
    """
    if max_words is None or count <= max_words:
        return list(range(count))
    return [*range(max_words - 1), count - 1]


def fit_text(text: TextFeatures, max_words: int | None) -> TextFeatures:
    """Texts of at most ``max_words`` token positions; the sentences stay those of the whole texts."""
    if max_words is None or text.words.shape[1] <= max_words:
        return text
    words = text.words.new_zeros(len(text), max_words, text.words.shape[2])
    mask = torch.zeros(len(text), max_words, dtype=torch.bool)
    for row, real in enumerate(text.word_mask):
        kept = real.nonzero()[:, 0][kept_words(int(real.sum()), max_words)]
        words[row, : len(kept)] = text.words[row, kept]
        mask[row, : len(kept)] = True
    return TextFeatures(text.sentence, words, mask)


def fit_frames(video: VideoFeatures, max_frames: int | None) -> VideoFeatures:
    """Videos of at most ``max_frames`` raw frames, spread over each by the papers' rule. Real frames must lie first."""
    if max_frames is None or video.frames.shape[1] <= max_frames:
        return video
    counts = video.frame_mask.sum(dim=1).tolist()
    index = torch.zeros(len(video), max_frames, dtype=torch.long)
    for row, count in enumerate(counts):
        kept = benchmark_indices(count, max_frames)
        index[row, : len(kept)] = torch.tensor(kept, dtype=torch.long)
    mask = torch.arange(max_frames) < torch.tensor(counts)[:, None]  # (V, max_frames)
    frames = video.frames.gather(1, index[..., None].expand(-1, -1, video.frames.shape[2]))
    frames = frames.masked_fill(~mask[..., None], 0.0)
    seconds = None if video.seconds is None else video.seconds.gather(1, index).masked_fill(~mask, 0.0)
    return VideoFeatures(frames, frames, mask, seconds)


@torch.inference_mode()
def contextualize(model: TextVideoModel, video: VideoFeatures) -> VideoFeatures:
    """Raw frames as ``model`` wants them: fitted to its limit, through its temporal head. Padding holds zeros."""
    video = fit_frames(video, model.max_frames)
    if model.temporal is None:
        return video
    contextual = torch.zeros_like(video.frames)
    for rows, some in _blocks(model, video):
        made = model.contextualize(some.frames, some.frame_mask).contextual
        contextual[rows, : made.shape[1]] = made.masked_fill(~some.frame_mask[..., None], 0.0)
    return video.with_contextual(contextual)


@torch.inference_mode()
def video_vectors(model: TextVideoModel, video: VideoFeatures) -> Tensor:
    """One unit vector a video, ``(V, D)``, from the output of ``contextualize``."""
    vectors = torch.empty(len(video), model.dimension)
    for rows, some in _blocks(model, video):
        vectors[rows] = model.video_vectors(some)
    return vectors


@torch.inference_mode()
def video_statistics(model: TextVideoModel, video: VideoFeatures) -> list[VideoStatistics]:
    """The similarity's statistics of the output of ``contextualize``, for ``score``."""
    found: dict[int, VideoStatistics] = {}
    for rows, some in _blocks(model, video):
        found |= dict(zip(rows.tolist(), model.similarity.statistics(some), strict=True))
    return [found[row] for row in range(len(video))]


@torch.inference_mode()
def score(
    model: TextVideoModel, text: TextFeatures, video: VideoFeatures, statistics: Sequence[VideoStatistics] | None = None
) -> Tensor:
    """Logits ``(T, V)`` of the output of ``contextualize``, each as if its pair were scored alone.

    statistics: what ``video_statistics`` gave for these videos, to save its time.
    """

    def of_all(text: TextFeatures, video: VideoFeatures, statistics: Sequence[VideoStatistics] | None) -> Tensor:
        return model.score(text, video if statistics is None else model.similarity.precompute(video, statistics)).logits

    if model.settings.mask_padding:
        return of_all(text, video, statistics)
    logits = torch.empty(len(text), len(video), device=text.sentence.device)
    for rows, some in _videos_of_one_length(video):
        kept = None if statistics is None else [statistics[row] for row in rows.tolist()]
        for texts, some_texts in _texts_of_one_length(text):
            logits[texts[:, None], rows] = of_all(some_texts, some, kept)
    return logits


def _blocks(model: TextVideoModel, video: VideoFeatures) -> Iterator[tuple[Tensor, VideoFeatures]]:
    """Rows and the videos there, a bounded number at a time; without padding where padding would take part."""
    everything = torch.arange(len(video))
    groups = [(everything, video)] if model.settings.mask_padding else _videos_of_one_length(video)
    for rows, some in groups:
        for start in range(0, len(rows), BLOCK_VIDEOS):
            block = slice(start, start + BLOCK_VIDEOS)
            yield rows[block], some[block]


def _videos_of_one_length(video: VideoFeatures) -> Iterator[tuple[Tensor, VideoFeatures]]:
    counts = video.frame_mask.sum(dim=1)
    for count in sorted(set(counts.tolist())):
        rows = (counts == count).nonzero()[:, 0]
        some = video[rows]

        def real(x: Tensor, mask: Tensor = some.frame_mask, count: int = count) -> Tensor:
            return x[mask].view(len(mask), count, *x.shape[2:])

        seconds = None if some.seconds is None else real(some.seconds)
        yield rows, VideoFeatures(real(some.frames), real(some.contextual), real(some.frame_mask), seconds)


def _texts_of_one_length(text: TextFeatures) -> Iterator[tuple[Tensor, TextFeatures]]:
    counts = text.word_mask.sum(dim=1)
    for count in sorted(set(counts.tolist())):
        rows = (counts == count).nonzero()[:, 0]
        some = text[rows]
        words = some.words[some.word_mask].view(len(rows), count, -1)
        yield rows, replace(some, words=words, word_mask=torch.ones(len(rows), count, dtype=torch.bool))
