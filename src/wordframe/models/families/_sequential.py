"""What families with CLIP4Clip's heads over frames share: the LSTM, the transformer, the joint transformer.

Not a family: the names of those do not begin with an underscore. Heads: ``heads/clip4clip.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wordframe import heads
from wordframe.models.config import SequentialSettings

if TYPE_CHECKING:
    from torch import nn

DIMENSIONS_PER_HEAD = 64
_EMBEDDING_DROPOUT = 0.1
"""Of the joint transformer's input, as BERT has it and the authors' cross encoder, too."""


def sequential_head(settings: SequentialSettings, dimension: int) -> nn.Module | None:
    """CLIP4Clip's LSTM or transformer over the frames; None for the headers that have neither."""
    if settings.sim_header == "seqLSTM":
        return heads.TemporalLSTM(dimension=dimension)
    if settings.sim_header == "seqTransf":
        return heads.TemporalTransformer(
            dimension=dimension,
            heads=_heads_of(settings, dimension),
            layers=settings.layers,
            positions=settings.positions,
        )
    return None


def _heads_of(settings: SequentialSettings, dimension: int) -> int:
    if settings.heads is not None:
        return settings.heads
    if dimension % DIMENSIONS_PER_HEAD:
        raise ValueError(
            f"heads must be given: dimension={dimension} is not a multiple of {DIMENSIONS_PER_HEAD}, "
            "so there is no usual number of heads"
        )
    return dimension // DIMENSIONS_PER_HEAD


def tight(settings: SequentialSettings, dimension: int) -> heads.TightSimilarity:
    """CLIP4Clip's joint transformer over sentence and frames."""
    transformer = heads.Transformer(
        dimension=dimension,
        heads=_heads_of(settings, dimension),
        layers=settings.layers,
        positions=settings.positions,
        dropout=_EMBEDDING_DROPOUT,
    )
    return heads.TightSimilarity(dimension=dimension, transformer=transformer)
