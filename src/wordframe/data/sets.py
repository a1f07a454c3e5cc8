"""What is trained on: sets of numbered captions and videos that give batches of matching pairs, ready for a model.

``Batch`` and ``TrainingSet`` are what training asks for; ``FeatureSet`` gives them of cached features, or of made-up
ones. Row ``i`` of a batch's texts belongs to row ``i`` of its videos; which pairs come together, and in what order, is
for training to decide. Texts are padded to ``num_words`` and videos to ``num_frames``, the same for a whole set, so
that batches of different processes can be put together; of longer texts the last position (EOS) stays with the leading
ones, of longer videos the frames that are spread evenly, the papers' rule.
Axes: ``B`` pairs, ``W`` token positions, ``F`` frames, ``D`` embedding size.
Neighbours: ``pixel_sets.py`` (sets for a model whose backbone makes the features), ``feature_cache.py`` (what is read).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Protocol, Self, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wordframe.data._cache_folder import CacheError
from wordframe.data.feature_cache import CachedFeatures
from wordframe.data.sampled import FrameOrder, frame_orders
from wordframe.disk import short_hash
from wordframe.errors import counted
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.models import TextVideoModel, kept_words
from wordframe.video import Cut, FrameRule

Rows = NDArray[np.floating]


class Batch(Protocol):
    """What training asks of a batch.

    captions: ``(B,)`` int64, numbers of the captions in the training set; videos: ``(B,)`` those of their videos.
    """

    @property
    def captions(self) -> Tensor: ...

    @property
    def videos(self) -> Tensor: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice) -> Self: ...

    def to(self, device: torch.device | str) -> Self: ...

    def encode(self, model: TextVideoModel) -> tuple[TextFeatures, VideoFeatures]:
        """Both sides through the model, the temporal head included."""
        ...


@dataclass(frozen=True)
class PairBatch:
    """Tensors that share their first axis."""

    captions: Tensor
    videos: Tensor

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, rows: slice) -> Self:
        return replace(self, **{name: tensor[rows] for name, tensor in self._tensors().items()})

    def to(self, device: torch.device | str) -> Self:
        moved = {name: tensor.to(device, non_blocking=True) for name, tensor in self._tensors().items()}
        return replace(self, **moved)

    def _tensors(self) -> dict[str, Tensor]:
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in found.items() if isinstance(value, Tensor)}


class TrainingSet(Protocol):
    """Captions and their videos by number.

    video_of: the number of each caption's video; video_ids: the name of each video, to tell a person; dimension: ``D``
    of cached features, None where a backbone makes them; fingerprint: short hash of everything the batches depend on.
    """

    @property
    def video_of(self) -> Sequence[int]: ...

    @property
    def video_ids(self) -> Sequence[str]: ...

    @property
    def dimension(self) -> int | None: ...

    @property
    def fingerprint(self) -> str: ...

    def batch(self, captions: Sequence[int]) -> Batch:
        """The captions of these numbers with their videos, in this order. Called from worker threads."""
        ...


class RaggedFeatures(Protocol):
    """Features by number, without padding: of a cache, or in memory."""

    word_counts: NDArray[np.int64]
    frame_counts: NDArray[np.int64]

    @property
    def dimension(self) -> int: ...

    def sentence(self, caption: int) -> Rows: ...

    def words(self, caption: int) -> Rows: ...

    def frames(self, video: int) -> Rows: ...

    def seconds(self, video: int) -> Rows | None: ...


@dataclass(frozen=True)
class FeatureBatch(PairBatch):
    """Pairs whose features were cached: the backbone is not needed.

    sentence: ``(B, D)``; words: ``(B, W, D)``; word_mask: ``(B, W)``; frames: ``(B, F, D)``; frame_mask: ``(B, F)``.
    """

    sentence: Tensor
    words: Tensor
    word_mask: Tensor
    frames: Tensor
    frame_mask: Tensor

    def encode(self, model: TextVideoModel) -> tuple[TextFeatures, VideoFeatures]:
        text = TextFeatures(self.sentence, self.words, self.word_mask)
        return text, model.contextualize(self.frames, self.frame_mask)


class FeatureSet:
    """A training set of features: no backbone is needed, nor is all of it ever in memory.

    Args:
        features: where they come from.
        video_of, video_ids, fingerprint: as in ``TrainingSet``.
        num_words, num_frames: what texts and videos are cut or padded to; by default the most that there are.
        cut: which frames are kept of more than ``num_frames``; order: of a video's frames in ``batch``.
    """

    def __init__(
        self,
        *,
        features: RaggedFeatures,
        video_of: Sequence[int],
        video_ids: Sequence[str],
        fingerprint: str,
        num_words: int | None = None,
        num_frames: int | None = None,
        cut: Cut = "uniform",
        order: FrameOrder = "forward",
    ) -> None:
        self.cut, self.order = cut, order
        self.video_of, self.video_ids = video_of, video_ids
        self.num_words = int(features.word_counts.max()) if num_words is None else num_words
        self.num_frames = int(features.frame_counts.max()) if num_frames is None else num_frames
        for name, value, least in (("num_words", self.num_words, 2), ("num_frames", self.num_frames, 1)):
            if value < least:
                raise ValueError(f"{name}={value} must be at least {least}")
        self.fingerprint = short_hash(fingerprint, self.num_words, self.num_frames, cut, order)
        self._features = features

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        num_words: int | None = None,
        num_frames: int | None = None,
        cut: Cut | None = None,
        order: FrameOrder = "forward",
        encoder_fingerprint: str | None = None,
        benchmark: str | None = None,
        split: str | None = None,
    ) -> FeatureSet:
        """The split cached in ``folder``, or at an address, by ``wordframe cache features``.

        Args:
            num_words, num_frames: as above.
            order: of a video's frames in ``batch``.
            cut, encoder_fingerprint, benchmark, split: what the features must be of, where the caller knows.

        Raises:
            CacheError: there is no such cache, it is not complete or damaged, has fewer frames a video, or is of
                another cut, encoder, benchmark or split.
        """
        features = CachedFeatures.open(folder)
        described = features.description
        for what, there, wanted in (
            ("the encoder's fingerprint", described.fingerprint, encoder_fingerprint),
            ("the cut of more frames than wanted", described.cut, cut),
            ("benchmark", described.benchmark, benchmark),
            ("split", described.split, split),
        ):
            if wanted is not None and there != wanted:
                raise CacheError(f"{folder}: {what} is {there}, {wanted} is needed; use the cache made for it")
        if num_frames is not None and num_frames > described.num_frames:
            raise CacheError(
                f"{folder}: holds at most {counted(described.num_frames, 'frame')} a video, {num_frames} are wanted; "
                f"make a cache with --frames {num_frames}"
            )
        return cls(
            features=features,
            video_of=features.video_of.tolist(),
            video_ids=features.video_ids,
            fingerprint=features.fingerprint,
            num_words=num_words,
            num_frames=described.num_frames if num_frames is None else num_frames,
            cut=described.cut,
            order=order,
        )

    @classmethod
    def in_memory(
        cls,
        texts: TextFeatures,
        videos: VideoFeatures,
        video_of: Sequence[int],
        *,
        video_ids: Sequence[str] | None = None,
        num_words: int | None = None,
        num_frames: int | None = None,
    ) -> FeatureSet:
        """A set of features made elsewhere: text ``t`` belongs to raw frames ``video_of[t]``; real ones come first."""
        owners = [int(video) for video in video_of]
        if len(owners) != len(texts) or not all(0 <= video < len(videos) for video in owners):
            raise ValueError(f"video_of must give one of {len(videos)} videos for each of {len(texts)} texts")
        features = _InMemory(texts, videos)
        return cls(
            features=features,
            video_of=owners,
            video_ids=[f"video {row}" for row in range(len(videos))] if video_ids is None else video_ids,
            fingerprint=short_hash(features.fingerprint, owners),
            num_words=num_words,
            num_frames=num_frames,
        )

    @property
    def dimension(self) -> int:
        return self._features.dimension

    def batch(self, captions: Sequence[int]) -> FeatureBatch:
        """The captions of these numbers with their videos, in this order."""
        videos = [self.video_of[caption] for caption in captions]
        text, video = self._texts(captions), self._videos(videos)
        frames = video.frames
        if self.order != "forward":
            orders = frame_orders(self.order, video.frame_mask.sum(dim=1).tolist(), captions)
            frames = frames.clone()
            for row, ordered in enumerate(orders):
                frames[row, : len(ordered)] = video.frames[row, ordered]
        return FeatureBatch(
            captions=torch.tensor(captions),
            videos=torch.tensor(videos),
            sentence=text.sentence,
            words=text.words,
            word_mask=text.word_mask,
            frames=frames,
            frame_mask=video.frame_mask,
        )

    def all_videos(self) -> VideoFeatures:
        """The raw frames of all videos, in the order of their numbers, float32."""
        return self._videos(range(len(self.video_ids)))

    def text_blocks(self, size: int) -> Sequence[TextFeatures]:
        """All captions in the order of their numbers, ``size`` at a time; a block is read when it is asked for."""
        return _TextBlocks(self._texts, len(self.video_of), size)

    def _texts(self, captions: Sequence[int]) -> TextFeatures:
        rows: list[Rows] = []  # of a cache in float16; ``from_ragged`` makes float32 of them
        for caption in captions:
            words = self._features.words(caption)
            rows.append(words if len(words) <= self.num_words else words[kept_words(len(words), self.num_words)])
        sentence = [self._features.sentence(caption) for caption in captions]
        return TextFeatures.from_ragged(sentence, rows, length=self.num_words)

    def _videos(self, videos: Sequence[int]) -> VideoFeatures:
        rows: list[Rows] = []
        seconds: list[Rows] = []
        for video in videos:
            frames, times = self._features.frames(video), self._features.seconds(video)
            kept: list[int] | slice = slice(None)
            if len(frames) > self.num_frames:
                # the cache has applied the protocol's last second already
                kept = FrameRule(cut=self.cut).indices(len(frames), self.num_frames)
            rows.append(frames[kept])
            if times is not None:
                seconds.append(times[kept])
        return VideoFeatures.from_ragged(
            rows, seconds=seconds or None, length=self.num_frames, dimension=self.dimension
        )


class _InMemory:
    """``RaggedFeatures`` of tensors."""

    def __init__(self, texts: TextFeatures, videos: VideoFeatures) -> None:
        if texts.sentence.shape[1] != videos.frames.shape[2]:
            raise ValueError(
                f"texts have D = {texts.sentence.shape[1]}, videos D = {videos.frames.shape[2]}; they must agree"
            )
        self._words = _real(texts.words, texts.word_mask)
        self._frames = _real(videos.frames, videos.frame_mask)
        self._sentence: Rows = texts.sentence.numpy()
        self._seconds: Rows | None = None if videos.seconds is None else videos.seconds.numpy()
        self.word_counts = texts.word_mask.sum(dim=1).numpy()
        self.frame_counts = videos.frame_mask.sum(dim=1).numpy()
        if not (self.word_counts.all() and self.frame_counts.all()):
            raise ValueError("a text without a word or a video without a frame cannot be trained on; leave it out")

    @property
    def dimension(self) -> int:
        return int(self._sentence.shape[1])

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for rows in (self._sentence, *self._words, *self._frames):
            digest.update(f"{rows.shape} {rows.dtype}".encode() + np.ascontiguousarray(rows).tobytes())
        return digest.hexdigest()[:16]

    def sentence(self, caption: int) -> Rows:
        row: Rows = self._sentence[caption]
        return row

    def words(self, caption: int) -> Rows:
        return self._words[caption]

    def frames(self, video: int) -> Rows:
        return self._frames[video]

    def seconds(self, video: int) -> Rows | None:
        return None if self._seconds is None else self._seconds[video, : self.frame_counts[video]]


def _real(rows: Tensor, mask: Tensor) -> list[Rows]:
    """The real rows of ``(N, L, D)``, one ``(L_i, D)`` for each of N."""
    return [some[real].numpy() for some, real in zip(rows, mask, strict=True)]


class _TextBlocks(Sequence[TextFeatures]):
    """All texts in blocks of one size; the last may be smaller."""

    def __init__(self, texts: Callable[[Sequence[int]], TextFeatures], total: int, size: int) -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        self._texts, self._total, self._size = texts, total, size

    def __len__(self) -> int:
        return -(-self._total // self._size)

    @overload
    def __getitem__(self, number: int) -> TextFeatures: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[TextFeatures]: ...

    def __getitem__(self, number: int | slice) -> TextFeatures | Sequence[TextFeatures]:
        if isinstance(number, slice):
            return [self[place] for place in range(*number.indices(len(self)))]
        start = range(len(self))[number] * self._size
        return self._texts(range(start, min(start + self._size, self._total)))
