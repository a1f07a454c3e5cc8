"""Evaluates from features on disk: no video is read and no encoder loaded, and a run that was cut short goes on.

Captions are read a block at a time when their tile comes; frames, ``V · F · D`` numbers, are held.
Neighbours: ``wordframe.data.feature_cache`` keeps the features, ``folder.py`` starts from videos.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np
import torch

from wordframe.data import CachedFeatures, FeatureDescription
from wordframe.errors import CheckpointError
from wordframe.evaluate.evaluator import Progress
from wordframe.evaluate.folder import FRAME_RULES, SECONDS, word_rule
from wordframe.evaluate.gathering import TEXTS_AT_ONCE, Gathered, pad_videos
from wordframe.evaluate.outcome import Bank, Outcome, Source, bank_note, bank_numbers, evaluate_gathered
from wordframe.evaluate.report import Skipped
from wordframe.features import TextFeatures
from wordframe.models import TextVideoModel, kept_words
from wordframe.video import benchmark_indices


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
        words = [each[kept_words(len(each), self._num_words)].astype(np.float32) for each in found]
        counts = torch.tensor([len(each) for each in words])
        mask = torch.arange(int(counts.max())) < counts[:, None]  # (T, W)
        padded = torch.zeros(*mask.shape, self._cache.dimension)
        padded[mask] = torch.from_numpy(np.concatenate(words))
        sentence = np.stack([self._cache.sentence(number) for number in numbers]).astype(np.float32)
        return TextFeatures(torch.from_numpy(sentence), padded, mask)


def evaluate_cached(
    folder: str | Path,
    model: TextVideoModel,
    *,
    model_name: str,
    num_frames: int | None = None,
    num_words: int | None = None,
    top: int | None = None,
    dsl: bool = False,
    bank: str | Path | None = None,
    seed: int = 0,
    max_memory_mb: int = 1024,
    checkpoint: Path | None = None,
    on_progress: Progress = lambda done, total: None,
) -> Outcome:
    """Both directions' numbers of ``model`` on the features in ``folder``; arguments as in ``folder.evaluate_videos``.

    Args:
        num_frames, num_words: fewer than the cache holds; what it holds by default.
        bank: a folder with features of the training split, by the same encoder.
        checkpoint: where the state is kept; the same call goes on from there.

    Raises:
        CacheError: there is no complete feature cache.
        CheckpointError: the bank was made by another encoder.
    """
    cache = CachedFeatures.open(folder)
    told = cache.description
    num_frames = min(limit for limit in (num_frames, told.num_frames, model.max_frames) if limit is not None)
    num_words = min(limit for limit in (num_words, told.max_words, model.max_words) if limit is not None)
    return evaluate_gathered(
        _gather(cache, num_frames, num_words),
        model,
        model_name=model_name,
        encoder=told.encoder,
        encoder_fingerprint=told.fingerprint,
        frames=_frame_rule(told, num_frames),
        words=word_rule(num_words, told.max_words),
        source=Source(told.benchmark, told.split, told.note, told.annotations),
        top=top,
        dsl=dsl,
        bank=None if bank is None else _bank(cache, bank, num_words, seed),
        seed=seed,
        max_memory_mb=max_memory_mb,
        checkpoint=checkpoint,
        on_progress=on_progress,
    )


def _frame_rule(told: FeatureDescription, num_frames: int) -> str:
    fewer = f", of these at most {num_frames}" if num_frames < told.num_frames else ""
    return f"{FRAME_RULES[SECONDS].format(told.num_frames)}{fewer}; from features in float16 ({told.frames})"


def _gather(cache: CachedFeatures, num_frames: int, num_words: int) -> Gathered:
    frames = [cache.frames(video) for video in range(len(cache.video_ids))]
    chosen = [each[benchmark_indices(len(each), num_frames)].astype(np.float32) for each in frames]
    left_out = cache.description.left_out
    return Gathered(
        names=tuple(cache.video_ids),
        captions=tuple(cache.captions()),
        caption_video=torch.from_numpy(cache.video_of),
        texts=CachedTexts(cache, numbers=None, num_words=num_words),
        videos=pad_videos(chosen),
        full_gallery=len(cache.video_ids) + len(left_out),
        skipped=tuple(Skipped(video, reason) for video, reason in left_out.items()),
    )


def _bank(cache: CachedFeatures, folder: str | Path, num_words: int, seed: int) -> Bank:
    found = CachedFeatures.open(folder)
    mine, theirs = cache.description, found.description
    if mine.fingerprint != theirs.fingerprint:
        raise CheckpointError(
            f"{folder} holds features of the encoder {theirs.encoder!r} (fingerprint {theirs.fingerprint}), the test's "
            f"are of {mine.encoder!r} (fingerprint {mine.fingerprint}); cache both with one encoder"
        )
    numbers = bank_numbers(len(found.video_of), seed)
    note = bank_note(len(numbers), len(found.video_of), seed)
    return Bank(CachedTexts(found, numbers=numbers, num_words=num_words), note)
