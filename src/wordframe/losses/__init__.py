"""Losses: logits and parts in, one unweighted number out. They never see a model."""

from wordframe.losses.contrastive import contrastive
from wordframe.losses.decorrelation import decorrelation

__all__ = ["contrastive", "decorrelation"]
