"""Losses: logits and parts in, one unweighted number out. They never see a model.

``…_share`` is what one process's pairs add to the loss of a batch that is spread over several.
"""

from wordframe.losses.contrastive import contrastive, contrastive_share
from wordframe.losses.decorrelation import decorrelation, decorrelation_share

__all__ = ["contrastive", "contrastive_share", "decorrelation", "decorrelation_share"]
