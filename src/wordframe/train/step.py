"""Loss and gradients of one batch: encode, score against the videos of all processes, and go back.

Each process scores its own texts against the videos of the whole batch, so over all processes every pair is scored
once. Rows give the text→video half of the loss; the logits are exchanged, an ``(N, N)`` matrix of no size, and their
columns give the other half. The sigmoid loss is a sum over pairs and needs the rows alone. ``distributed.py`` makes the
gradients those of one process.

Gradient caching (Gao et al., Scaling deep contrastive learning batch size under memory limited setup, 2021, arXiv
2101.06983): features of all chunks are made without a graph, the loss gives the gradient of each feature, and each
chunk is encoded again to take it back to the parameters. The batch is as large as without, its graph one chunk's.
``trainer.py`` makes a step of such batches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wordframe.data import Batch
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.losses import contrastive_share, decorrelation_share, sigmoid_share
from wordframe.models import TextVideoModel
from wordframe.processes import rank_and_world_size
from wordframe.train.distributed import gather_rows


@dataclass(frozen=True)
class LossShare:
    """What this process's pairs add to the loss of the whole batch.

    total: with its graph; parts: ``(2,)``, contrastive and decorrelation, unweighted, without a graph. What else a head
    trains on (``Similarity.for_training``) is in the total alone.
    """

    total: Tensor
    parts: Tensor


def loss_share(
    model: TextVideoModel, text: TextFeatures, video: VideoFeatures, *, sizes: Sequence[int], decorrelation: float
) -> LossShare:
    """The share of the loss of ``text`` and ``video``, row i matching row i.

    Args:
        model: what scores; its loss is the sigmoid one where it has a ``logit_bias``.
        text, video: ``B`` of each, this process's.
        sizes: the ``B`` of every process.
        decorrelation: weight of SDR.
    """
    first = sum(sizes[: rank_and_world_size()[0]])

    def contrast_of(logits: Tensor) -> Tensor:
        if model.logit_bias is not None:
            return sigmoid_share(logits, model.logit_bias, first=first)
        # this process's columns of the whole matrix: the video→text half needs the rows that other processes scored
        columns = gather_rows(logits, sizes)[:, first : first + len(text)]  # (N, B)
        return contrastive_share(logits, columns, first=first)

    output, further = model.for_training(text, gather_videos(video, sizes), first=first)  # logits (B, N)
    contrast = contrast_of(output.logits)
    total = sum((weight * contrast_of(logits) for weight, logits in further), contrast)
    if not decorrelation:  # its weight of 0 would not save its computing
        return LossShare(total, torch.stack([contrast, torch.zeros_like(contrast)]).detach())
    apart = decorrelation_share(output.parts, first=first)
    return LossShare(total + decorrelation * apart, torch.stack([contrast, apart]).detach())


def gather_videos(video: VideoFeatures, sizes: Sequence[int]) -> VideoFeatures:
    """The videos of all processes, with their gradients; their times are left out."""
    if len(sizes) == 1:
        return video
    mask = gather_rows(video.frame_mask.to(torch.uint8), sizes).bool()  # not every backend sends bool
    if video.contextual is video.frames:
        frames = gather_rows(video.frames, sizes)
        return VideoFeatures(frames, frames, mask)
    both = gather_rows(torch.cat([video.frames, video.contextual], dim=-1), sizes)  # one message
    frames, contextual = both.chunk(2, dim=-1)
    return VideoFeatures(frames, contextual, mask)


def backward(
    model: TextVideoModel,
    batch: Batch,
    *,
    sizes: Sequence[int],
    decorrelation: float,
    chunk: int | None = None,
    weight: float = 1.0,
    bfloat16: bool = False,
) -> Tensor:
    """Add the gradients of ``weight`` times the loss to the parameters.

    Args:
        model: the model, in the mode it is to train in.
        batch: this process's pairs, on the model's device.
        sizes: the number of pairs of every process.
        decorrelation: weight of SDR.
        chunk: pairs to encode at a time; None is all at once.
        weight: 1 / number of batches a step.
        bfloat16: encode under autocast.

    Returns:
        ``(3,)`` shares of total, contrastive and decorrelation, to be summed over processes.
    """
    if chunk is None or chunk >= len(batch):
        text, video = encode(model, batch, bfloat16=bfloat16)
        share = loss_share(model, text, video, sizes=sizes, decorrelation=decorrelation)
        (weight * share.total).backward()  # type: ignore[no-untyped-call]
        return torch.cat([share.total.detach()[None], share.parts])
    chunks = [batch[start : start + chunk] for start in range(0, len(batch), chunk)]
    device = batch.captions.device
    states, encoded = [], []
    with torch.no_grad():
        for some in chunks:
            states.append(random_state(device))
            encoded.append(encode(model, some, bfloat16=bfloat16))
    leaves = _Leaves.of(encoded)
    share = loss_share(model, leaves.text, leaves.video, sizes=sizes, decorrelation=decorrelation)
    (weight * share.total).backward()  # type: ignore[no-untyped-call]
    start = 0
    for some, state in zip(chunks, states, strict=True):
        # the same dropout as when the features were made, else these were the gradients of other features
        with replayed(state, device):
            outputs = _tensors(*encode(model, some, bfloat16=bfloat16))
        _take_back(outputs, leaves.gradients(slice(start, start + len(some))))
        start += len(some)
    return torch.cat([share.total.detach()[None], share.parts])


def encode(model: TextVideoModel, batch: Batch, *, bfloat16: bool = False) -> tuple[TextFeatures, VideoFeatures]:
    """Both sides through backbone and temporal head, in float32 (or float64) whatever computed them."""
    with autocast(batch.captions.device, bfloat16):
        text, video = batch.encode(model)
    dtype = torch.promote_types(text.sentence.dtype, torch.float32)
    # one tensor stays one: its gradient is then taken back once, and it is sent to the other processes once
    same = video.contextual is video.frames
    video = video.to(dtype=torch.promote_types(video.frames.dtype, torch.float32))
    return text.to(dtype=dtype), video.with_contextual(video.frames) if same else video


def autocast(device: torch.device, bfloat16: bool) -> AbstractContextManager[Any]:
    """bfloat16 in matrix products where asked for; weights, gradients and the update stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bfloat16)


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The generators' states: the CPU's, and the device's where it has its own."""
    state = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        state[device.type] = torch.get_device_module(device).get_rng_state()
    return state


