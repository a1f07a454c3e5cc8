"""One vector a video: mean pooling (CLIP4Clip) and pooling by EA-CLIP4Clip's blocks.

``logits = s · n(sentence) · v`` with ``v = n(pool(n(contextual frames)))``; the pool is the masked mean, an
aggregation, or either of them behind an excitation (arXiv 2104.08860; arXiv 2406.01604). The vectors do not depend on
the text, so an ordinary vector index searches them exactly. Neighbour: ``tight.py``.
"""

from __future__ import annotations

from torch import Tensor, nn

from wordframe.features import SimilarityOutput, TextFeatures, VideoFeatures
from wordframe.heads.base import Similarity, masked_mean, new_logit_scale, scale, unit


class PooledSimilarity(Similarity):
    """Cosine of the sentence and one vector per video, times ``s``.

    Args:
        excitation: block ``(V, F, D), frame_mask → (V, F, D)`` before the pooling, or None.
        aggregation: block ``(V, F, D), frame_mask → (V, D)`` instead of the masked mean, or None.
        normalize_frames: normalise each frame before the blocks; the released EA code does not.
    """

    def __init__(
        self,
        *,
        excitation: nn.Module | None = None,
        aggregation: nn.Module | None = None,
        normalize_frames: bool = True,
        max_block_mb: int = 256,
    ) -> None:
        super().__init__(max_block_mb=max_block_mb)
        self.excitation = excitation
        self.aggregation = aggregation
        blocks = [block for block in (excitation, aggregation) if block is not None]
        limits = [getattr(block, "max_frames", None) for block in blocks]
        self.max_frames = min((limit for limit in limits if limit is not None), default=None)
        self.mask_padding = all(getattr(block, "mask_padding", True) for block in blocks)
        self.normalize_frames = normalize_frames
        self.logit_scale = new_logit_scale()

    def vectors(self, video: VideoFeatures) -> Tensor:
        """One unit vector per video, ``(V, D)``."""
        # The mean of unit vectors, not the unit vector of a mean: a frame of large norm must not outweigh the others.
        frames = unit(video.contextual) if self.normalize_frames else video.contextual  # (V, F, D)
        if self.excitation is not None:
            frames = self.excitation(frames, video.frame_mask)
        if self.aggregation is not None:
            return unit(self.aggregation(frames, video.frame_mask))
        return unit(masked_mean(frames, video.frame_mask))

    def compare(self, text: TextFeatures, video: VideoFeatures, method: str) -> SimilarityOutput:
        return SimilarityOutput(scale(self.logit_scale) * unit(text.sentence) @ self.vectors(video).T)

    def floats_per_pair(self, num_words: int, num_frames: int, dimension: int, method: str) -> int:
        return 2  # the cosine and the logit
