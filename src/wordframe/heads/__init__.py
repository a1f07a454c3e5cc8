"""Heads: features of texts and videos in, logits ``(T, V)`` out. One file a head; ``base.py`` is the contract.

``pooled.py`` one vector a video · ``tight.py`` a joint transformer · ``multi_grained.py`` X-CLIP ·
``text_conditioned.py`` TC-MGC, built from ``attention.py``, ``reorganization.py`` and ``aggregation.py``.
Before a similarity may stand a temporal head, ``(V, F, D), mask → (V, F, D)``: ``transformer.py`` and ``lstm.py`` are
CLIP4Clip's two; ``excitation.py`` holds EA-CLIP4Clip's blocks. Padding never influences a real frame.
"""

from wordframe.heads.excitation import Aggregation, Excitation, ExcitedHead
from wordframe.heads.lstm import TemporalLSTM
from wordframe.heads.transformer import TemporalTransformer, Transformer

__all__ = ["Aggregation", "Excitation", "ExcitedHead", "TemporalLSTM", "TemporalTransformer", "Transformer"]
