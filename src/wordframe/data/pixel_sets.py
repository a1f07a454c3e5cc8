"""Training sets whose features a backbone makes: from cached frames, or from video files decoded in passing.

Frames become levels from 0 to 255 at the backbone's size, cropped or squashed as it wants; the device makes its pixels
of them (``PixelBatch``). The frames of a batch are read by as many threads as there are cores. A video that is not
there ends the making of the set, or is left out and named where that is allowed; one that turns out broken ends the
run.
Neighbours: ``sets.py`` (the contract, and sets of features), ``sampled.py`` (where frames come from).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NotRequired, Self, TypedDict, Unpack

import torch
from torch import Tensor
from torch.nn import functional as F

from wordframe.data.frame_cache import FrameCache
from wordframe.data.sampled import FrameOrder, FrameSource, VideoFiles, frame_orders
from wordframe.data.sets import PairBatch
from wordframe.disk import short_hash
from wordframe.encoders import Preprocessing, RgbFrames
from wordframe.errors import AnnotationError, VideoError, counted
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.models import TextVideoModel
from wordframe.video import WHOLE_VIDEO, FrameRule

Tokenize = Callable[[Sequence[str]], tuple[Tensor, Tensor]]
"""Sentences into ``input_ids (T, W)`` and ``mask (T, W)``, cut to ``num_words`` as the backbone's tokenizer does."""

_OF_CLIP = Preprocessing()
_ZEROS, _LEVELS = (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)
"""Mean and std that leave levels from 0 to 255 as they are."""
_PROBE_CAPTIONS = 16
"""Captions whose token ids stand for the tokenizer in the fingerprint: it has no name that could be trusted."""


@dataclass(frozen=True)
class PixelBatch(PairBatch):
    """Pairs for a model with a backbone.

    input_ids: ``(B, W)`` int64; word_mask: ``(B, W)``; pixels: ``(B, F, 3, H, W)``, as the backbone takes them, or
    levels from 0 to 255 in uint8, a quarter of the memory, which become that once they are on their device;
    frame_mask: ``(B, F)``; preprocessing: whose mean and std the backbone takes.
    """

    input_ids: Tensor
    word_mask: Tensor
    pixels: Tensor
    frame_mask: Tensor
    preprocessing: Preprocessing = _OF_CLIP

    def to(self, device: torch.device | str) -> Self:
        moved = super().to(device)
        return replace(moved, pixels=_normalised(moved.pixels, moved.frame_mask, self.preprocessing))

    def encode(self, model: TextVideoModel) -> tuple[TextFeatures, VideoFeatures]:
        text = model.encode_text(input_ids=self.input_ids, mask=self.word_mask)
        pixels = _normalised(self.pixels, self.frame_mask, self.preprocessing)
        return text, model.encode_video(pixels=pixels, frame_mask=self.frame_mask)


def _normalised(pixels: Tensor, frame_mask: Tensor, wanted: Preprocessing) -> Tensor:
    """Levels into ``(x / 255 - mean) / std``, padded frames into zeros; pixels that are so already stay."""
    if pixels.dtype != torch.uint8:
        return pixels
    # x · scale − shift, the very operations of ``Preprocessing``: training and a library see pixels equal bit by bit
    scale = torch.tensor([1 / (255 * std) for std in wanted.std], device=pixels.device).view(3, 1, 1)
    shift = torch.tensor([mean / std for mean, std in zip(wanted.mean, wanted.std, strict=True)])
    normalised = pixels.float().mul_(scale).sub_(shift.to(pixels.device).view(3, 1, 1))
    return normalised.masked_fill_(~frame_mask[..., None, None, None], 0.0)


