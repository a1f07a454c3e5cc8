"""What the compiled loop of TC-MGC reads of videos: their frames behind LN1, and some numbers of their span.

``span.py`` writes a conditioned vector as ``z · B``, where the rows of ``B`` are linear in the frames: ``B_i = x_i M``
with ``x = LN1(frames)`` and, per head, ``M = C γ2 (I + Wᵀ) C γ3`` (``C`` centres a row). So ``B_i · w = x_i · (M w)``:
the matrix goes to the text's side, once a word (``pulled_back``), and all three products of a pair are products with
``x`` itself. What is left of a video's span are the three Gram matrices behind ``z`` (``span_numbers``, about 1 KB for
12 frames): they cost a ``D × D`` product a frame and hold for the weights that made them, so a library keeps them.
``kernels/conditioned.py`` is the loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wordframe.heads.attention import LanguageVideoAttention
from wordframe.heads.base import VideoNumbers
from wordframe.heads.kernels.products import in_threads, product
from wordframe.heads.kernels.tiles import in_groups, in_lanes, join, pick
from wordframe.heads.span import video_span

BLOCK_VIDEOS = 32
"""Videos whose spans one thread makes at once: as many as its cache holds."""


@dataclass(frozen=True)
class SpanGroups:
    """``C`` groups of ``LANES`` videos. ``P`` pairs ``(r, s ≤ r)`` of a span's ``R`` rows.

    frames: ``(C, F, LANES, D)``, behind LN1, float32 or bfloat16; real: ``(C, F, LANES)``, 1 or 0; numbers:
    ``(C, P + R, 3, LANES)``, see ``span_numbers``; broken: ``(V,)``, videos with a number that is not finite.
    """

    frames: Tensor
    real: Tensor
    numbers: Tensor
    broken: Tensor

    def __len__(self) -> int:
        return len(self.broken)

    def __getitem__(self, rows: slice | Tensor) -> SpanGroups:
        index = torch.arange(len(self))[rows]
        lane_axes = {"frames": -2, "real": -1, "numbers": -1}
        return SpanGroups(**pick(vars(self), lane_axes, index), broken=self.broken[index])


def span_groups(
    attention: LanguageVideoAttention,
    frames: Tensor,
    frame_mask: Tensor | None,
    *,
    numbers: Sequence[VideoNumbers] | None,
    dtype: torch.dtype,
) -> SpanGroups:
    """The groups of contextual frames ``(V, F, D)``; ``frame_mask`` None lets padding take part.

    numbers: what ``kept_numbers`` gave for these videos; None to make them. dtype: of ``frames`` in the groups.
    """
    real, frames = _masked(frames, frame_mask)
    made = span_numbers(attention, frames) if numbers is None else None
    groups: list[SpanGroups] = []

    def group(_: None) -> None:
        kept = _unpacked(attention, numbers or (), real) if made is None else made
        broken = ~(frames.sum(dim=(1, 2)) + kept.sum(dim=(1, 2))).isfinite()
        normed = attention.norm1(frames).to(dtype)
        groups.append(SpanGroups(in_groups(normed), in_lanes(real.to(frames.dtype)), in_lanes(kept), broken))

    in_threads(group, [None])  # little work: torch's own threads would wait for each other on a busy machine
    return groups[0]


def span_numbers(attention: LanguageVideoAttention, frames: Tensor) -> Tensor:
    """The three Gram matrices of each video ``(V, F, D)`` as the loop reads them, ``(V, P + R, 3)``.

    First their lower triangles row by row, what lies off the diagonal twice; then for each row its product with the row
    of LN3's constant, that of ``B`` with the constant, and that of ``B`` with β3, all twice.
    """
    starts = range(0, max(len(frames), 1), BLOCK_VIDEOS)
    blocks: dict[int, Tensor] = {}

    def make(start: int) -> None:
        blocks[start] = _numbers_of_block(attention, frames[start : start + BLOCK_VIDEOS])

    in_threads(make, starts)
    return join([blocks[start] for start in starts])


def _numbers_of_block(attention: LanguageVideoAttention, frames: Tensor) -> Tensor:
    span = video_span(attention, frames)
    R = span.gram2.shape[-1]
    row, column = torch.tril_indices(R, R)
    grams = torch.stack([span.gram2, span.gram3[:, :R, :R], span.basis_gram[:, :R, :R]], dim=-1)  # (V, R, R, 3)
    squares = grams[:, row, column] * torch.where(row == column, 1.0, 2.0)[:, None]
    linears = 2 * torch.stack([span.gram3[:, :R, R], span.basis_gram[:, :R, R], span.basis_gram[:, :R, R + 1]], dim=-1)
    return torch.cat([squares, linears], dim=1)


def kept_numbers(attention: LanguageVideoAttention, frames: Tensor, frame_mask: Tensor | None) -> list[VideoNumbers]:
    """``span_numbers`` of each video's real frames alone, for storing."""
    real, frames = _masked(frames, frame_mask)
    numbers, counts = span_numbers(attention, frames), real.sum(dim=1).tolist()
    bias = isinstance(attention.out, nn.Linear)
    kept = []
    for row, count in enumerate(counts):
        places = _places(attention.heads, bias, count, frames.shape[1])
        kept.append(numbers[row, places].flatten().numpy())
    return kept


