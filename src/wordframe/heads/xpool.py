"""X-Pool: the video is the one vector that the sentence picks out of its frames (Gorti et al., CVPR 2022).

With ``t`` a text's sentence, ``C`` the frames of a video and learned matrices ``W_Q, W_K, W_V, W_O`` (arXiv 2203.15086,
section 4): ``a = softmax(LN(t) W_Q (LN(C) W_K)ᵀ / sqrt(D)) LN(C) W_V``, ``r = LN(a W_O)``, ``z = LN(FC(r) + r)`` with
dropout on ``FC(r)`` in training, ``logits = s · cos(t, z)``. Frames are the encoder's own. All matrices start as the
identity; each has a bias, zero at the start, which the formulas leave out. The LayerNorm of texts and frames is one.

That is the language-video attention which TC-MGC took over (``tcmgc/lva.py``) for the sentence alone, so the exact
score needs no vector a pair: a cosine with ``z`` is a product in the span of the video's frames (``tcmgc/span.py``).
The loop is ``_kernels/xpool.py``. Neighbours: ``tmass.py`` (a mass in place of ``t``), ``zero_shot.py`` (no weights).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wordframe.features import SimilarityOutput, TextFeatures, VideoFeatures
from wordframe.heads._fused import Columns, put, score_tiles
from wordframe.heads._kernels import LANES
from wordframe.heads.base import Explanation, VideoGroups, scale, unit
from wordframe.heads.tcmgc.attending import SpanSimilarity, span_products
from wordframe.heads.tcmgc.lva import LanguageVideoAttention
from wordframe.heads.tcmgc.span import (
    SpanGroups,
    looked_for,
    projected,
    pulled_back,
    shared_rows,
    shared_statistics,
)

_LIVE_COPIES = 6
"""Vectors (D,) of a pair alive at the attention's widest point: values, a, r, FC(r), their sum, z."""
_LIVE_ROWS = 14
"""Vectors (R,) of a pair alive in the span: attention, its quadratic forms, coefficients, products, gradients."""


class PoolingSimilarity(SpanSimilarity):
    """The X-Pool head. ``method="span"`` gives the numbers of ``"plain"`` without a vector a pair: by a compiled loop
    where one can run, else by tensor operations, with gradients if wanted.

    Args:
        dimension: ``D``.
        heads: attention heads, 1 as published.
        dropout, dropout_mode: of the attention, in training; the paper drops by the ``element``.
    """

    explains = ("sentence",)
    part_names = ("video_sentence",)

    def __init__(
        self,
        *,
        dimension: int,
        heads: int = 1,
        dropout: float = 0.3,
        dropout_mode: str = "video",
        max_block_mb: int = 256,
    ) -> None:
        super().__init__(
            attention=LanguageVideoAttention(
                dimension=dimension, heads=heads, dropout=dropout, dropout_mode=dropout_mode, projections=True
            ),
            max_block_mb=max_block_mb,
        )

    def compare(self, text: TextFeatures, video: VideoFeatures, method: str) -> SimilarityOutput:
        cosines = self._cosines_plainly(text, video) if method == "plain" else self._cosines_in_span(text, video)
        logits = scale(self.logit_scale) * cosines  # (T, V)
        return SimilarityOutput(logits, {"video_sentence": logits})

    def _cosines_plainly(self, text: TextFeatures, video: VideoFeatures) -> Tensor:
        frames = video.contextual.masked_fill(~video.frame_mask[..., None], 0.0)  # padding may hold anything, NaN too
        pooled = self.attention(text.sentence[:, None], frames, video.frame_mask)[:, 0]  # (T, V, D)
        return torch.einsum("td,tvd->tv", unit(text.sentence), unit(pooled))

    def _cosines_in_span(self, text: TextFeatures, video: VideoFeatures) -> Tensor:
        side = self.video_side(video)
        z = self.sentence_coefficients(text.sentence, side)  # (T, V, R + 2)
        return (z * projected(side.span, unit(text.sentence)[:, None])[:, 0]).sum(dim=-1)

    def columns(self, text: TextFeatures) -> Columns:
        """One a text, its sentence: words take no part."""
        return Columns(text.sentence, np.arange(len(text) + 1))

    def score_groups(
        self,
        text: TextFeatures,
        columns: Columns,
        groups: VideoGroups,
        max_floats: int,
        out: NDArray[np.float32],
    ) -> None:
        from wordframe.heads._kernels import xpool  # brings numba

        assert isinstance(groups, SpanGroups)
        lva, dtype = self.attention, groups.frames.dtype
        last_rows, constants = shared_rows(lva), shared_statistics(lva)
        factor = np.float32(scale(self.logit_scale))

        def transform(values: Tensor, is_sentence: Tensor) -> tuple[Tensor, ...]:
            plain = unit(values)
            to_frames = torch.stack([looked_for(lva, values), pulled_back(lva, plain)], dim=1)
            return to_frames.to(dtype), torch.stack([values, plain], dim=1) @ last_rows.T

        to_frames, fixed = columns.transform(transform)

        def score(texts: slice, at: slice, c: slice) -> None:
            frames, real = groups.frames[c], groups.real[c].numpy()
            tile = np.empty((2, texts.stop - texts.start, len(frames), LANES), np.float32)
            products = span_products(to_frames[at], frames)
            xpool.score_tile(products, fixed[at].numpy(), real, groups.statistics[c].numpy(), constants, factor, tile)
            put(tile, out, texts, c)

        score_tiles(columns.starts, len(groups.frames), lva.heads * groups.frames.shape[1], max_floats, score)

    def explain(self, text: TextFeatures, video: VideoFeatures) -> Explanation:
        """The output, and the attention of the sentences."""
        output = self(text, video)
        return Explanation(output, sentence_attention=self.sentence_attention(*self._accept(text, video)))

    def floats_per_pair(self, num_words: int, num_frames: int, dimension: int, method: str) -> int:
        rows = self.attention.heads * num_frames + 3
        return _LIVE_COPIES * dimension + 2 * rows if method == "plain" else _LIVE_ROWS * rows
