"""What crosses the borders between packages: features of texts, features of videos, and their similarity.

Axes: ``T`` texts, ``V`` videos, ``W`` token positions of a text (SOS, words, EOS), ``F`` frames, ``D`` embedding size.
Masks are boolean, True = real. Every class checks its shapes when it is made; rows of different lengths
become one padded tensor by ``from_ragged``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

_Rows = Sequence[NDArray[Any]] | Sequence[Tensor]
"""One array or tensor an item, of different lengths along its first axis."""

PART_NAMES = ("video_sentence", "video_word", "sentence_frame", "frame_word")


def _check(name: str, tensor: Tensor, axes: str, sizes: dict[str, int]) -> None:
    """Raise ValueError unless ``tensor`` has one dimension a letter of ``axes``, of the ``sizes`` seen before."""
    if tensor.dim() != len(axes):
        raise ValueError(f"{name} must have the axes ({', '.join(axes)}), got shape {tuple(tensor.shape)}")
    for axis, size in zip(axes, tensor.shape, strict=True):
        if sizes.setdefault(axis, size) != size:
            raise ValueError(
                f"{name} has {axis} = {size}, expected {axis} = {sizes[axis]}; shape {tuple(tensor.shape)}"
            )


def _check_mask(name: str, mask: Tensor, axes: str, sizes: dict[str, int]) -> None:
    _check(name, mask, axes, sizes)
    if mask.dtype != torch.bool:
        raise ValueError(f"{name} must be boolean (True = real), got {mask.dtype}")


def _check_real_first(frame_mask: Tensor) -> None:
    """Raise ValueError if a real frame stands behind padding, on CPU, where most masks are made.

    On a GPU the answer would have to be waited for at every step; masks come there by ``to``, checked before.
    """
    if frame_mask.device.type != "cpu":
        return
    late = frame_mask[:, 1:] > frame_mask[:, :-1]
    if late.any():
        video = int(late.any(dim=1).nonzero()[0])
        raise ValueError(
            f"frame_mask of video {video} has a real frame behind padding; real frames must come first, "
            "so move the padding to the end or use VideoFeatures.from_ragged"
        )


def _padded(what: str, rows: _Rows, tail: tuple[int, ...], length: int | None) -> tuple[Tensor, list[int]]:
    """Rows ``(L_i, *tail)`` as one float32 ``(N, L, *tail)`` with zeros behind them, and their lengths ``L_i``."""
    items: Sequence[Any] = rows
    counts = [len(row) for row in items]
    longest = max([1, *counts])
    if length is None:
        length = longest
    elif longest > length:
        raise ValueError(f"{what} {counts.index(longest)} has {longest} rows, more than length={length}; cut it before")
    for number, row in enumerate(items):
        if row.shape[1:] != tail:
            raise ValueError(f"{what} {number} has shape {tuple(row.shape)}, expected {('any', *tail)}")
    if items and isinstance(items[0], Tensor):  # with gradients, and on its device
        padded = torch.nn.utils.rnn.pad_sequence(list(items), batch_first=True)
        missing = length - padded.shape[1]
        return F.pad(padded, (*(0, 0) * len(tail), 0, missing)).float(), counts
    # All bytes joined at once: a copy for each row gives the interpreter away and waits for it, hundreds of times.
    alike = np.result_type(*{row.dtype for row in items}) if items else np.dtype(np.float32)
    flat = bytearray().join([np.ascontiguousarray(row, alike).data for row in items])
    whole = torch.from_numpy(np.frombuffer(flat, alike).reshape(-1, *tail)).float() if flat else torch.empty(0, *tail)
    if items and min(counts) == length:
        return whole.view(len(items), length, *tail), counts
    out = torch.zeros(len(items), length, *tail)
    if items:
        filled = torch.nn.utils.rnn.pad_sequence(list(torch.split(whole, counts)), batch_first=True)
        out[:, : filled.shape[1]] = filled
    return out, counts


def _mask_of(counts: list[int], padded: Tensor) -> Tensor:
    """The mask ``(N, L)`` of rows of these lengths, beside what they were padded to."""
    positions = torch.arange(padded.shape[1])
    return (positions < torch.tensor(counts, dtype=torch.long)[:, None]).to(padded.device)


@dataclass(frozen=True)
class TextFeatures:
    """Texts as an encoder gives them, not normalised.

    sentence: ``(T, D)``; words: ``(T, W, D)``, one per token position; word_mask: ``(T, W)``. Real words may stand
    behind padding, since some tokenizers (SigLIP 2) pad on the left.
    """

    sentence: Tensor
    words: Tensor
    word_mask: Tensor

    def __post_init__(self) -> None:
        sizes: dict[str, int] = {}
        _check("sentence", self.sentence, "TD", sizes)
        _check("words", self.words, "TWD", sizes)
        _check_mask("word_mask", self.word_mask, "TW", sizes)

    @classmethod
    def from_ragged(
        cls, sentence: NDArray[Any] | Tensor | _Rows, words: _Rows, *, length: int | None = None
    ) -> TextFeatures:
        """Texts of different lengths, as float32 with zeros behind the words.

        Args:
            sentence: ``(T, D)``, or ``T`` vectors ``(D,)``.
            words: one ``(W_i, D)`` for each text, all numpy or all torch.
            length: ``W``; by default the longest there is.

        >>> texts = TextFeatures.from_ragged(np.ones((2, 3)), [np.ones((1, 3)), np.ones((2, 3))])
        >>> texts.word_mask.tolist()
        [[True, False], [True, True]]
        """
        if isinstance(sentence, Tensor):
            whole = sentence.float()
        elif len(sentence) and isinstance(sentence[0], Tensor):
            whole = torch.stack(list(sentence)).float()  # type: ignore[arg-type]
        else:
            whole = torch.from_numpy(np.array(sentence, np.float32))
        padded, counts = _padded("words of text", words, tuple(whole.shape[1:]), length)
        return cls(whole, padded, _mask_of(counts, padded))

    def __len__(self) -> int:
        return self.sentence.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> TextFeatures:
        return TextFeatures(self.sentence[rows], self.words[rows], self.word_mask[rows])

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> TextFeatures:
        """The same texts on another device or in another floating-point type."""
        return TextFeatures(
            self.sentence.to(device=device, dtype=dtype),
            self.words.to(device=device, dtype=dtype),
            self.word_mask.to(device=device),
        )

    def cut(self, max_words: int) -> TextFeatures:
        """Texts of at most ``max_words`` real positions, the leading ones and the last (EOS), in as many columns; these
        very texts where they have no more columns. Sentences stay those of the whole texts. Gradients pass.

        >>> mask = torch.tensor([[False, True, True, True], [True, True, False, False]])
        >>> text = TextFeatures(torch.zeros(2, 1), torch.arange(8.0).view(2, 4, 1), mask).cut(2)
        >>> text.words[..., 0].tolist(), text.word_mask.tolist()
        ([[1.0, 3.0], [4.0, 5.0]], [[True, True], [True, True]])
        """
        if self.words.shape[1] <= max_words:
            return self
        counts = self.word_mask.sum(dim=1, keepdim=True)  # (T, 1)
        # real positions first and in their order; no size depends on a mask's content, which a GPU would be asked for
        places = (~self.word_mask).long().argsort(dim=1, stable=True)  # (T, W)
        last = places.gather(1, (counts - 1).clamp(min=0))  # (T, 1)
        places = places[:, :max_words]
        at_end = torch.arange(max_words, device=places.device) == max_words - 1
        places = torch.where(at_end & (counts > max_words), last, places)  # (T, max_words)
        mask = torch.arange(max_words, device=places.device) < counts
        words = self.words.gather(1, places[..., None].expand(-1, -1, self.words.shape[2]))
        return TextFeatures(self.sentence, words.masked_fill(~mask[..., None], 0.0), mask)


@dataclass(frozen=True)
class VideoFeatures:
    """Videos as lists of frame features, not normalised.

    frames: ``(V, F, D)`` as the encoder gives them; contextual: ``(V, F, D)`` after the temporal head (the frames
    themselves where there is none); frame_mask: ``(V, F)``, a video's real frames first; seconds: ``(V, F)``, the time
    of each frame, if known.
    """

    frames: Tensor
    contextual: Tensor
    frame_mask: Tensor
    seconds: Tensor | None = None

    def __post_init__(self) -> None:
        sizes: dict[str, int] = {}
        _check("frames", self.frames, "VFD", sizes)
        _check("contextual", self.contextual, "VFD", sizes)
        _check_mask("frame_mask", self.frame_mask, "VF", sizes)
        _check_real_first(self.frame_mask)
        if self.seconds is not None:
            _check("seconds", self.seconds, "VF", sizes)

    @classmethod
    def from_ragged(
        cls,
        frames: _Rows,
        *,
        contextual: _Rows | None = None,
        seconds: _Rows | None = None,
        length: int | None = None,
        dimension: int | None = None,
    ) -> VideoFeatures:
        """Videos of different lengths, as float32 with zeros behind the frames.

        Args:
            frames: one ``(F_i, D)`` for each video, all numpy or all torch, in any type of numbers.
            contextual: the same after a temporal head; by default the frames themselves.
            seconds: one ``(F_i,)`` for each video.
            length: ``F``; by default the longest there is, at least 1.
            dimension: ``D``, for where there may be no video at all.

        >>> videos = VideoFeatures.from_ragged([np.ones((2, 4), np.float16), np.ones((3, 4), np.float16)])
        >>> videos.frames.shape, videos.frames.dtype, videos.frame_mask.sum(dim=1).tolist()
        (torch.Size([2, 3, 4]), torch.float32, [2, 3])
        """
        if dimension is None:
            if not frames:
                raise ValueError("frames of no video do not tell their dimension; pass dimension=D")
            dimension = int(frames[0].shape[-1])
        padded, counts = _padded("frames of video", frames, (dimension,), length)
        longest = padded.shape[1]

        def beside(name: str, rows: _Rows, tail: tuple[int, ...]) -> Tensor:
            values, lengths = _padded(f"{name} of video", rows, tail, longest)
            if lengths != counts:
                raise ValueError(f"{name} must have a row for each row of frames; the lengths of some videos differ")
            return values

        return cls(
            padded,
            padded if contextual is None else beside("contextual", contextual, (dimension,)),
            _mask_of(counts, padded),
            None if seconds is None else beside("seconds", seconds, ()),
        )

    def __len__(self) -> int:
        return self.frames.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> VideoFeatures:
        seconds = None if self.seconds is None else self.seconds[rows]
        return VideoFeatures(self.frames[rows], self.contextual[rows], self.frame_mask[rows], seconds)

    def with_contextual(self, contextual: Tensor) -> VideoFeatures:
        """The same videos with the output ``(V, F, D)`` of a temporal head."""
        return replace(self, contextual=contextual)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> VideoFeatures:
        """The same videos on another device or in another floating-point type."""
        return VideoFeatures(
            self.frames.to(device=device, dtype=dtype),
            self.contextual.to(device=device, dtype=dtype),
            self.frame_mask.to(device=device),
            None if self.seconds is None else self.seconds.to(device=device),
        )


@dataclass(frozen=True)
class SimilarityOutput:
    """How well each text fits each video.

    logits: ``(T, V)`` float32, scaled by ``s = exp(logit_scale)`` where the method has it; parts: ``{name: (T, V)}``,
    scaled alike, names from ``PART_NAMES``. _Rows are texts.
    """

    logits: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sizes: dict[str, int] = {}
        _check("logits", self.logits, "TV", sizes)
        for name, part in self.parts.items():
            if name not in PART_NAMES:
                raise ValueError(f"unknown part {name!r}; allowed: {', '.join(PART_NAMES)}")
            _check(name, part, "TV", sizes)
