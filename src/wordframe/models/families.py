"""From settings to modules: the temporal head and the similarity of each family.

A family is a name, the temporal heads it goes with, and a function that makes its similarity. ``register_family`` adds
one (docs/adding-a-head.md). Neighbours: ``settings.py`` (the choices), ``model.py`` (what holds the modules).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from wordframe.heads import (
    ABLATIONS,
    AblatedSimilarity,
    Aggregation,
    Excitation,
    ExcitedHead,
    MultiGrainedSimilarity,
    PooledSimilarity,
    Similarity,
    TemporalLSTM,
    TemporalTransformer,
    TextConditionedSimilarity,
    TightSimilarity,
    Transformer,
    ZeroShotAttention,
)
from wordframe.models.settings import ModelSettings

DIMENSIONS_PER_HEAD = 64
SEQUENTIAL = ("meanP", "seqLSTM", "seqTransf")


@dataclass(frozen=True)
class Family:
    """sim_headers: the temporal heads it goes with; similarity: ``(settings, D) →`` the module that scores."""

    sim_headers: tuple[str, ...]
    similarity: Callable[[ModelSettings, int], Similarity]


def build_temporal(settings: ModelSettings, dimension: int) -> nn.Module | None:
    """The temporal head ``(V, F, D), frame_mask → (V, F, D)``; None where contextual frames are the frames."""
    head: nn.Module | None = None
    if settings.sim_header == "seqLSTM":
        head = TemporalLSTM(dimension=dimension)
    elif settings.sim_header == "seqTransf":
        head = TemporalTransformer(
            dimension=dimension,
            heads=_transformer_heads(settings, dimension),
            layers=settings.layers,
            positions=settings.positions,
        )
    before_head = settings.sim_header == "tightTransf" or settings.se_type in (
        "excitation_seq",
        "excitation_seq_aggregation",
    )
    if settings.family == "ea-clip4clip" and before_head:
        return ExcitedHead(excitation=_excitation(settings), head=head)
    return head


def build_similarity(settings: ModelSettings, dimension: int) -> Similarity:
    """The similarity of ``settings.family``. ValueError where the family is unknown or refuses the temporal head."""
    family = FAMILIES.get(settings.family)
    if family is None:
        raise ValueError(
            f"family={settings.family!r} is not known; use one of {', '.join(map(repr, FAMILIES))}, "
            "or import the module that registers it"
        )
    if settings.sim_header not in family.sim_headers:
        raise ValueError(
            f"sim_header={settings.sim_header!r} does not go with family={settings.family!r}; "
            f"use one of {', '.join(map(repr, family.sim_headers))}"
        )
    return family.similarity(settings, dimension)


def register_family(name: str, family: Family) -> None:
    """Add a family, so that settings, presets and checkpoints can name it."""
    if name in FAMILIES:
        raise ValueError(f"family {name!r} is there already; choose another name")
    FAMILIES[name] = family


def block_designs(settings: ModelSettings) -> tuple[tuple[float, str], tuple[float, str]]:
    """Reduction ratio and activation of the excitation and of the aggregation block (METHODS of EA-CLIP4Clip).

    A lone block takes ReLU to squeeze and ReLU6 to expand; the cascade in ``unity`` takes ReLU in both.
    """
    assert settings.reduction_ratio is not None
    ratio = settings.reduction_ratio
    if settings.variant == "squeeze_expand":
        return (ratio, "relu"), (1 / ratio, "relu6")
    if settings.variant == "expand_squeeze":
        return (ratio, "relu6"), (1 / ratio, "relu")
    cascade = settings.se_type == "excitation_aggregation"
    same = (ratio, "relu" if cascade or ratio > 1 else "relu6")
    return same, same


def _excitation(settings: ModelSettings) -> Excitation:
    (ratio, activation), _ = block_designs(settings)
    return Excitation(
        max_frames=settings.max_frames,
        reduction_ratio=ratio,
        activation=activation,
        mask_padding=settings.mask_padding,
    )


def _aggregation(settings: ModelSettings) -> Aggregation:
    _, (ratio, activation) = block_designs(settings)
    return Aggregation(
        max_frames=settings.max_frames,
        reduction_ratio=ratio,
        activation=activation,
        mask_padding=settings.mask_padding,
    )


def _transformer_heads(settings: ModelSettings, dimension: int) -> int:
    if settings.heads is not None:
        return settings.heads
    if dimension % DIMENSIONS_PER_HEAD:
        raise ValueError(
            f"heads must be given: dimension={dimension} is not a multiple of {DIMENSIONS_PER_HEAD}, "
            "so there is no usual number of heads"
        )
    return dimension // DIMENSIONS_PER_HEAD


def _tight(settings: ModelSettings, dimension: int) -> TightSimilarity:
    transformer = Transformer(
        dimension=dimension,
        heads=_transformer_heads(settings, dimension),
        layers=settings.layers,
        positions=settings.positions,
    )
    return TightSimilarity(dimension=dimension, transformer=transformer)


def _clip4clip(settings: ModelSettings, dimension: int) -> Similarity:
    if settings.sim_header == "tightTransf":
        return _tight(settings, dimension)
    return PooledSimilarity(normalize_frames=settings.normalize_frames)


def _ea_clip4clip(settings: ModelSettings, dimension: int) -> Similarity:
    if settings.sim_header == "tightTransf":
        return _tight(settings, dimension)
    after_head = settings.se_type in ("excitation", "excitation_aggregation")
    aggregates = settings.se_type in ("aggregation", "excitation_aggregation", "excitation_seq_aggregation")
    # Around a head the frames are summed as they come; normalising the sum twice is normalising it once.
    normalize = settings.normalize_frames and settings.se_type != "excitation_seq_aggregation"
    return PooledSimilarity(
        excitation=_excitation(settings) if after_head else None,
        aggregation=_aggregation(settings) if aggregates else None,
        normalize_frames=normalize,
    )


def _xclip(settings: ModelSettings, dimension: int) -> Similarity:
    return MultiGrainedSimilarity(
        dimension=dimension,
        max_words=settings.max_words,
        max_frames=settings.max_frames,
        mask_padding=settings.mask_padding,
    )


def _tcmgc(settings: ModelSettings, dimension: int) -> Similarity:
    assert settings.keep_rate is not None
    unknown = sorted(set(settings.options) - set(ABLATIONS))
    if unknown:
        raise ValueError(f"options.{unknown[0]} is not known for family='tcmgc'; use some of {', '.join(ABLATIONS)}")
    kind = partial(AblatedSimilarity, **settings.options) if settings.options else TextConditionedSimilarity
    return kind(
        dimension=dimension,
        max_words=settings.max_words,
        keep_rate=settings.keep_rate,
        heads=settings.conditional_heads,
        softmax_lambda=settings.softmax_lambda,
        dropout=settings.dropout,
        projections=settings.projections,
        mask_padding=settings.mask_padding,
    )


def _zero_shot(settings: ModelSettings, dimension: int) -> Similarity:
    return ZeroShotAttention()


FAMILIES: dict[str, Family] = {
    "clip4clip": Family((*SEQUENTIAL, "tightTransf"), _clip4clip),
    "ea-clip4clip": Family((*SEQUENTIAL, "tightTransf"), _ea_clip4clip),
    "xclip": Family(SEQUENTIAL, _xclip),
    "tcmgc": Family(SEQUENTIAL, _tcmgc),
    "zero-shot": Family(("meanP",), _zero_shot),
}
