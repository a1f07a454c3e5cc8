"""X-Pool. Head: ``heads/xpool.py``."""

from __future__ import annotations

from dataclasses import dataclass

from wordframe import heads
from wordframe.models.config import Family, ModelSettings, register_family


@dataclass(frozen=True, kw_only=True)
class XpoolSettings(ModelSettings):
    """conditional_heads, dropout: of the attention of a sentence over the encoder's own frames."""

    family: str = "xpool"
    conditional_heads: int = 1
    dropout: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least_1("conditional_heads")


def _xpool(settings: XpoolSettings, dimension: int) -> heads.Similarity:
    return heads.PoolingSimilarity(dimension=dimension, heads=settings.conditional_heads, dropout=settings.dropout)


register_family(
    "xpool",
    Family(settings=XpoolSettings, similarity=_xpool, paper="X-Pool, Gorti et al., CVPR 2022, arXiv 2203.15086"),
)
