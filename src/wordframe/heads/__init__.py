"""Heads: features of texts and videos in, logits ``(T, V)`` out. ``base.py`` is the contract.

``clip4clip.py`` CLIP4Clip and EA-CLIP4Clip: one vector a video, or a joint transformer · ``xclip.py`` X-CLIP ·
``wti.py`` DRL's token-wise interaction · ``tcmgc/`` TC-MGC and its ablations · ``xpool.py`` X-Pool, its attention for
the sentence alone · ``tmass.py`` T-MASS, a mass in place of the sentence · ``zero_shot.py`` TC-MGC's attention without
weights. Before a similarity may stand a temporal head, ``(V, F, D), mask → (V, F, D)``: CLIP4Clip's two and
EA-CLIP4Clip's blocks are in ``clip4clip.py``. Padding never influences a real frame. Private: ``_fused.py`` is around
the compiled loops on CPU, ``_kernels/`` holds them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