def set_random_state(state: Mapping[str, Tensor], device: torch.device) -> None:
    """Put back what ``random_state`` took."""
    torch.set_rng_state(state["cpu"])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(state[device.type])


@contextlib.contextmanager
def replayed(state: Mapping[str, Tensor], device: torch.device) -> Iterator[None]:
    """Random numbers as they were at ``state`` within the block, and behind it as if the block had drawn none."""
    before = random_state(device)
    set_random_state(state, device)
    try:
        yield
    finally:
        set_random_state(before, device)


@dataclass(frozen=True)
class _Leaves:
    """Features of a whole batch that collect gradients but carry no graph."""

    text: TextFeatures
    video: VideoFeatures

    @classmethod
    def of(cls, encoded: Sequence[tuple[TextFeatures, VideoFeatures]]) -> _Leaves:
        texts, videos = [text for text, _ in encoded], [video for _, video in encoded]

        def joined(pieces: Sequence[Tensor]) -> Tensor:
            return torch.cat(list(pieces)).requires_grad_()

        frames = joined([video.frames for video in videos])
        same = all(video.contextual is video.frames for video in videos)
        return cls(
            TextFeatures(
                joined([text.sentence for text in texts]),
                joined([text.words for text in texts]),
                torch.cat([text.word_mask for text in texts]),
            ),
            VideoFeatures(
                frames,
                frames if same else joined([video.contextual for video in videos]),
                torch.cat([video.frame_mask for video in videos]),
            ),
        )

    def gradients(self, rows: slice) -> list[Tensor | None]:
        return [None if leaf.grad is None else leaf.grad[rows] for leaf in _tensors(self.text, self.video)]


def _tensors(text: TextFeatures, video: VideoFeatures) -> list[Tensor]:
    """The tensors that carry gradients, each once."""
    shared = [] if video.contextual is video.frames else [video.contextual]
    return [text.sentence, text.words, video.frames, *shared]


def _take_back(outputs: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
    """Gradients of the features into the parameters; features that were given, not made, have nowhere to take them."""
    made = [(x, g) for x, g in zip(outputs, gradients, strict=True) if x.requires_grad and g is not None]
    if made:
        torch.autograd.backward([x for x, _ in made], [g for _, g in made])