class PixelSet:
    """Captions and frames of videos by number.

    Args:
        captions: of each video, by the name under which ``source`` has it.
        source: where frames come from.
        tokenize: sentences into ids.
        preprocessing: frames into the pixels that the backbone takes.
        num_words, num_frames: what texts are padded to, and videos cut or padded to.
        order: of a video's frames in ``batch``.
        allow_missing: leave out videos that ``source`` does not have.

    Attributes:
        left_out: their names, and why.

    Raises:
        AnnotationError: videos are missing and that is not allowed, or none is left.
        CacheError: cached frames are too few a video, or too small.
    """

    dimension = None

    def __init__(
        self,
        *,
        captions: Mapping[str, Sequence[str]],
        source: FrameSource,
        tokenize: Tokenize,
        preprocessing: Preprocessing,
        num_words: int,
        num_frames: int,
        order: FrameOrder = "forward",
        allow_missing: bool = False,
    ) -> None:
        self.num_words, self.num_frames, self.order = num_words, num_frames, order
        self._source, self._tokenize = source, tokenize
        self._preprocessing = preprocessing
        self._to_levels = replace(preprocessing, mean=_ZEROS, std=_LEVELS)
        source.refuse_less(num_frames=num_frames, short_side=preprocessing.short_side)
        stamps, self.left_out = _stamps(source, captions)
        _refuse(self.left_out, len(captions), allow_missing)
        self.video_ids = list(stamps)
        self.captions = [caption for video in stamps for caption in captions[video]]
        self.video_of = [place for place, video in enumerate(stamps) for _ in captions[video]]
        probe = tokenize(self.captions[:_PROBE_CAPTIONS])[0].tolist()
        sizes = (str(preprocessing), num_words, num_frames)
        told = (source.rule.describe(num_frames), order)
        self.fingerprint = short_hash(list(stamps.items()), self.captions, self.video_of, probe, sizes, told)

    def batch(self, captions: Sequence[int]) -> PixelBatch:
        """The captions of these numbers with their videos, in this order. VideoError: a video cannot be read."""
        videos = [self.video_of[caption] for caption in captions]
        input_ids, word_mask = self._ids([self.captions[caption] for caption in captions])
        # each video once, however many captions of the batch are its own
        frames = dict(zip(dict.fromkeys(videos), self._pool.map(self._levels, dict.fromkeys(videos)), strict=True))
        counts = torch.tensor([len(frames[video]) for video in videos])
        size = (self._preprocessing.height, self._preprocessing.width)
        pixels = torch.zeros(len(videos), self.num_frames, 3, *size, dtype=torch.uint8)
        orders = frame_orders(self.order, counts.tolist(), captions)
        for place, (video, ordered) in enumerate(zip(videos, orders, strict=True)):
            pixels[place, : len(ordered)] = frames[video][ordered]
        return PixelBatch(
            captions=torch.tensor(captions),
            videos=torch.tensor(videos),
            input_ids=input_ids,
            word_mask=word_mask,
            pixels=pixels,
            frame_mask=torch.arange(self.num_frames) < counts[:, None],
            preprocessing=self._preprocessing,
        )

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        # made with the first batch: a set that is only looked at (its sizes, its fingerprint) starts no threads
        return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="frames")

    def _levels(self, video: int) -> Tensor:
        """The frames of a video, ``(N, 3, H, W)`` uint8."""
        rgb: RgbFrames = self._source.read(self.video_ids[video], self.num_frames).rgb
        # resizing stays in 8 bits, so these are whole numbers but for the rounding of 255 · (1 / 255)
        return self._to_levels(rgb).round_().to(torch.uint8)

    def _ids(self, sentences: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token ids and their mask ``(B, num_words)``. What stands in masked positions reaches no real word."""
        input_ids, mask = self._tokenize(sentences)
        missing = self.num_words - input_ids.shape[1]
        if missing < 0:
            raise ValueError(f"tokenize gave {input_ids.shape[1]} positions, at most num_words={self.num_words} fit")
        return F.pad(input_ids, (0, missing)), F.pad(mask, (0, missing))


class _Shared(TypedDict):
    """What sets on any source take."""

    captions: Mapping[str, Sequence[str]]
    tokenize: Tokenize
    preprocessing: Preprocessing
    num_words: int
    num_frames: int
    order: NotRequired[FrameOrder]
    allow_missing: NotRequired[bool]


class FrameSet(PixelSet):
    """A set on frames that ``wordframe cache frames`` keeps. CacheError: they were chosen by another ``rule``."""

    def __init__(self, *, cache: FrameCache, rule: FrameRule = WHOLE_VIDEO, **shared: Unpack[_Shared]) -> None:
        cache.refuse_other_rule(rule)
        super().__init__(source=cache, **shared)


class VideoSet(PixelSet):
    """A set on video files by the captions' names. Every video is decoded anew each time it is asked for."""

    def __init__(self, *, paths: Mapping[str, Path], rule: FrameRule = WHOLE_VIDEO, **shared: Unpack[_Shared]) -> None:
        super().__init__(source=VideoFiles(paths, short_side=shared["preprocessing"].short_side, rule=rule), **shared)


def _stamps(source: FrameSource, videos: Mapping[str, object]) -> tuple[dict[str, str], dict[str, str]]:
    """What identifies each video that is there, and why others are not."""
    stamps: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for video in videos:
        try:
            stamps[video] = source.stamp(video)
        except VideoError as error:
            left_out[video] = str(error)
    return stamps, left_out


def _refuse(left_out: Mapping[str, str], total: int, allow_missing: bool) -> None:
    if left_out and (not allow_missing or len(left_out) == total):
        raise AnnotationError(
            f"{len(left_out)} of {counted(total, 'captioned video')} {'is' if total == 1 else 'are'} not there, "
            f"the first: {next(iter(left_out.values()))}; add them, or say --allow-missing to go on with the others"
        )