def _unpacked(attention: LanguageVideoAttention, numbers: Sequence[VideoNumbers], real: Tensor) -> Tensor:
    """``span_numbers`` from what was kept, for videos padded to ``real (V, F)``; 0 where padding would stand."""
    num_frames, bias = real.shape[1], isinstance(attention.out, nn.Linear)
    size = len(_places(attention.heads, bias, num_frames, num_frames))
    out = torch.zeros(len(real), size, 3)
    counts = real.sum(dim=1)
    for count in sorted(set(counts.tolist())):
        rows = (counts == count).nonzero()[:, 0]
        cells = torch.from_numpy(np.stack([numbers[row] for row in rows.tolist()])).view(len(rows), -1, 3)
        places = _places(attention.heads, bias, count, num_frames)
        if cells.shape[1] != len(places):
            raise ValueError(
                f"numbers of video {int(rows[0])} are {3 * cells.shape[1]}, its {count} frames need {3 * len(places)}; "
                "they were made of other frames or by another model"
            )
        out[rows[:, None], places] = cells
    return out


@cache
def _places(heads: int, bias: bool, count: int, num_frames: int) -> Tensor:
    """Where the numbers of a video of ``count`` frames stand among those of one padded to ``num_frames``."""
    rows = [head * num_frames + frame for head in range(heads) for frame in range(count)]
    rows += [heads * num_frames] * bias
    R = heads * num_frames + bias
    pairs = [r * (r + 1) // 2 + s for i, r in enumerate(rows) for s in rows[: i + 1]]
    return torch.tensor([*pairs, *(R * (R + 1) // 2 + r for r in rows)])


def _masked(frames: Tensor, frame_mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Which frames take part, and the frames without what padding may hold, NaN too."""
    if frame_mask is None or frame_mask.all():
        return torch.ones(frames.shape[:2], dtype=torch.bool), frames
    return frame_mask, frames.masked_fill(~frame_mask[..., None], 0.0)


def pulled_back(attention: LanguageVideoAttention, vectors: Tensor) -> Tensor:
    """``M w`` for text vectors ``w (N, D)``, a piece for each head ``(N, heads, D or D / heads)``."""
    turned = _centred(vectors * attention.norm3.weight)
    turned = _centred((turned + product(turned, attention.linear.weight.T)) * attention.norm2.weight)
    if isinstance(attention.out, nn.Linear):
        turned = product(turned, attention.out.weight.T)
    return _by_head(attention, attention.value, turned)


def looked_for(attention: LanguageVideoAttention, queries: Tensor) -> Tensor:
    """What LN1 of a frame is multiplied with for a query's attention logits: ``(N, D) → (N, heads, D or D / heads)``.

    A bias of the keys adds the same to all frames' logits of a head, so it is left out.
    """
    return _by_head(attention, attention.key, attention.to_query(queries).flatten(1))


def _by_head(attention: LanguageVideoAttention, projection: nn.Module, vectors: Tensor) -> Tensor:
    """Each head's slice of ``vectors (N, D)``, taken back through ``projection`` where there is one."""
    size = vectors.shape[1] // attention.heads
    pieces = vectors.view(-1, attention.heads, size)  # (N, heads, D / heads)
    if not isinstance(projection, nn.Linear):
        return pieces
    by_head: Tensor = torch.einsum("nhd,hde->nhe", pieces, projection.weight.view(attention.heads, size, -1))
    return by_head


def shared_rows(attention: LanguageVideoAttention) -> Tensor:
    """The rows of ``B (2 or 3, D)`` that are the same for every video: the projections' biases, LN3's constant, β3."""
    norm2, norm3 = attention.norm2, attention.norm3
    rows = [norm2.bias + attention.linear(norm2.bias)]
    if isinstance(attention.out, nn.Linear):
        scaled = _centred(attention.out(attention.value.bias)) * norm2.weight
        rows = [scaled + scaled @ attention.linear.weight.T, *rows]
    return torch.cat([_centred(torch.stack(rows)) * norm3.weight, norm3.bias[None]])


def shared_numbers(attention: LanguageVideoAttention) -> NDArray[np.float32]:
    """Entries of the Gram matrices that are the same for every video: LN3's of its constant, ``B Bᵀ``. ``(4,)``"""
    *_, scaled, bias = shared_rows(attention)
    constant = _centred(attention.norm2.bias + attention.linear(attention.norm2.bias))
    found = [constant @ constant / len(constant), scaled @ scaled, 2 * (scaled @ bias), bias @ bias]
    return torch.stack(found).detach().numpy()


def _centred(rows: Tensor) -> Tensor:
    return rows - rows.mean(dim=-1, keepdim=True)
