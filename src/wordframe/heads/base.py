"""What every similarity shares: refusal of empty inputs, float32 sums, the scale, and blocks of bounded memory.

A similarity turns ``TextFeatures`` and ``VideoFeatures`` into a ``SimilarityOutput``; rows are texts; nothing is
gathered from other processes. A new one is a subclass with ``compare`` (see docs/adding-a-head.md). Before it may stand
a temporal head. Both say what they take and what they can do, so that no caller needs to know them by name.
Memory stays bounded however many pairs there are: ``in_blocks`` for inference, ``in_recomputed_tiles`` for training.
Neighbour: ``_fused.py`` adds compiled loops on CPU.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from wordframe.features import SimilarityOutput, TextFeatures, VideoFeatures

MAX_SCALE = 100.0
"""CLIP's own limit of ``s``, found necessary there for stable training (arXiv 2103.00020)."""
MIN_ROWS = 64
"""Texts in a block where there are as many: enough that what is made once a video and block weighs little."""
MIN_TILES = 4
"""Tiles of a step, where it has as many texts: texts of like length stand together and carry less padding."""
_CPU_MB = 48
"""A tile on CPU: large enough to fill the matrix products, small enough to stay near the cache."""

CompareTile = Callable[[TextFeatures, list[Tensor]], SimilarityOutput]


@dataclass(frozen=True)
class Explanation:
    """Why texts and videos fit. What a method does not have is None.

    output: logits and parts; part_weights: ``(T, V, P)``, how much each part counted; sentence_attention: ``(T, V, F)``
    and word_attention: ``(T, W, V, F)``, over the frames, summing to one.
    """

    output: SimilarityOutput
    part_weights: Tensor | None = None
    sentence_attention: Tensor | None = None
    word_attention: Tensor | None = None


VideoStatistics = NDArray[np.float32]
"""What ``Similarity.statistics`` makes of one video, flat."""


class VideoGroups(Protocol):
    """What a compiled loop reads of ``V`` videos, whatever the text; ``rows`` picks some of them.

    broken: ``(V,)``, videos with a number that is not finite.
    """

    @property
    def broken(self) -> Tensor: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | Tensor) -> VideoGroups: ...


