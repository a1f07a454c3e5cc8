"""TC-MGC: four similarities between a text and the video as that text sees it, put together by their own size.

Language-video attention gives a conditioned video (from the sentence) and one conditioned frame per word.
Video-sentence, video-word, sentence-frame and frame-word similarities are thinned out by ``reorganization.py``, summed
up by ``aggregation.py`` and joined by LSA (Jing et al., arXiv 2504.04707). Neighbour: ``multi_grained.py``, its
predecessor X-CLIP, where videos do not depend on the text.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from wordframe.features import PART_NAMES, SimilarityOutput, TextFeatures, VideoFeatures
from wordframe.similarity.aggregation import BidirectionalAggregation, InteractiveAggregation, LinearSoftmaxAggregation
from wordframe.similarity.attention import LanguageVideoAttention
from wordframe.similarity.base import Explanation, VideoGroups, new_logit_scale, scale, unit
from wordframe.similarity.fused import FusedSimilarity, put
from wordframe.similarity.kernels.products import product
from wordframe.similarity.kernels.tiles import LANES, pack, score_tiles
from wordframe.similarity.reorganization import (
    keep_largest,
    keep_largest_and_fuse,
    keep_largest_block,
    present_ranks,
)
from wordframe.similarity.span import SpanGroups, coefficients, projected, shared_rows, span_groups, video_span

_LIVE_COPIES = 5
"""Tensors (W, D) of a pair alive at LVA's widest point: a, Linear(a), their sum, LN3's result, its normalisation.
In the span, tensors (W, R) at the making of the coefficients."""
_LIVE_MATRICES = 5
"""Matrices (W, W) of a pair alive at once in Bi-SR, its 8-byte indices counted twice."""


class TextConditionedSimilarity(FusedSimilarity):
    """The TC-MGC head. ``method="span"`` gives the numbers of ``"plain"`` at a fraction of the cost, at inference:
    by a compiled loop under ``torch.no_grad()`` on CPU in float32, else by tensor operations.

    Args:
        dimension: ``D``.
        max_words: longest text the model is made for; with ``keep_rate`` it fixes ``k = int(max_words · keep_rate)``.
        keep_rate: share of the words kept by SR, 0.1 in the released default.
        heads: heads of the language-video attention.
        softmax_lambda: ``λ`` of ISA.
        dropout, projections: of the language-video attention.
        mask_padding: leave padded words and frames out; False lets them take part, as the released code does.
    """

    methods = ("span", "plain")

    def __init__(
        self,
        *,
        dimension: int,
        max_words: int,
        keep_rate: float,
        heads: int = 1,
        softmax_lambda: float = 100.0,
        dropout: float = 0.3,
        projections: bool = False,
        mask_padding: bool = True,
        max_block_mb: int = 256,
    ) -> None:
        super().__init__(max_block_mb=max_block_mb)
        self.keep = kept_words(max_words, keep_rate)
        self.mask_padding = mask_padding
        self.logit_scale = new_logit_scale()
        self.attention = LanguageVideoAttention(
            dimension=dimension, heads=heads, dropout=dropout, projections=projections
        )
        self.global_matrix = nn.Parameter(torch.eye(dimension))
        self.local_matrix = nn.Parameter(torch.eye(dimension))
        self.over_words = InteractiveAggregation(size=self.keep, softmax_lambda=softmax_lambda)
        self.over_frames = InteractiveAggregation(size=self.keep + 1, softmax_lambda=softmax_lambda)
        self.over_both = BidirectionalAggregation(size=self.keep, softmax_lambda=softmax_lambda)
        self.over_parts = LinearSoftmaxAggregation(parts=len(PART_NAMES))

    def conditioned(self, text: TextFeatures, video: VideoFeatures) -> tuple[Tensor, Tensor]:
        """The conditioned videos ``(T, V, D)`` and conditioned frames ``(T, W, V, D)``, normalised."""
        queries = torch.cat([text.sentence[:, None], text.words], dim=1)  # (T, 1 + W, D)
        seen = F.normalize(
            self.attention(queries, video.contextual, self._frame_mask(video)), dim=-1
        )  # (T, 1 + W, V, D)
        return seen[:, 0], seen[:, 1:]

    def compare(self, text: TextFeatures, video: VideoFeatures, method: str) -> SimilarityOutput:
        return self._compare_in_span(text, video) if method == "span" else self._compare_plainly(text, video)

    def _compare_in_span(self, text: TextFeatures, video: VideoFeatures) -> SimilarityOutput:
        """The numbers of ``_compare_plainly`` from coefficients over each video's basis, ``R = heads · F``."""
        span = video_span(self.attention, video.contextual)
        sentence, words, num_words = unit(text.sentence)[:, None], unit(text.words), text.words.shape[1]
        queries = torch.cat([text.sentence[:, None], text.words], dim=1)
        z = coefficients(self.attention, span, queries, self._frame_mask(video))  # (T, 1 + W, V, R + 2)
        vectors = torch.cat([sentence @ self.global_matrix, sentence, words, words @ self.local_matrix], dim=1)
        p = projected(span, vectors)  # (T, 2 + 2 W, V, R + 2)
        return self.combine(
            text.word_mask,
            torch.einsum("tvr,tvr->tv", z[:, 0], p[:, 0]),
            torch.einsum("tvr,twvr->tvw", z[:, 0], p[:, 2 : 2 + num_words]),
            torch.einsum("twvr,tvr->tvw", z[:, 1:], p[:, 1]),
            torch.einsum("tivr,tjvr->tvij", p[:, 2 + num_words :], z[:, 1:]),
        )

    def _compare_plainly(self, text: TextFeatures, video: VideoFeatures) -> SimilarityOutput:
        conditioned_video, conditioned_frames = self.conditioned(text, video)
        sentence, words = unit(text.sentence), unit(text.words)
        return self.combine(
            text.word_mask,
            torch.einsum("td,tvd->tv", sentence @ self.global_matrix, conditioned_video),
            torch.einsum("twd,tvd->tvw", words, conditioned_video),
            torch.einsum("td,twvd->tvw", sentence, conditioned_frames),
            torch.einsum("tid,tjvd->tvij", words @ self.local_matrix, conditioned_frames),
        )

    def group(self, video: VideoFeatures) -> SpanGroups:
        return span_groups(self.attention, video.contextual, self._frame_mask(video))

    def score_groups(self, text: TextFeatures, groups: VideoGroups, max_floats: int, out: NDArray[np.float32]) -> None:
        from wordframe.similarity.kernels import conditioned

        assert isinstance(groups, SpanGroups)
        lva, heads = self.attention, self.attention.heads
        columns = pack(text, masked=self.mask_padding)
        size = columns.values.shape[1] // heads
        parts = [slice(h * size, (h + 1) * size) for h in range(heads)]
        last_rows = shared_rows(lva)

        def transform(values: Tensor, is_sentence: Tensor) -> tuple[Tensor, ...]:
            plain = unit(values)
            turned = product(plain, self.local_matrix.T)
            turned[is_sentence] = product(plain[is_sentence], self.global_matrix.T)
            queries = lva.query(lva.norm1(values)) / size**0.5
            return queries, plain, turned, plain @ last_rows.T, turned @ last_rows.T

        queries, plain, turned, plain_last, turned_last = columns.transform(transform)
        matrices = self._matrices(text.words.shape[1])
        factors = np.float32(self.over_words.softmax_lambda), np.float32(scale(self.logit_scale))

        def score(texts: slice, at: slice, c: slice) -> None:
            keys, basis = groups.keys[c], groups.basis[c]
            rows, num_groups = basis.flatten(0, 2), len(basis)

            def products(left: Tensor, right: Tensor) -> NDArray[np.float32]:
                return product(left, right).view(len(left), num_groups, -1, LANES).numpy()

            by_head = [products(queries[at, part], keys.flatten(0, 2)[:, part]) for part in parts]
            tile = np.empty((1 + len(PART_NAMES), texts.stop - texts.start, num_groups, LANES), np.float32)
            conditioned.score_tile(
                by_head[0][None] if heads == 1 else np.stack(by_head),
                products(plain[at], rows),
                products(turned[at], rows),
                plain_last[at].numpy(),
                turned_last[at].numpy(),
                columns.starts[texts.start : texts.stop + 1] - at.start,
                *(x[c].numpy() for x in (groups.real, groups.squares, groups.linears, groups.constants)),
                *matrices,
                *factors,
                not self.mask_padding,
                tile,
            )
            put(tile, out, texts, c)

        score_tiles(columns.starts, len(groups.basis), groups.basis.shape[1], max_floats, score)

    def _matrices(self, num_words: int) -> list[NDArray[np.float32]]:
        """The learned matrices for the loop; where all ``num_words`` are kept, the fused entry comes right behind."""
        fused: Tensor = self.over_frames.matrix
        if not self.mask_padding and num_words < self.keep:
            index = torch.tensor([*range(num_words), self.keep])
            fused = fused[index][:, index]
        both = self.over_both
        four = (both.words_first, both.frames_second, both.frames_first, both.words_second)
        tensors = (self.over_words.matrix, fused, torch.stack([m.matrix for m in four]), self.over_parts.matrix)
        return [tensor.detach().contiguous().numpy() for tensor in tensors]

    def combine(
        self, word_mask: Tensor, video_sentence: Tensor, words: Tensor, frames: Tensor, both: Tensor
    ) -> SimilarityOutput:
        """From raw similarities to logits.

        video_sentence ``(T, V)``; words ``(T, V, W)`` against the conditioned video; frames ``(T, V, W)``, the
        conditioned ones against the sentence; both ``(T, V, W, W)``, words against conditioned frames.
        """
        mask = (word_mask if self.mask_padding else torch.ones_like(word_mask))[:, None]  # (T, 1, W)
        ranks = present_ranks(mask, self.keep)  # (T, 1, k)
        has_fused = mask.sum(dim=-1, keepdim=True) > self.keep
        if not self.mask_padding:
            has_fused = torch.ones_like(has_fused)  # released: an empty sum, 0, takes part like any other entry
        parts = (
            video_sentence,
            self.over_words(keep_largest(words, mask, self.keep), ranks),
            self.over_frames(keep_largest_and_fuse(frames, mask, self.keep), torch.cat([ranks, has_fused], dim=-1)),
            self.over_both(keep_largest_block(both, mask, self.keep), ranks),
        )
        z = scale(self.logit_scale) * torch.stack(parts, dim=-1)  # (T, V, 4)
        return SimilarityOutput(self.over_parts(z), dict(zip(PART_NAMES, z.unbind(dim=-1), strict=True)))

    def explain(self, text: TextFeatures, video: VideoFeatures) -> Explanation:
        """The four parts, LSA's weights, and the attention of the sentence and of each word, mean over the heads.

        Meant for the few pairs that a person looks at: the attention is made in one piece.
        """
        output = self(text, video)
        z = torch.stack([output.parts[name] for name in PART_NAMES], dim=-1)
        text, video = self._prepare(text, video)
        queries = torch.cat([text.sentence[:, None], text.words], dim=1)
        weights = self.attention.attention(queries, video.contextual, self._frame_mask(video)).mean(dim=-2)
        return Explanation(output, self.over_parts.weights(z), weights[:, 0], weights[:, 1:])

    def floats_per_pair(self, num_words: int, num_frames: int, dimension: int, method: str) -> int:
        rows = self.attention.heads * num_frames + 3
        queries, matrix = 1 + num_words, _LIVE_MATRICES * num_words**2
        if method == "span":
            return queries * _LIVE_COPIES * rows + 2 * queries * rows + matrix
        return queries * (_LIVE_COPIES * dimension + 2 * rows) + matrix

    def _choose(self, method: str) -> str:
        """Dropout per pair leaves the span, so training is plain."""
        drops = self.training and self.attention.dropout.p > 0
        if method == "auto" and drops:
            return "plain"
        if method == "span" and drops:
            raise ValueError("method='span' has no dropout per pair; use 'plain' in training, or model.eval()")
        return super()._choose(method)

    def _frame_mask(self, video: VideoFeatures) -> Tensor | None:
        return video.frame_mask if self.mask_padding else None


def kept_words(max_words: int, keep_rate: float) -> int:
    """``k = int(max_words · keep_rate)``, at least 1 and at most ``max_words``.

    >>> kept_words(32, 0.1)
    3
    """
    k = int(max_words * keep_rate)
    if not 1 <= k <= max_words:
        raise ValueError(
            f"keep_rate={keep_rate} keeps {k} of max_words={max_words} words; it must be from {1 / max_words:.3g} to 1"
        )
    return k
