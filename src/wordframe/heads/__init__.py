"""Heads: features of texts and videos in, logits ``(T, V)`` out. One file a head; ``base.py`` is the contract.

``pooled.py`` one vector a video · ``tight.py`` a joint transformer · ``multi_grained.py`` X-CLIP ·
``text_conditioned.py`` TC-MGC, built from ``attention.py``, ``reorganization.py`` and ``aggregation.py``.
Before a similarity may stand a temporal head, ``(V, F, D), mask → (V, F, D)``: ``transformer.py`` and ``lstm.py`` are
CLIP4Clip's two; ``excitation.py`` holds EA-CLIP4Clip's blocks. Padding never influences a real frame.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
