"""X-CLIP. Head: ``heads/xclip.py``."""

from __future__ import annotations

from dataclasses import dataclass

from wordframe import heads
from wordframe.models.config import Family, SequentialSettings, register_family


@dataclass(frozen=True, kw_only=True)
class XclipSettings(SequentialSettings):
    """max_words, max_frames: sizes of its learned matrices; mask_padding: leave padded words and frames out."""

    family: str = "xclip"
    mask_padding: bool = True


def _xclip(settings: XclipSettings, dimension: int) -> heads.Similarity:
    return heads.MultiGrainedSimilarity(
        dimension=dimension,
        max_words=settings.max_words,
        max_frames=settings.max_frames,
        mask_padding=settings.mask_padding,
    )


register_family(
    "xclip",
    Family(settings=XclipSettings, similarity=_xclip, paper="X-CLIP, Ma et al., ACM MM 2022, arXiv 2207.07285"),
)
