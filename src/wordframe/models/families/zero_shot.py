"""The attention that needs no training. Head: ``heads/zero_shot.py``."""

from __future__ import annotations

from wordframe import heads
from wordframe.models.config import Family, ModelSettings, register_family
from wordframe.models.families.tcmgc import PAPER

register_family(
    "zero-shot",
    Family(
        settings=ModelSettings,
        similarity=lambda settings, dimension: heads.ZeroShotAttention(),
        paper=f"after {PAPER}",
    ),
)
