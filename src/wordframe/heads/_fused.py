"""Similarities that a compiled loop scores on CPU: videos into groups once, texts packed, tiles over threads.

A head adds to its tensor form what its loop reads of videos (``group``) and how a block of texts is scored against
them (``score_groups``). The loop answers for the first of ``methods`` wherever it can run, which is float32 on CPU
without gradients; the tensor form of ``compare`` answers everywhere else, in float32. Heads: ``tcmgc/head.py``,
``xclip.py``; loops: ``_kernels/``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from wordframe.features import PART_NAMES, SimilarityOutput, TextFeatures, VideoFeatures
from wordframe.heads._kernels import LANES, usable
from wordframe.heads._kernels.tiles import in_threads, text_blocks
from wordframe.heads.base import PrecomputedVideos, Similarity, VideoGroups, VideoStatistics, refuse_empty

PRODUCTS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
SMALL = 20_000
"""Words times videos that one thread scores within some milliseconds: less than several may wait for each other."""
_COPIES_PER_COLUMN = 6
"""Vectors of size ``D`` alive for a text's word: gathered, the three that meet the frames, spare."""
_COPIES_PER_FRAME = 4
"""Vectors of size ``D`` alive for a frame: what is kept of it, and those on the way."""


class FusedSimilarity(Similarity):
    """A similarity whose first method has a compiled loop.

    With ``products = "bfloat16"`` the large products of videos precomputed from then on are faster where the processor
    has instructions for it, at errors that benchmarks/precision.py prints. The tensor form stays with float32.
    """

    kinds_of_products = tuple(PRODUCTS)

    def forward(
        self, text: TextFeatures, video: VideoFeatures | PrecomputedVideos, *, method: str = "auto"
    ) -> SimilarityOutput:
        """As ``Similarity.forward``; with ``PrecomputedVideos`` only what depends on the text is computed."""
        raw = video.video if isinstance(video, PrecomputedVideos) else video
        if self._choose(method) != self.methods[0] or not self.can_fuse(text, raw):
            return super().forward(text, video, method=method)
        refuse_empty("text", text.word_mask)
        text = text.to(dtype=torch.float32)
        out = np.empty((1 + len(PART_NAMES), len(text), len(video)), np.float32)
        with torch.autocast(device_type="cpu", enabled=False):
            if isinstance(video, PrecomputedVideos) and video.groups is not None:
                groups = video.groups
                if text.word_mask.numel() * len(video) <= SMALL:
                    # One item in the pool: torch's own products, too, then stay on one core.
                    in_threads(lambda _: self._score_precomputed(text, groups, out), [None])
                else:
                    self._score_precomputed(text, groups, out)
            else:
                self._score_in_blocks(text, raw, out)
        logits, *parts = torch.from_numpy(out)
        return SimilarityOutput(logits, dict(zip(PART_NAMES, parts, strict=True)))

    def precompute(
        self, video: VideoFeatures, statistics: Sequence[VideoStatistics] | None = None
    ) -> PrecomputedVideos:
        refuse_empty("video", video.frame_mask)
        if not usable(video.contextual.float()) or self._dtype() != torch.float32:
            return PrecomputedVideos(video, None)
        with torch.autocast(device_type="cpu", enabled=False):
            return PrecomputedVideos(video, self.group(video.to(dtype=torch.float32), statistics))

    def can_fuse(self, text: TextFeatures, video: VideoFeatures) -> bool:
        """Whether the loop gives these pairs' numbers."""
        if text.sentence.dtype == torch.float64 or video.frames.dtype == torch.float64:
            return False
        on_cpu = text.sentence.device.type == "cpu"
        return on_cpu and self._dtype() == torch.float32 and usable(*self.parameters())

    @abstractmethod
    def group(self, video: VideoFeatures, statistics: Sequence[VideoStatistics] | None = None) -> VideoGroups:
        """What the loop reads of float32 videos, with the ``statistics`` that were kept of them."""

    @abstractmethod
    def score_groups(self, text: TextFeatures, groups: VideoGroups, max_floats: int, out: NDArray[np.float32]) -> None:
        """Write logits and parts of a block of texts into ``out (5, T, V)``; tiles hold ``max_floats`` a product."""

    def _score_in_blocks(self, text: TextFeatures, video: VideoFeatures, out: NDArray[np.float32]) -> None:
        """As many videos in groups at once as ``max_block_mb`` holds."""
        refuse_empty("video", video.frame_mask)
        num_frames, dimension = video.frames.shape[1:]
        per_group = _COPIES_PER_FRAME * LANES * num_frames * dimension * 4
        size = LANES * max(1, self.max_block_mb * 2**20 // per_group)
        for start in range(0, len(video), size):
            block = slice(start, start + size)
            self._score_precomputed(text, self.group(video[block].to(dtype=torch.float32)), out[:, :, block])

    def _score_precomputed(self, text: TextFeatures, groups: VideoGroups, out: NDArray[np.float32]) -> None:
        budget = self.max_block_mb * 2**20 // 4
        max_columns = budget // (_COPIES_PER_COLUMN * text.words.shape[2])
        max_floats = budget // (4 * torch.get_num_threads())  # three products and what they leave behind
        for texts in text_blocks(text, masked=self.mask_padding, max_columns=max_columns):
            block = text[texts]
            self.score_groups(block, groups, max_floats, out[:, texts])
            # The loop keeps maxima by comparisons, which a NaN never wins: what is broken is marked from outside.
            out[:, texts][:, _broken(block, masked=self.mask_padding)] = float("nan")
        out[:, :, groups.broken.numpy()] = float("nan")


def put(tile: NDArray[np.float32], out: NDArray[np.float32], texts: slice, groups: slice) -> None:
    """A tile ``(5, T, C, LANES)`` to its place in ``out (5, T, V)``, without the lanes that fill up the last group."""
    first = groups.start * LANES
    target = out[:, texts, first : groups.stop * LANES]
    target[:] = tile.reshape(*tile.shape[:2], -1)[:, :, : target.shape[2]]


def _broken(text: TextFeatures, *, masked: bool) -> NDArray[np.bool_]:
    """Texts with a number that is not finite, ``(T,)``."""
    words = text.words.masked_fill(~text.word_mask[..., None], 0.0) if masked else text.words
    broken: NDArray[np.bool_] = ~(words.sum(dim=(1, 2)) + text.sentence.sum(dim=1)).isfinite().numpy()
    return broken
