"""R@1 on a validation set while training: what chooses the best checkpoint.

Cached features are ranked as they are. Pixels go through the model first, each process encoding its share of every
block, so that nothing is counted twice or lost. Ranking is ``evaluate.evaluate_features``, the same code as the
reports', in the first process. ``trainer.py`` asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from wordframe.data import PixelBatch
from wordframe.evaluate import RetrievalMetrics, evaluate_features
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.models import TextVideoModel
from wordframe.processes import even_shares, failing_together, rank_and_world_size
from wordframe.train.distributed import gather_rows
from wordframe.train.step import autocast

METRIC = "mean of text→video and video→text R@1 in percent"
BLOCK_TEXTS = 256
BLOCK_VIDEOS = 16
"""Encoded at a time, over all processes: 16 videos of 64 frames are 1,024 images, fewer than a training step holds."""


@runtime_checkable
class FeatureValidation(Protocol):
    """A validation set whose features are there already, such as ``data.FeatureSet``."""

    @property
    def video_of(self) -> Sequence[int]: ...

    @property
    def fingerprint(self) -> str: ...

    def all_videos(self) -> VideoFeatures:
        """Raw frames of all videos, in the order of their numbers."""
        ...

    def text_blocks(self, size: int) -> Sequence[TextFeatures]:
        """All captions in the order of their numbers, ``size`` at a time; a block may be made when it is asked for."""
        ...


@runtime_checkable
class PixelValidation(Protocol):
    """A validation set for a model with a backbone, such as ``sources.HeldOutPixels``."""

    @property
    def video_of(self) -> Sequence[int]: ...

    @property
    def fingerprint(self) -> str: ...

    def tokens(self, captions: Sequence[int]) -> tuple[Tensor, Tensor]:
        """``input_ids (B, W)`` and ``word_mask (B, W)`` of these captions."""
        ...

    def batch(self, captions: Sequence[int]) -> PixelBatch: ...


ValidationSet = FeatureValidation | PixelValidation


@dataclass(frozen=True)
class Validation:
    """Both directions after so many steps."""

    step: int
    t2v: RetrievalMetrics
    v2t: RetrievalMetrics

    @property
    def metric(self) -> float:
        """``METRIC``: what the best checkpoint is the best of."""
        return (self.t2v.recall_at_1 + self.v2t.recall_at_1) / 2

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"step": self.step, "metric": self.metric, "t2v": asdict(self.t2v), "v2t": asdict(self.v2t)}


def validate(model: TextVideoModel, held_out: ValidationSet, *, step: int, bfloat16: bool = False) -> Validation | None:
    """Rank all captions and videos of ``held_out``; None in all processes but the first. Leaves eval mode behind."""
    model.eval()
    owners = torch.as_tensor(held_out.video_of, dtype=torch.long)
    if not isinstance(held_out, FeatureValidation):
        texts, videos = encode_pixels(model, held_out, bfloat16=bfloat16)
    with failing_together():
        if rank_and_world_size()[0]:
            return None
        if isinstance(held_out, FeatureValidation):
            ranks = evaluate_features(model, held_out.text_blocks(BLOCK_TEXTS), held_out.all_videos(), owners)
        else:
            ranks = evaluate_features(model, texts, videos, owners)
        return Validation(step, *ranks.metrics())


@torch.inference_mode()
def encode_pixels(
    model: TextVideoModel, held_out: PixelValidation, *, bfloat16: bool = False
) -> tuple[list[TextFeatures], VideoFeatures]:
    """All texts in blocks and the raw frames of all videos, on the CPU of each process."""
    owners = list(held_out.video_of)
    # a batch is asked for by captions; of each video the first one, whatever text comes with it is not looked at
    caption_of = {video: caption for caption, video in reversed(list(enumerate(owners)))}
    device = next(model.parameters()).device
    texts, frames, masks = [], [], []
    for rows, sizes in _shared_out(range(len(owners)), BLOCK_TEXTS):
        input_ids, mask = held_out.tokens(rows)
        with autocast(device, bfloat16):
            text = model.encode_text(input_ids=input_ids, mask=mask)
        texts.append(TextFeatures(*(_together(x, sizes) for x in (text.sentence, text.words, text.word_mask))))
    for rows, sizes in _shared_out(range(1 + max(owners)), BLOCK_VIDEOS):
        # moved as in a step: on its way a batch turns levels from 0 to 255 into what CLIP takes
        with failing_together():
            batch = held_out.batch([caption_of[video] for video in rows]).to(device)
        with autocast(device, bfloat16):
            video = model.encode_video(pixels=batch.pixels, frame_mask=batch.frame_mask)
        frames.append(_together(video.frames, sizes))
        masks.append(_together(video.frame_mask, sizes))
    together = torch.cat(frames)  # raw: ranking puts the temporal head on top, as it does for cached features
    return texts, VideoFeatures(together, together, torch.cat(masks))


def _shared_out(numbers: range, size: int) -> Iterator[tuple[list[int], list[int]]]:
    """Blocks of ``size``: what this process takes of each, and how many each process does. One with nothing left to
    take repeats the block's first, which ``_together`` leaves out."""
    rank, processes = rank_and_world_size()
    for start in range(0, len(numbers), size):
        block = numbers[start : start + size]
        sizes = even_shares(len(block), processes)
        first = sum(sizes[:rank])
        yield list(block[first : first + sizes[rank]]) or [block[0]], sizes


def _together(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """The rows of all processes on the CPU, float32 or bool."""
    own = x[: sizes[rank_and_world_size()[0]]]
    if x.dtype == torch.bool:
        return gather_rows(own.to(torch.uint8), sizes).bool().cpu()
    return gather_rows(own.float(), sizes).cpu()
