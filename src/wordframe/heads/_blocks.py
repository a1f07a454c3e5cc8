"""Pairs a block at a time, so that memory stays bounded however many texts and videos there are.

``in_blocks`` is for inference: rectangles of texts and videos, one after the other. ``in_recomputed_tiles`` is for
training: autograd keeps what every pair's computation leaves behind until the backward pass; here a tile of some texts
against all videos runs under activation checkpointing (Chen et al., arXiv 1604.06174): only what goes into it is kept,
and one tile at a time is worked out anew on the way back. A tile draws nothing by chance and waits for no process.
``base.py`` uses the first, ``tcmgc/head.py`` the second.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from wordframe.features import SimilarityOutput, TextFeatures, VideoFeatures

MIN_ROWS = 64
"""Texts in a block where there are as many: enough that what is made once a video and block weighs little."""
MIN_TILES = 4
"""Tiles of a step, where it has as many texts: texts of like length stand together and carry less padding."""
_CPU_MB = 48
"""A tile on CPU: large enough to fill the matrix products, small enough to stay near the cache."""

CompareTile = Callable[[TextFeatures, list[Tensor]], SimilarityOutput]


def in_blocks(
    text: TextFeatures,
    video: VideoFeatures,
    *,
    max_pairs: int,
    compare: Callable[[TextFeatures, VideoFeatures], SimilarityOutput],
) -> SimilarityOutput:
    """Score ``max_pairs`` pairs at a time, at least one: whole rows if ``MIN_ROWS`` of them fit, else parts."""
    pairs, num_videos = max(1, max_pairs), len(video)
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
