"""TC-MGC: four similarities between a text and the video as that text sees it, put together by their own size.

Language-video attention gives a conditioned video (from the sentence) and one conditioned frame per word.
Video-sentence, video-word, sentence-frame and frame-word similarities are thinned out by SR, summed up by ISA and
joined by LSA, all in ``aggregation.py`` (Jing et al., arXiv 2504.04707). Neighbours: ``lva.py`` (the attention),
``span.py`` (its fast form), ``ablated.py`` (pieces left out), ``heads/xclip.py`` (its predecessor X-CLIP, where videos
do not depend on the text).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from wordframe.features import PART_NAMES, SimilarityOutput, TextFeatures, VideoFeatures
from wordframe.heads._fused import Columns, product, put, score_tiles
from wordframe.heads._kernels import LANES
from wordframe.heads.base import Explanation, VideoGroups, in_recomputed_tiles, scale, unit
from wordframe.heads.tcmgc.aggregation import (
    BidirectionalAggregation,
    InteractiveAggregation,
    LinearSoftmaxAggregation,
    keep_largest,
    keep_largest_and_fuse,
    keep_largest_block,
    keep_places,
    largest_places,
    present_ranks,
)
from wordframe.heads.tcmgc.attending import SpanSimilarity, VideoSide, span_products
from wordframe.heads.tcmgc.lva import LanguageVideoAttention
from wordframe.heads.tcmgc.span import (
    SpanGroups,
    coefficients,
    looked_for,
    projected,
    pulled_back,
    shared_rows,
    shared_statistics,
)

_LIVE_COPIES = 5
"""Tensors (W, D) of a pair alive at LVA's widest point: a, Linear(a), their sum, LN3's result, its normalisation."""
_LIVE_ROWS = 14
"""Tensors (W, R) of a pair alive in the span: attention, its quadratic forms, coefficients, products, gradients."""
_LIVE_MATRICES = 5
"""Matrices (W, W) of a pair alive at once in Bi-SR, its 8-byte indices counted twice."""


class TextConditionedSimilarity(SpanSimilarity):
    """The TC-MGC head. ``method="span"`` gives the numbers of ``"plain"`` at a fraction of the cost and memory: by a
    compiled loop under ``torch.no_grad()`` on CPU in float32, else by tensor operations, with gradients if wanted.

    Args:
        dimension: ``D``.
        max_words: longest text the model is made for; with ``keep_rate`` it fixes ``k = int(max_words · keep_rate)``.
        keep_rate: share of the words kept by SR, 0.1 in the released default.
        heads: heads of the language-video attention.
        softmax_lambda: ``λ`` of ISA.
        dropout, dropout_mode, projections: of the language-video attention.
        mask_padding: leave padded words and frames out; False lets them take part, as the released code does.
    """

    explains: tuple[str, ...] = ("sentence", "words", "parts")
    reads_words = True

    def __init__(
        self,
        *,
        dimension: int,
        max_words: int,
        keep_rate: float,
        heads: int = 1,
        softmax_lambda: float = 100.0,
        dropout: float = 0.3,
        dropout_mode: str = "video",
        projections: bool = False,
        mask_padding: bool = True,
        max_block_mb: int = 256,
    ) -> None:
        super().__init__(
            attention=LanguageVideoAttention(
                dimension=dimension, heads=heads, dropout=dropout, dropout_mode=dropout_mode, projections=projections
            ),
            max_block_mb=max_block_mb,
        )
        self.keep = num_kept_words(max_words, keep_rate)
        self.mask_padding = mask_padding
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
            self.attention(queries, video.contextual, self.frame_mask(video)), dim=-1
        )  # (T, 1 + W, V, D)
        return seen[:, 0], seen[:, 1:]

    def compare(self, text: TextFeatures, video: VideoFeatures, method: str) -> SimilarityOutput:
        if method == "plain":
            return self._compare_plainly(text, video)
        return self._compare_with_side(text, self.video_side(video), [])

    def _compare_with_side(self, text: TextFeatures, video: VideoSide, places: list[Tensor]) -> SimilarityOutput:
        """The numbers of ``_compare_plainly`` from coefficients over each video's basis, ``R = heads · F``.

        places: what Bi-SR keeps, if it was found before; else it is put there.
        """
        mask, lva = self._word_mask(text.word_mask), self.attention
        words = text.words.masked_fill(~mask[:, 0, :, None], 0.0)  # padding may hold anything, NaN too
        columns = torch.cat([text.sentence[:, None], words], dim=1)  # (T, 1 + W, D)
        vectors = unit(columns)
        turned_vectors = torch.cat([vectors[:, :1] @ self.global_matrix, vectors[:, 1:] @ self.local_matrix], dim=1)
        weights = lva.weights(lva.to_query(columns), video.keys, video.frame_mask)
        z = coefficients(lva, video.span, weights)  # (T, 1 + W, V, R + 2)
        plain, turned = projected(video.span, vectors), projected(video.span, turned_vectors)  # (T, 1 + W, V, R + 2)
        both = torch.einsum("tivr,tjvr->tvij", turned[:, 1:], z[:, 1:])
        if not places:
            places.append(largest_places(both, mask, self.keep))
        return self.combine(
            mask,
            torch.einsum("tvr,tvr->tv", z[:, 0], turned[:, 0]),
            torch.einsum("tvr,twvr->tvw", z[:, 0], plain[:, 1:]),
            torch.einsum("twvr,tvr->tvw", z[:, 1:], plain[:, 0]),
            keep_places(both, places[0], mask, self.keep),
        )

    def _compare_plainly(self, text: TextFeatures, video: VideoFeatures) -> SimilarityOutput:
        conditioned_video, conditioned_frames = self.conditioned(text, video)
        sentence, words = unit(text.sentence), unit(text.words)
        mask = self._word_mask(text.word_mask)
        return self.combine(
            mask,
            torch.einsum("td,tvd->tv", sentence @ self.global_matrix, conditioned_video),
            torch.einsum("twd,tvd->tvw", words, conditioned_video),
            torch.einsum("td,twvd->tvw", sentence, conditioned_frames),
            keep_largest_block(
                torch.einsum("tid,tjvd->tvij", words @ self.local_matrix, conditioned_frames), mask, self.keep
            ),
        )

    def _in_blocks(self, text: TextFeatures, video: VideoFeatures, method: str) -> SimilarityOutput:
        if method == "span" and (torch.is_grad_enabled() or self.attention.drops):
            return self._in_tiles(text, video)
        return super()._in_blocks(text, video, method)

    def _in_tiles(self, text: TextFeatures, video: VideoFeatures) -> SimilarityOutput:
        """The span form with gradients: what videos bring is made once, pairs are computed again on the way back."""
        side, (num_videos, num_frames, dimension) = self.video_side(video), video.contextual.shape
        per_pair = self.floats_per_pair(text.words.shape[1], num_frames, dimension, "span")
        return in_recomputed_tiles(
            text,
            self._word_mask(text.word_mask)[:, 0],
            floats_per_text=per_pair * num_videos,
            max_mb=self.max_block_mb,
            compare=lambda some, places: self._compare_with_side(some, side, places),
        )

    def score_groups(
        self,
        text: TextFeatures,
        columns: Columns,
        groups: VideoGroups,
        max_floats: int,
        out: NDArray[np.float32],
    ) -> None:
        from wordframe.heads._kernels import tcmgc  # brings numba

        assert isinstance(groups, SpanGroups)
        lva, dtype = self.attention, groups.frames.dtype
        last_rows = shared_rows(self.attention)

        def transform(values: Tensor, is_sentence: Tensor) -> tuple[Tensor, ...]:
            plain = unit(values)
            turned = product(plain, self.local_matrix.T)
            turned[is_sentence] = product(plain[is_sentence], self.global_matrix.T)
            N = len(values)
            back = pulled_back(lva, torch.cat([plain, turned]))  # (2 N, heads, D or D / heads)
            to_frames = torch.stack([looked_for(lva, values), back[:N], back[N:]], dim=1)
            return to_frames.to(dtype), torch.stack([values, plain, turned], dim=1) @ last_rows.T

        to_frames, fixed = columns.transform(transform)
        matrices, constants = self._matrices(text.words.shape[1]), shared_statistics(lva)
        factors = np.float32(self.over_words.softmax_lambda), np.float32(scale(self.logit_scale))

        def score(texts: slice, at: slice, c: slice) -> None:
            frames, real = groups.frames[c], groups.real[c].numpy()
            tile = np.empty((1 + len(PART_NAMES), texts.stop - texts.start, len(frames), LANES), np.float32)
            tcmgc.score_tile(
                span_products(to_frames[at], frames),
                fixed[at].numpy(),
                columns.starts[texts.start : texts.stop + 1] - at.start,
                real,
                groups.statistics[c].numpy(),
                constants,
                *matrices,
                *factors,
                not self.mask_padding,
                tile,
            )
            put(tile, out, texts, c)

        score_tiles(columns.starts, len(groups.frames), lva.heads * groups.frames.shape[1], max_floats, score)

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
        self,
        mask: Tensor,
        video_sentence: Tensor,
        words: Tensor,
        frames: Tensor,
        block: Tensor,
        frame_mask: Tensor | None = None,
    ) -> SimilarityOutput:
        """From raw similarities to logits.

        mask ``(T, 1, W)``; video_sentence ``(T, V)``; words ``(T, V, W)`` against the conditioned video; frames
        ``(T, V, W)``, the conditioned ones against the sentence; block ``(T, V, k, k)``, what Bi-SR keeps of words
        against conditioned frames; frame_mask ``(1, V, F)`` where they are not conditioned frames, one a word.
        """
        of_frames = mask if frame_mask is None else frame_mask
        ranks, frame_ranks = present_ranks(mask, self.keep), present_ranks(of_frames, self.keep)  # (T, 1, k)
        has_fused = of_frames.sum(dim=-1, keepdim=True) > self.keep
        if not self.mask_padding:
            has_fused = torch.ones_like(has_fused)  # released: an empty sum, 0, takes part like any other entry
        parts = (
            video_sentence,
            self.over_words(keep_largest(words, mask, self.keep), ranks),
            self.over_frames(
                keep_largest_and_fuse(frames, of_frames, self.keep), torch.cat([frame_ranks, has_fused], dim=-1)
            ),
            self.over_both(block, ranks, frame_ranks),
        )
        z = scale(self.logit_scale) * torch.stack(parts, dim=-1)  # (T, V, 4)
        return SimilarityOutput(self.over_parts(z), dict(zip(PART_NAMES, z.unbind(dim=-1), strict=True)))

    def explain(self, text: TextFeatures, video: VideoFeatures) -> Explanation:
        """The four parts, LSA's weights, and the attention of the sentence and of each word, mean over the heads.

        Meant for the few pairs that a person looks at: the attention is made in one piece.
        """
        output = self(text, video)
        text, video = self._accept(text, video)
        queries = torch.cat([text.sentence[:, None], text.words], dim=1)
        weights = self.attention.attention(queries, video.contextual, self.frame_mask(video)).mean(dim=-2)
        return Explanation(output, self.part_weights(output), weights[:, 0], weights[:, 1:])

    def part_weights(self, output: SimilarityOutput) -> Tensor:
        """How much each part counts, ``(T, V, P)``."""
        return self.over_parts.weights(torch.stack(list(output.parts.values()), dim=-1))

    def floats_per_pair(self, num_words: int, num_frames: int, dimension: int, method: str) -> int:
        rows = self.attention.heads * num_frames + 3
        queries, matrix = 1 + num_words, _LIVE_MATRICES * num_words**2
        if method == "plain":
            return queries * (_LIVE_COPIES * dimension + 2 * rows) + matrix
        return queries * _LIVE_ROWS * rows + matrix

    def _word_mask(self, word_mask: Tensor) -> Tensor:
        """What takes part of each text, ``(T, 1, W)``."""
        return (word_mask if self.mask_padding else torch.ones_like(word_mask))[:, None]


def num_kept_words(max_words: int, keep_rate: float) -> int:
    """``k = int(max_words · keep_rate)``, at least 1 and at most ``max_words``.

    >>> num_kept_words(32, 0.1)
    3
    """
    k = int(max_words * keep_rate)
    if not 1 <= k <= max_words:
        raise ValueError(
            f"keep_rate={keep_rate} keeps {k} of max_words={max_words} words; it must be from {1 / max_words:.3g} to 1"
        )
    return k