class _Sliced(Protocol):
    """``V`` videos in some form, of which ranges are taken."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice) -> Self: ...


Videos = TypeVar("Videos", bound=_Sliced)


@dataclass(frozen=True)
class PrecomputedVideos:
    """Videos together with what their similarity makes of them before it sees a text, by
    ``Similarity.precompute``.

    It goes where ``VideoFeatures`` go, and holds for the weights that made it. groups is None where the similarity has
    nothing to make, or cannot use it (gradients, float64, a GPU).
    """

    video: VideoFeatures
    groups: VideoGroups | None

    def __len__(self) -> int:
        return len(self.video)

    def __getitem__(self, rows: slice | Tensor) -> PrecomputedVideos:
        return PrecomputedVideos(self.video[rows], None if self.groups is None else self.groups[rows])


class TemporalHead(nn.Module, ABC):
    """Base of what stands between a video's frames and its similarity. Padding never influences a real frame.

    Attributes:
        max_frames: the most frames it takes; None where any number will do.
        mask_padding: whether padded frames are left out. False lets them take part, as some released codes do; callers
            then pass no padding where a score must not depend on what else is scored.
    """

    max_frames: int | None = None
    mask_padding: bool = True

    @abstractmethod
    def forward(self, frames: Tensor, frame_mask: Tensor) -> Tensor:
        """``(V, F, D), frame_mask (V, F) → (V, F, D)``."""


class Similarity(nn.Module, ABC):
    """Base of the heads that score each (text, video) pair.

    Sums are made in float32, also under autocast: the sharp softmaxes (λ = 100, τ = 0.01) turn bfloat16's third digit
    into other results. A model turned to float64 computes and answers in float64.

    Args:
        max_block_mb: memory that the intermediate results of one block of pairs may take. One pair is always done.

    Attributes:
        methods: ways of scoring with the same results, the fastest first.
        kinds_of_products: what ``products`` may be.
        max_frames, max_words: the most frames of a video and token positions of a text it takes; None where any number
            will do. Callers cut longer inputs before; it refuses them.
        mask_padding: as in ``TemporalHead``, of words as well.
        explains: what ``explain`` adds to the logits, any of ``sentence``, ``words`` (attention over the frames) and
            ``parts`` (several similarities).
        keeps_statistics: whether ``statistics`` gives something worth keeping.
        reads_words: whether words meet frames, so that a search looks for frames near them, too.
    """

    methods: tuple[str, ...] = ("plain",)
    kinds_of_products: tuple[str, ...] = ("float32",)
    max_frames: int | None = None
    max_words: int | None = None
    mask_padding: bool = True
    explains: tuple[str, ...] = ()
    keeps_statistics: bool = False
    reads_words: bool = False

    def __init__(self, *, max_block_mb: int = 256) -> None:
        super().__init__()
        self.max_block_mb = max_block_mb
        self._products = "float32"

    @property
    def products(self) -> str:
        """In which numbers the large products are made, one of ``kinds_of_products``; less than float32 only if set."""
        return self._products

    @products.setter
    def products(self, name: str) -> None:
        if name not in self.kinds_of_products:
            allowed = ", ".join(map(repr, self.kinds_of_products))
            raise ValueError(f"products={name!r} is not there for {type(self).__name__}; use one of {allowed}")
        self._products = name

    def forward(
        self, text: TextFeatures, video: VideoFeatures | PrecomputedVideos, *, method: str = "auto"
    ) -> SimilarityOutput:
        """Score every text against every video.

        Args:
            text: ``T`` texts.
            video: ``V`` videos, or what ``precompute`` made of them.
            method: one of ``methods``, or ``auto``: the fastest that gives the same numbers.
        """
        method = self._choose(method)
        text, video = self._accept(text, video.video if isinstance(video, PrecomputedVideos) else video)
        # Features come out of autocast in half precision; from here on sums are made in the type chosen above.
        with torch.autocast(device_type=text.sentence.device.type, enabled=False):
            return self._in_blocks(text, video, method)

    def precompute(
        self, video: VideoFeatures, statistics: Sequence[VideoStatistics] | None = None
    ) -> PrecomputedVideos:
        """What can be made of videos once and used for every text.

        Args:
            statistics: what ``statistics`` gave for these videos; None to make them where they are needed.
        """
        refuse_empty("video", video.frame_mask)
        return PrecomputedVideos(video, None)

    def statistics(self, video: VideoFeatures) -> list[VideoStatistics]:
        """A few numbers of each video that take most of ``precompute``'s time, for keeping beside its frames.

        Raises:
            TypeError: there are none (``keeps_statistics`` is False).
        """
        raise TypeError(f"{type(self).__name__} has no statistics of videos to keep; look at keeps_statistics first")

    @property
    def one_vector(self) -> bool:
        """Whether a video is one vector whatever the text: the head then has ``vectors(video) → (V, D)``, unit vectors,
        with ``logits = s · n(sentence) · vector``, and an ordinary vector index searches them exactly."""
        return hasattr(self, "vectors")

    def search_vectors(self, text: TextFeatures) -> Tensor:
        """Where to look for frames that will score well, before any is scored: unit vectors ``(T, D)``.

        The sentence; halfway to the mean of its words where the words are compared with frames, too.
        """
        sentence = unit(text.sentence)
        return unit(sentence + unit(masked_mean(unit(text.words), text.word_mask))) if self.reads_words else sentence

    def explain(self, text: TextFeatures, video: VideoFeatures) -> Explanation:
        """The output together with the attention behind it, for the heads that have one."""
        return Explanation(self(text, video))

    def for_training(
        self, text: TextFeatures, video: VideoFeatures, *, first: int
    ) -> tuple[SimilarityOutput, tuple[tuple[float, Tensor], ...]]:
        """What a step of training takes its loss of, where that is more than the score, or another one.

        The contrastive loss goes over the logits of the output, and, with its weight, over each of the further logits.

        Args:
            text: ``B`` texts.
            video: ``V`` videos; row i's own is column ``first + i``.
        """
        return self(text, video), ()

    @abstractmethod
    def compare(self, text: TextFeatures, video: VideoFeatures, method: str) -> SimilarityOutput:
        """Score one block of texts against one block of videos; features come in float32 or float64."""

    @abstractmethod
    def floats_per_pair(self, num_words: int, num_frames: int, dimension: int, method: str) -> int:
        """Numbers held at once for one (text, video) pair; it decides the size of a block."""

    def _choose(self, method: str) -> str:
        if method == "auto":
            return self.methods[0]
        if method not in self.methods:
            allowed = ", ".join(repr(name) for name in ("auto", *self.methods))
            raise ValueError(f"method={method!r} is not there for {type(self).__name__}; use one of {allowed}")
        return method

    def _accept(self, text: TextFeatures, video: VideoFeatures) -> tuple[TextFeatures, VideoFeatures]:
        """Refuse what has nothing real, and turn features into the type that sums are made in."""
        refuse_empty("text", text.word_mask)
        refuse_empty("video", video.frame_mask)
        dtype = self._dtype()
        return text.to(dtype=dtype), video.to(dtype=dtype)

    def _dtype(self) -> torch.dtype:
        """float32, or float64 if a parameter is; half precision is refused."""
        dtype = torch.float32
        # Weights in half precision would round before any sum is made; autocast keeps them whole, so it is the way.
        for name, parameter in self.named_parameters():
            if parameter.dtype in (torch.float16, torch.bfloat16):
                raise ValueError(
                    f"{name} is {parameter.dtype}; keep the model in float32 and use torch.autocast for half precision"
                )
            dtype = torch.promote_types(dtype, parameter.dtype)
        return dtype

    def _in_blocks(self, text: TextFeatures, video: VideoFeatures, method: str) -> SimilarityOutput:
        num_frames, dimension = video.frames.shape[1:]
        floats = self.floats_per_pair(text.words.shape[1], num_frames, dimension, method)
        pairs = self.max_block_mb * 2**20 // (floats * text.sentence.element_size())
        return in_blocks(text, video, max_pairs=pairs, compare=lambda some, these: self.compare(some, these, method))


def refuse_empty(what: str, mask: Tensor) -> None:
    """Raise ValueError if a row of ``mask (N, L)`` is all False: a text without a word, a video without a frame."""
    # A softmax over nothing is NaN, a mean over nothing 0 / 0: one such row would spread to a whole loss or ranking.
    empty = (~mask.any(dim=1)).nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"{what} {empty[0]} has nothing real (its mask is all False); leave it out or mend its mask")


def new_logit_scale() -> nn.Parameter:
    """``log 100``, where CLIP's own training ends and the training of all these models starts."""
    return nn.Parameter(torch.tensor(math.log(MAX_SCALE)))


