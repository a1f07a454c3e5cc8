"""TC-MGC, with the options of its ablations. Heads: ``heads/tcmgc``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from wordframe import heads
from wordframe.models.config import Family, SequentialSettings, register_family

PAPER = "TC-MGC, Jing, Yang, Chu, Information Fusion 2025, arXiv 2504.04707"


@dataclass(frozen=True, kw_only=True)
class TcmgcSettings(SequentialSettings):
    """conditional_heads, projections, dropout: of the language-video attention; keep_rate: share of the words that the
    reorganization keeps; softmax_lambda: of the aggregation; mask_padding: leave padded words and frames out; options:
    the pieces that an ablation takes out (``heads/tcmgc/ablated.py``)."""

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


register_family("tcmgc", Family(settings=TcmgcSettings, similarity=_tcmgc, paper=PAPER))
