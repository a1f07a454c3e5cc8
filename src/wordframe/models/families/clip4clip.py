"""CLIP4Clip: the settings of its four headers. Head: ``heads/clip4clip.py``."""

from __future__ import annotations

from dataclasses import dataclass

from wordframe import heads
from wordframe.models.config import SEQUENTIAL, Family, SequentialSettings, register_family
from wordframe.models.families._sequential import tight


@dataclass(frozen=True, kw_only=True)
class Clip4ClipSettings(SequentialSettings):
    """normalize_frames: normalise each frame before pooling."""

    sim_headers = (*SEQUENTIAL, "tightTransf")

    family: str = "clip4clip"
    normalize_frames: bool = True


def _clip4clip(settings: Clip4ClipSettings, dimension: int) -> heads.Similarity:
    if settings.sim_header == "tightTransf":
        return tight(settings, dimension)
    return heads.PooledSimilarity(normalize_frames=settings.normalize_frames)


register_family(
    "clip4clip",
    Family(
        settings=Clip4ClipSettings,
        similarity=_clip4clip,
        paper="CLIP4Clip, Luo et al., Neurocomputing 2022, arXiv 2104.08860",
    ),
)
