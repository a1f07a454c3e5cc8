"""Similarities: features of texts and videos in, logits ``(T, V)`` out. One file a head; ``base.py`` is the contract.

``pooled.py`` one vector a video · ``tight.py`` a joint transformer · ``multi_grained.py`` X-CLIP ·
``text_conditioned.py`` TC-MGC, built from ``attention.py``, ``reorganization.py`` and ``aggregation.py``.
Nothing is imported until it is used.
"""
