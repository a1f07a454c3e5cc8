"""T-MASS. Head: ``heads/tmass.py``."""

from __future__ import annotations

from dataclasses import dataclass

from wordframe import heads
from wordframe.models.config import Family, register_family
from wordframe.models.families.xpool import XpoolSettings


@dataclass(frozen=True, kw_only=True)
class TmassSettings(XpoolSettings):
    """max_frames: how many frames the radius weighs; trials: texts drawn of each mass in scoring, 0 for its centre;
    noise: ``normal`` or ``uniform``; support_weight: of the support text's loss."""

    family: str = "tmass"
    trials: int = 20
    noise: str = "normal"
    support_weight: float = 0.8


def _tmass(settings: TmassSettings, dimension: int) -> heads.Similarity:
    return heads.StochasticTextSimilarity(
        dimension=dimension,
        max_frames=settings.max_frames,
        trials=settings.trials,
        noise=settings.noise,
        support_weight=settings.support_weight,
        heads=settings.conditional_heads,
        dropout=settings.dropout,
    )


register_family(
    "tmass",
    Family(settings=TmassSettings, similarity=_tmass, paper="T-MASS, Wang et al., CVPR 2024, arXiv 2403.17998"),
)