def scale(logit_scale: Tensor) -> Tensor:
    """``s = exp(logit_scale)``, at most 100. Above the limit the gradient still flows, so that ``s`` can come down.

    >>> round(scale(torch.tensor(3.0).log()).item(), 4), round(scale(torch.tensor(9.0)).item(), 4)
    (3.0, 100.0)
    """
    excess = (logit_scale.detach() - math.log(MAX_SCALE)).clamp(min=0.0)
    return (logit_scale - excess).exp()


def unit(x: Tensor) -> Tensor:
    """``n(x)``: L2 normalisation over the last axis; zero stays zero.

    Scaled by the largest entry first: EA's blocks can leave vectors of length 1e-20, whose squares are no float32.
    """
    largest = x.detach().abs().amax(dim=-1, keepdim=True)
    return F.normalize(x / largest.clamp(min=torch.finfo(x.dtype).tiny), dim=-1)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over the real entries of axis 1: ``(N, L, D), (N, L) → (N, D)``."""
    total = x.masked_fill(~mask[..., None], 0.0).sum(dim=1)  # not x · mask: padding may hold NaN, and NaN · 0 is NaN
    return total / mask.sum(dim=1, keepdim=True)


def masked_softmax(x: Tensor, present: Tensor) -> Tensor:
    """Softmax over the last axis among the entries that are ``present`` (broadcast); the others get weight 0.

    A row without any present entry is uniform, not NaN: it is left out later, but its gradient must stay finite.
    Hence the smallest number in place of −inf; where one entry is present the results are the same.

    >>> masked_softmax(torch.tensor([0.0, 0.0, 5.0]), torch.tensor([True, True, False])).tolist()
    [0.5, 0.5, 0.0]
    """
    return x.masked_fill(~present, torch.finfo(x.dtype).min).softmax(dim=-1)


# Blocks of bounded memory ---------------------------------------------------------------------------------------------


def in_blocks(
    text: TextFeatures,
    video: Videos,
    *,
    max_pairs: int,
    compare: Callable[[TextFeatures, Videos], SimilarityOutput],
) -> SimilarityOutput:
    """Score ``max_pairs`` pairs at a time, at least one: whole rows if ``MIN_ROWS`` of them fit, else parts.

    video: videos, or what was made of them once for all blocks.
    """
    pairs, num_videos = max(1, max_pairs), len(video)
    # whole rows first: what is made of the videos of a block is then made once for many texts
    rows = max(pairs // max(1, num_videos), min(len(text), MIN_ROWS, pairs), 1)
    columns = max(1, pairs // rows)
    if rows >= len(text) and columns >= num_videos:
        return compare(text, video)
    grid = [
        [compare(text[t : t + rows], video[v : v + columns]) for v in range(0, num_videos, columns)]
        for t in range(0, len(text), rows)
    ]

    def joined(part: str | None = None) -> Tensor:
        """A part, or the logits, of all blocks."""
        rows = [[block.logits if part is None else block.parts[part] for block in row] for row in grid]
        return torch.cat([torch.cat(row, dim=1) for row in rows], dim=0)

    return SimilarityOutput(joined(), {part: joined(part) for part in grid[0][0].parts})


def in_recomputed_tiles(
    text: TextFeatures, mask: Tensor, *, floats_per_text: int, max_mb: int, compare: CompareTile
) -> SimilarityOutput:
    """Score every text by ``compare``, the texts in the order of their length and each tile as wide as its longest.

    Autograd would keep what every pair's computation leaves behind until the backward pass. Here a tile of some texts
    against all videos runs under activation checkpointing (Chen et al., arXiv 1604.06174): only what goes into it is
    kept, and one tile at a time is worked out anew on the way back. A tile waits for no process.

    Args:
        text: ``T`` texts.
        mask: ``(T, W)``, the words that take part; none behind a text's last is given to ``compare``.
        floats_per_text: numbers that a text against all videos holds at once.
        max_mb: memory a tile may take; one text is always done.
        compare: scores some texts; what it puts into the list, without gradients, it finds there the second time.
    """
    lengths = (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).amax(dim=1)
    order = lengths.argsort(descending=True)
    megabytes = min(max_mb, _CPU_MB) if mask.device.type == "cpu" else max_mb
    fitting = megabytes * 2**20 // (floats_per_text * text.sentence.element_size())
    rows = max(1, min(fitting, -(-len(text) // MIN_TILES)))
    outputs: list[SimilarityOutput] = []
    for index in torch.split(order, rows):
        tile = partial(_tile, text, index, int(lengths[index[0]]), compare, [])
        # No state of the random numbers is kept: a tile draws none (dropout belongs to the videos and is drawn before).
        outputs.append(checkpoint(tile, use_reentrant=False, preserve_rng_state=False))
    back = order.argsort()
    return SimilarityOutput(
        torch.cat([output.logits for output in outputs])[back],
        {name: torch.cat([output.parts[name] for output in outputs])[back] for name in outputs[0].parts},
    )


def _tile(
    text: TextFeatures, index: Tensor, length: int, compare: CompareTile, found: list[Tensor]
) -> SimilarityOutput:
    some = TextFeatures(text.sentence[index], text.words[index, :length], text.word_mask[index, :length])
    return compare(some, found)
