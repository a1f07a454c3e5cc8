"""Tiles of logits from features, for ``streaming.py``: texts by their numbers, videos prepared a group at a time.

Raw frames go through the model's temporal head here. Texts come in blocks that may be made when they are asked for.
Neighbours: ``rank.score_tile`` scores a group, ``evaluator.py`` chooses the sizes.
Axes: ``T`` texts, ``V`` videos, ``B`` texts of a tile, ``W`` token positions, ``F`` frames, ``D`` embedding size.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from wordframe.evaluate.rank import score_tile
from wordframe.evaluate.streaming import ScoreTile
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.models import TextVideoModel, contextualize, fit_frames, fit_text, score

Texts = TextFeatures | Sequence[TextFeatures]
"""All texts, or blocks of them that share one size (the last may be smaller); a block may be made when asked for."""
_BLOCKS_AT_HAND = 8
"""Blocks of texts that are kept: the texts of a tile lie in a few."""


def count_texts(texts: Texts) -> int:
    """How many texts there are; of blocks only the first and the last are looked at."""
    if isinstance(texts, TextFeatures) or not len(texts):
        return len(texts)
    return (len(texts) - 1) * len(texts[0]) + len(texts[-1])


def texts_at(texts: Texts, *, max_words: int | None) -> Callable[[Tensor], TextFeatures]:
    """A function that gives the texts with the numbers ``rows (B,)``, in that order, at most ``max_words`` long."""
    if isinstance(texts, TextFeatures):
        whole = fit_text(texts, max_words)
        return lambda rows: whole[rows]
    size = len(texts[0])

    @functools.lru_cache(maxsize=_BLOCKS_AT_HAND)
    def block(number: int) -> TextFeatures:
        return fit_text(texts[number], max_words)

    def at(rows: Tensor) -> TextFeatures:
        order = rows.argsort(stable=True)
        numbers, counts = torch.unique_consecutive(rows[order] // size, return_counts=True)
        places = torch.split(rows[order] % size, counts.tolist())
        found = _joined([block(number)[place] for number, place in zip(numbers.tolist(), places, strict=True)])
        return found[order.argsort()]

    return at


def _joined(blocks: list[TextFeatures]) -> TextFeatures:
    """Texts one behind the other, padded to the longest."""
    if len(blocks) == 1:
        return blocks[0]
    longest = max(block.words.shape[1] for block in blocks)
    missing = [longest - block.words.shape[1] for block in blocks]
    return TextFeatures(
        torch.cat([block.sentence for block in blocks]),
        torch.cat([F.pad(block.words, (0, 0, 0, by)) for block, by in zip(blocks, missing, strict=True)]),
        torch.cat([F.pad(block.word_mask, (0, by)) for block, by in zip(blocks, missing, strict=True)]),
    )


def feature_tiles(model: TextVideoModel, texts: Texts, videos: VideoFeatures, *, group_size: int) -> ScoreTile:
    """The callback of ``streaming.streamed_ranks`` from raw features.

    Args:
        videos: raw frames, real ones first.
        group_size: videos that are prepared together and kept; a tile must lie within one group.
    """
    parameter = next(model.parameters(), torch.zeros(()))
    find = texts_at(texts, max_words=model.max_words)

    def texts_there(rows: Tensor) -> TextFeatures:
        return find(rows).to(parameter.device, parameter.dtype)

    @functools.lru_cache(maxsize=1)
    def group(start: int) -> ScoreTile:
        some = fit_frames(videos[start : start + group_size], model.max_frames)
        ready = contextualize(model, some.to(parameter.device, parameter.dtype))
        if model.mask_padding:
            return score_tile(model, texts_there, ready)
        return lambda rows, columns: score(model, texts_there(rows), ready[columns])

    def score_columns(rows: Tensor, columns: slice) -> Tensor:
        start = columns.start // group_size * group_size
        return group(start)(rows, slice(columns.start - start, columns.stop - start))

    return score_columns
