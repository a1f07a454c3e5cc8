"""EA-CLIP4Clip: which excitation and aggregation blocks go where. Heads: ``heads/clip4clip.py``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wordframe import heads
from wordframe.models.config import Family, register_family
from wordframe.models.families._sequential import sequential_head, tight
from wordframe.models.families.clip4clip import Clip4ClipSettings

if TYPE_CHECKING:
    from torch import nn

SE_TYPES = ("excitation", "aggregation", "excitation_aggregation", "excitation_seq", "excitation_seq_aggregation")
VARIANTS = ("unity", "squeeze_expand", "expand_squeeze")


@dataclass(frozen=True, kw_only=True)
class EaClip4ClipSettings(Clip4ClipSettings):
    """se_type: which of the two blocks, and whether the excitation goes before the temporal head (``…_seq…``);
    reduction_ratio: ``r``; variant: whether the two blocks share it; mask_padding: leave padded frames out;
    normalize_frames: before the blocks, False as the released code has it."""

    family: str = "ea-clip4clip"
    se_type: str = field(metadata={"advice": f"use one of {', '.join(map(repr, SE_TYPES))}"})
    reduction_ratio: float = field(metadata={"advice": "a number above 0, published with 4 and 0.25"})
    variant: str = "unity"
    mask_padding: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._one_of("se_type", SE_TYPES)
        self._one_of("variant", VARIANTS)
        if not self.reduction_ratio > 0:
            raise ValueError(f"reduction_ratio={self.reduction_ratio} must be a number above 0")
        self._check_variant()
        if self.excites_before_head and self.sim_header not in ("seqLSTM", "seqTransf"):
            raise ValueError(
                f"se_type={self.se_type!r} goes around a sequential head, got sim_header={self.sim_header!r}; "
                "use 'seqLSTM' or 'seqTransf'"
            )
        if self.sim_header == "tightTransf" and self.se_type != "excitation":
            raise ValueError(f"se_type={self.se_type!r} does not go with sim_header='tightTransf'; use 'excitation'")

    @property
    def excites_before_head(self) -> bool:
        """Whether the excitation goes before a sequential head instead of behind it."""
        return self.se_type in ("excitation_seq", "excitation_seq_aggregation")

    def block_designs(self) -> tuple[tuple[float, str], tuple[float, str]]:
        """Reduction ratio and activation of the excitation and of the aggregation block (METHODS of EA-CLIP4Clip).

        A lone block takes ReLU to squeeze and ReLU6 to expand; the cascade in ``unity`` takes ReLU in both.
        """
        ratio = self.reduction_ratio
        if self.variant == "squeeze_expand":
            return (ratio, "relu"), (1 / ratio, "relu6")
        if self.variant == "expand_squeeze":
            return (ratio, "relu6"), (1 / ratio, "relu")
        cascade = self.se_type == "excitation_aggregation"
        same = (ratio, "relu" if cascade or ratio > 1 else "relu6")
        return same, same

    def _check_variant(self) -> None:
        if self.variant == "unity":
            return
        if self.se_type not in ("excitation_aggregation", "excitation_seq_aggregation"):
            raise ValueError(
                f"variant={self.variant!r} needs two blocks, but se_type={self.se_type!r} has one; use variant='unity'"
            )
        if (self.reduction_ratio < 1) == (self.variant == "squeeze_expand"):
            side = "at least 1" if self.variant == "squeeze_expand" else "below 1"
            raise ValueError(f"variant={self.variant!r} needs a reduction_ratio {side}, got {self.reduction_ratio}")


def _ea_clip4clip_temporal(settings: EaClip4ClipSettings, dimension: int) -> nn.Module | None:
    head = sequential_head(settings, dimension)
    # The joint transformer is the similarity, so what goes before it is all that can stand here.
    if settings.excites_before_head or settings.sim_header == "tightTransf":
        return heads.ExcitedHead(excitation=_excitation(settings), head=head)
    return head


def _ea_clip4clip(settings: EaClip4ClipSettings, dimension: int) -> heads.Similarity:
    if settings.sim_header == "tightTransf":
        return tight(settings, dimension)
    after_head = settings.se_type in ("excitation", "excitation_aggregation")
    aggregates = settings.se_type in ("aggregation", "excitation_aggregation", "excitation_seq_aggregation")
    # Around a head the frames are summed as they come; normalising the sum twice is normalising it once.
    normalize = settings.normalize_frames and settings.se_type != "excitation_seq_aggregation"
    return heads.PooledSimilarity(
        excitation=_excitation(settings) if after_head else None,
        aggregation=_aggregation(settings) if aggregates else None,
        normalize_frames=normalize,
    )


def _excitation(settings: EaClip4ClipSettings) -> heads.Excitation:
    (ratio, activation), _ = settings.block_designs()
    return heads.Excitation(
        max_frames=settings.max_frames,
        reduction_ratio=ratio,
        activation=activation,
        mask_padding=settings.mask_padding,
    )


def _aggregation(settings: EaClip4ClipSettings) -> heads.Aggregation:
    _, (ratio, activation) = settings.block_designs()
    return heads.Aggregation(
        max_frames=settings.max_frames,
        reduction_ratio=ratio,
        activation=activation,
        mask_padding=settings.mask_padding,
    )


register_family(
    "ea-clip4clip",
    Family(
        settings=EaClip4ClipSettings,
        similarity=_ea_clip4clip,
        temporal=_ea_clip4clip_temporal,
        paper="EA-CLIP4Clip, Jing, Yang, Chu, Neurocomputing 2024, arXiv 2406.01604",
    ),
)
