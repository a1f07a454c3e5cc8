"""Heads: features of texts and videos in, logits ``(T, V)`` out. One file a head; ``base.py`` is the contract.

``pooled.py`` one vector a video · ``tight.py`` a joint transformer · ``xclip.py`` X-CLIP · ``tcmgc/`` TC-MGC and its
ablations · ``zero_shot.py`` TC-MGC's attention without weights. Before a similarity may stand a temporal head, ``(V, F,
D), mask → (V, F, D)``: ``temporal.py`` has CLIP4Clip's two, ``excitation.py`` EA-CLIP4Clip's blocks. Padding never
influences a real frame. Private: ``_blocks.py`` and ``_fused.py`` bound memory, ``_kernels/`` are the loops on CPU.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
