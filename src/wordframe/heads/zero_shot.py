"""Untrained text-conditioned scoring: language-video attention with every weight the identity.

``x = LN(frames)``, ``α = softmax(sharpness · LN(sentence) · x / sqrt(D))`` over the real frames, ``score =
cos(sentence, LN(2 · LN(Σ α x)))``: TC-MGC's video-sentence similarity (Jing et al., arXiv 2504.04707) as it starts
out. Word-level parts need training: without it they rank worse than the sentence alone, so there are none.

Everything is computed in the span of the frames: LN(2 · LN(·)) only rescales the centred ``Σ α x``, and a cosine does
not see the scale, so ``score = Σ α_i (x_i · t) / (|t| sqrt(α G αᵀ))`` with ``G = x xᵀ (F, F)``: no vector per pair.
Neighbours: ``tcmgc/lva.py`` (with weights), ``tcmgc/head.py`` (trained), ``clip4clip.py`` (one vector a video).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from wordframe.features import SimilarityOutput, TextFeatures, VideoFeatures
from wordframe.heads.base import Explanation, Similarity, unit
from wordframe.heads.tcmgc.lva import LAYER_NORM_EPS

LOGIT_SCALE = 100.0
"""What CLIP-type models are trained to; a fixed factor ranks the same and keeps logits of one order with theirs."""


class ZeroShotAttention(Similarity):
    """Scores texts against videos with no learned parameter.

    Args:
        sharpness: factor on the attention's logits, 1 as published. 1, 3 and 8 rank alike; 3 shows the moment better.
            Near 0 it is mean pooling, which is as good on a single scene and loses videos of several
            (benchmarks/offline_encoder.py).
    """

    methods = ("span",)
    explains = ("sentence", "words")
    fixed_scale = LOGIT_SCALE

    def __init__(self, *, sharpness: float = 3.0, max_block_mb: int = 256) -> None:
        super().__init__(max_block_mb=max_block_mb)
        if not sharpness > 0:
            raise ValueError(f"sharpness={sharpness} must be above 0; 0 would be mean pooling, see PooledSimilarity")
        self.sharpness = sharpness

    def attention(self, text: TextFeatures, video: VideoFeatures) -> Tensor:
        """How much each sentence looks at each frame: ``(T, V, F)``, summing to one, padded frames 0."""
        text, video = self._accept(text, video)
        return self._weights(text.sentence, _products(text, video)[1], video.frame_mask)

    def explain(self, text: TextFeatures, video: VideoFeatures) -> Explanation:
        """The output, the sentences' attention, and that of each word as if it were the sentence.

        Words take no part in the score; they show people where each of them points.
        """
        words = text.words.flatten(0, 1)  # (T · W, D)
        alone = TextFeatures(words, words[:, None], torch.ones(len(words), 1, dtype=torch.bool, device=words.device))
        by_word = self.attention(alone, video).view(*text.words.shape[:2], *video.frame_mask.shape)  # (T, W, V, F)
        return Explanation(self(text, video), sentence_attention=self.attention(text, video), word_attention=by_word)

    def compare(self, text: TextFeatures, video: VideoFeatures, method: str) -> SimilarityOutput:
        x, products = _products(text, video)
        weights = self._weights(text.sentence, products, video.frame_mask)  # (T, V, F)
        gram = x @ x.mT  # (V, F, F)
        length2 = (torch.einsum("tvf,vfg->tvg", weights, gram) * weights).sum(dim=-1)  # (T, V)
        # a video of featureless frames has length 0 and scores 0
        length = length2.clamp(min=torch.finfo(length2.dtype).tiny).sqrt()
        cosine = (weights * products).sum(dim=-1) / length
        logits = LOGIT_SCALE * cosine
        return SimilarityOutput(logits, {"video_sentence": logits})

    def floats_per_pair(self, num_words: int, num_frames: int, dimension: int, method: str) -> int:
        return 4 * num_frames + 4  # products, logits, weights, their product with the Gram matrix

    def _weights(self, sentence: Tensor, products: Tensor, frame_mask: Tensor) -> Tensor:
        """``α (T, V, F)`` from ``products (T, V, F)``: ``LN(q) · x = n(q) · x · |q| / σ(q)``, since x is centred."""
        D = sentence.shape[-1]
        deviation = (sentence.var(dim=-1, correction=0) + LAYER_NORM_EPS).sqrt()
        factor = self.sharpness / D**0.5 * sentence.norm(dim=-1) / deviation  # (T,)
        logits = products * factor[:, None, None]
        weights: Tensor = logits.masked_fill(~frame_mask, float("-inf")).softmax(dim=-1)
        return weights


def _products(text: TextFeatures, video: VideoFeatures) -> tuple[Tensor, Tensor]:
    """Normalised frames ``x (V, F, D)``, zero where padded, and their products ``(T, V, F)`` with unit sentences."""
    frames = video.contextual.masked_fill(~video.frame_mask[..., None], 0.0)  # padding may hold anything, NaN too
    x = F.layer_norm(frames, frames.shape[-1:], eps=LAYER_NORM_EPS)
    return x, torch.einsum("td,vfd->tvf", unit(text.sentence), x)
