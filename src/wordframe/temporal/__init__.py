"""Temporal heads: frame features in, contextual frame features out, ``(V, F, D), mask → (V, F, D)``.

``transformer.py`` and ``lstm.py`` are CLIP4Clip's two heads; ``excitation.py`` holds EA-CLIP4Clip's blocks, which may
stand in front of a head or in the pooling behind it. Padding never influences a real frame.
"""

from wordframe.temporal.excitation import Aggregation, Excitation, ExcitedHead
from wordframe.temporal.lstm import TemporalLSTM
from wordframe.temporal.transformer import TemporalTransformer, Transformer

__all__ = ["Aggregation", "Excitation", "ExcitedHead", "TemporalLSTM", "TemporalTransformer", "Transformer"]
