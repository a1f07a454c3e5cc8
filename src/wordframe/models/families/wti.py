"""DRL's weighted token-wise interaction. Head: ``heads/wti.py``."""

from __future__ import annotations

from dataclasses import dataclass

from wordframe import heads
from wordframe.models.config import Family, SequentialSettings, register_family


@dataclass(frozen=True, kw_only=True)
class WtiSettings(SequentialSettings):
    """What ``SequentialSettings`` has."""

    family: str = "wti"


register_family(
    "wti",
    Family(
        settings=WtiSettings,
        similarity=lambda settings, dimension: heads.WeightedTokenSimilarity(dimension=dimension),
        paper="DRL, Wang et al., 2022, arXiv 2203.07111",
    ),
)
