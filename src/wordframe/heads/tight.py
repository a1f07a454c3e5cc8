"""The tight similarity of CLIP4Clip (tightTransf): a joint transformer over ``[sentence ; frames]`` of each pair.

LayerNorm of position 0, Linear, QuickGELU, Linear to one number; no scale ``s`` (arXiv 2104.08860).
Features go in raw. The transformer is handed in (``temporal.Transformer``). Neighbour: ``pooled.py``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wordframe.features import SimilarityOutput, TextFeatures, VideoFeatures
from wordframe.heads.base import Similarity

POOLER_EPS = 1e-12
"""BERT's, from which the authors took their joint transformer; CLIP's own norms have 1e-5."""
_LIVE_COPIES = 16
"""Tensors of a pair's size alive at the widest point of a block: input, residual, q, k, v, the MLP's 4 + 4, spare."""


class TightSimilarity(Similarity):
    """One number per pair from a joint transformer.

    Args:
        dimension: ``D``.
        transformer: ``(N, 1 + F, D), key_mask (N, 1 + F) → (N, 1 + F, D)``, with its own positions; where it has
            ``max_length``, the sentence takes one of them and frames the others.
    """

    def __init__(self, *, dimension: int, transformer: nn.Module, max_block_mb: int = 256) -> None:
        super().__init__(max_block_mb=max_block_mb)
        self.transformer = transformer
        length = getattr(transformer, "max_length", None)
        self.max_frames = None if length is None else length - 1
        self.pool_norm = nn.LayerNorm(dimension, eps=POOLER_EPS)
        self.pool = nn.Linear(dimension, dimension)
        self.score = nn.Linear(dimension, 1)

    def compare(self, text: TextFeatures, video: VideoFeatures, method: str) -> SimilarityOutput:
        sentence, frames, mask = text.sentence, video.contextual, video.frame_mask
        T, (V, F, D) = len(sentence), frames.shape
        pairs = torch.cat([sentence[:, None, None].expand(T, V, 1, D), frames[None].expand(T, V, F, D)], dim=2)
        keys = torch.cat([mask.new_ones(V, 1), mask], dim=1).expand(T, V, 1 + F)
        first: Tensor = self.transformer(pairs.flatten(0, 1), keys.flatten(0, 1))[:, 0]  # (T·V, D)
        hidden = self.pool(self.pool_norm(first))
        hidden = hidden * torch.sigmoid(1.702 * hidden)  # QuickGELU, as everywhere in CLIP
        logits: Tensor = self.score(hidden)  # (T·V, 1)
        return SimilarityOutput(logits.view(T, V))

    def floats_per_pair(self, num_words: int, num_frames: int, dimension: int, method: str) -> int:
        return _LIVE_COPIES * (1 + num_frames) * dimension
