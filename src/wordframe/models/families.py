"""The papers' families: the settings of each, and how they become a temporal head and a similarity.

A new family inside the package goes here, its class into ``heads``, its presets into ``presets.py``; one outside is
registered in the same way (docs/adding-a-head.md). Neighbours: ``config.py`` (what settings have in common).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from wordframe import heads  # its names load torch when they are first used, so that listing presets does not
from wordframe.models.config import SEQUENTIAL, Family, ModelSettings, SequentialSettings, find_family, register_family

if TYPE_CHECKING:
    from torch import nn

DIMENSIONS_PER_HEAD = 64
_EMBEDDING_DROPOUT = 0.1
"""Of the joint transformer's input, as BERT has it and the authors' cross encoder, too."""
SE_TYPES = ("excitation", "aggregation", "excitation_aggregation", "excitation_seq", "excitation_seq_aggregation")
VARIANTS = ("unity", "squeeze_expand", "expand_squeeze")


def build_temporal(settings: ModelSettings, dimension: int) -> nn.Module | None:
    """The temporal head ``(V, F, D), frame_mask → (V, F, D)``; None where contextual frames are the frames."""
    build = find_family(settings.family).temporal
    if build is not None:
        return build(settings, dimension)
    return sequential_head(settings, dimension) if isinstance(settings, SequentialSettings) else None


def build_similarity(settings: ModelSettings, dimension: int) -> heads.Similarity:
    """The similarity of ``settings.family``."""
    return find_family(settings.family).similarity(settings, dimension)


def sequential_head(settings: SequentialSettings, dimension: int) -> nn.Module | None:
    """CLIP4Clip's LSTM or transformer over the frames; None for the headers that have neither."""
    if settings.sim_header == "seqLSTM":
        return heads.TemporalLSTM(dimension=dimension)
    if settings.sim_header == "seqTransf":
        return heads.TemporalTransformer(
            dimension=dimension,
            heads=_transformer_heads(settings, dimension),
            layers=settings.layers,
            positions=settings.positions,
        )
    return None


def _transformer_heads(settings: SequentialSettings, dimension: int) -> int:
    if settings.heads is not None:
        return settings.heads
    if dimension % DIMENSIONS_PER_HEAD:
        raise ValueError(
            f"heads must be given: dimension={dimension} is not a multiple of {DIMENSIONS_PER_HEAD}, "
            "so there is no usual number of heads"
        )
    return dimension // DIMENSIONS_PER_HEAD


# CLIP4Clip -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Clip4ClipSettings(SequentialSettings):
    """normalize_frames: normalise each frame before pooling."""

    sim_headers = (*SEQUENTIAL, "tightTransf")

    family: str = "clip4clip"
    normalize_frames: bool = True


def _clip4clip(settings: Clip4ClipSettings, dimension: int) -> heads.Similarity:
    if settings.sim_header == "tightTransf":
        return _tight(settings, dimension)
    return heads.PooledSimilarity(normalize_frames=settings.normalize_frames)


def _tight(settings: SequentialSettings, dimension: int) -> heads.TightSimilarity:
    transformer = heads.Transformer(
        dimension=dimension,
        heads=_transformer_heads(settings, dimension),
        layers=settings.layers,
        positions=settings.positions,
        dropout=_EMBEDDING_DROPOUT,
    )
    return heads.TightSimilarity(dimension=dimension, transformer=transformer)


# EA-CLIP4Clip --------------------------------------------------------------------------------------------------------


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
        return _tight(settings, dimension)
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


# X-CLIP --------------------------------------------------------------------------------------------------------------


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


# TC-MGC --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class TcmgcSettings(SequentialSettings):
    """conditional_heads, projections, dropout: of the language-video attention; keep_rate: share of the words that the
    reorganization keeps; softmax_lambda: of the aggregation; mask_padding: leave padded words and frames out; options:
    the pieces that an ablation takes out (``heads/ablated.py``)."""

    family: str = "tcmgc"
    keep_rate: float = field(metadata={"advice": "the released default is 0.1"})
    conditional_heads: int = 1
    projections: bool = False
    dropout: float = 0.3
    softmax_lambda: float = 100.0
    mask_padding: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least_1("conditional_heads")


def _tcmgc(settings: TcmgcSettings, dimension: int) -> heads.Similarity:
    unknown = sorted(set(settings.options) - set(heads.ABLATIONS))
    if unknown:
        raise ValueError(
            f"options.{unknown[0]} is not known for family={settings.family!r}; "
            f"use some of {', '.join(heads.ABLATIONS)}"
        )
    options = dict(settings.options)
    make: Callable[..., heads.Similarity] = heads.TextConditionedSimilarity
    if options.get("attention") == "none":
        del options["attention"]
        make = partial(heads.UnattendedSimilarity, **options)
    elif options:
        make = partial(heads.AblatedSimilarity, **options)
    return make(
        dimension=dimension,
        max_words=settings.max_words,
        keep_rate=settings.keep_rate,
        heads=settings.conditional_heads,
        softmax_lambda=settings.softmax_lambda,
        dropout=settings.dropout,
        projections=settings.projections,
        mask_padding=settings.mask_padding,
    )


# X-Pool, DRL's WTI, T-MASS ------------------------------------------------------------------------------------------


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


@dataclass(frozen=True, kw_only=True)
class WtiSettings(SequentialSettings):
    """What ``SequentialSettings`` has."""

    family: str = "wti"


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


_TCMGC_PAPER = "TC-MGC, Jing, Yang, Chu, Information Fusion 2025, arXiv 2504.04707"

register_family(
    "clip4clip",
    Family(
        settings=Clip4ClipSettings,
        similarity=_clip4clip,
        paper="CLIP4Clip, Luo et al., Neurocomputing 2022, arXiv 2104.08860",
    ),
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
register_family(
    "xclip",
    Family(settings=XclipSettings, similarity=_xclip, paper="X-CLIP, Ma et al., ACM MM 2022, arXiv 2207.07285"),
)
register_family("tcmgc", Family(settings=TcmgcSettings, similarity=_tcmgc, paper=_TCMGC_PAPER))
register_family(
    "xpool",
    Family(settings=XpoolSettings, similarity=_xpool, paper="X-Pool, Gorti et al., CVPR 2022, arXiv 2203.15086"),
)
register_family(
    "wti",
    Family(
        settings=WtiSettings,
        similarity=lambda settings, dimension: heads.WeightedTokenSimilarity(dimension=dimension),
        paper="DRL, Wang et al., 2022, arXiv 2203.07111",
    ),
)
register_family(
    "tmass",
    Family(settings=TmassSettings, similarity=_tmass, paper="T-MASS, Wang et al., CVPR 2024, arXiv 2403.17998"),
)
register_family(
    "zero-shot",
    Family(
        settings=ModelSettings,
        similarity=lambda settings, dimension: heads.ZeroShotAttention(),
        paper=f"after {_TCMGC_PAPER}",
    ),
)
