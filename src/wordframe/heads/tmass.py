"""T-MASS: a text is a mass around its sentence, as wide as the video asks for (Wang et al., CVPR 2024).

With ``t`` a text's sentence, ``f_1 … f_F`` a video's frames, ``S_i = cos(t, f_i)`` and ``v`` the video as X-Pool's
attention pools it for ``t`` (arXiv 2403.17998, section 3): radius ``R = exp(S W + b)`` of size ``D``, stochastic text
``t_s = t + R ε``, ``logits = s · cos(t_s, v)``. What is done when:

- training (``for_training``): a text draws one ``ε ~ N(0, 1)`` and takes the radius of its own video; this ``t_s``
  meets all videos. The support text ``t_sup = t + R (v − t) / |v − t|``, on the mass's surface towards its video, goes
  through the same contrastive loss, which is added ``support_weight`` times;
- scoring: ``trials`` texts are drawn with the radius of each pair, and the highest cosine counts, as the paper has it.
  The ``ε`` are drawn once, from the seed ``NOISE_SEED``, are the same for all pairs and are stored with the weights:
  a pair's score never changes, whatever is scored beside it. With ``trials=0`` the text is ``t`` itself.

``W`` starts as ones on the diagonal, ``b`` at zero, as released. ``noise="uniform"`` draws ``ε`` from [0, 1) as the
released code does by default, where the paper has a normal. ``v`` of the support text is the pair's, as in the paper;
the released code takes the mean of a video as all texts of the batch see it. A missing frame adds nothing to ``S W``.

``R`` is in the units of the features: it starts near 1 an entry, which is what CLIP's own features, about 10 long, were
meant for. Neighbours: ``xpool.py`` (the same pooling, without the mass), ``tcmgc/attending.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wordframe.features import SimilarityOutput, TextFeatures, VideoFeatures
from wordframe.heads.base import Explanation, in_blocks, scale, unit
from wordframe.heads.tcmgc.attending import AttendingSimilarity, VideoSide
from wordframe.heads.tcmgc.lva import LanguageVideoAttention

NOISE_SEED = 0
"""Of the trials' ``ε``. It belongs to the method: with another one a trained model scores a little differently."""
NOISES = ("normal", "uniform")
_CPU_MB = 16
"""A block on CPU: what a pair has of size ``D`` is read several times, and then still lies in the cache."""
_LIVE_COPIES = 6
"""Vectors (D,) of a pair alive at once: its video, the radius and what multiplies the trials' noise."""


@dataclass(frozen=True)
class _Seen:
    """Videos with what the span form makes of them."""

    video: VideoFeatures
    side: VideoSide

    def __len__(self) -> int:
        return len(self.video)

    def __getitem__(self, rows: slice) -> _Seen:
        return _Seen(self.video[rows], self.side[rows])


class StochasticTextSimilarity(AttendingSimilarity):
    """The T-MASS head. ``method="span"`` gives the numbers of ``"plain"`` without a vector a trial: the trials' cosines
    are products of what a pair has with the noise that all share.

    Args:
        dimension: ``D``.
        max_frames: how many frames ``W`` weighs; longer videos are refused.
        trials: texts drawn of each mass in scoring; 0 takes its centre.
        noise: ``normal`` or ``uniform``.
        support_weight: of the support text's loss.
        heads, dropout, dropout_mode: of the attention, as in X-Pool.
    """

    explains = ("sentence",)
    trial_noise: Tensor

    def __init__(
        self,
        *,
        dimension: int,
        max_frames: int,
        trials: int = 20,
        noise: str = "normal",
        support_weight: float = 0.8,
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
        if noise not in NOISES:
            raise ValueError(f"noise={noise!r} is not allowed; use one of {', '.join(map(repr, NOISES))}")
        if trials < 0 or support_weight < 0:
            raise ValueError(f"trials={trials} and support_weight={support_weight} must be 0 or more")
        self.max_frames, self.trials, self.noise, self.support_weight = max_frames, trials, noise, support_weight
        self.radius_of = nn.Linear(max_frames, dimension)
        nn.init.eye_(self.radius_of.weight)
        nn.init.zeros_(self.radius_of.bias)
        generator = torch.Generator().manual_seed(NOISE_SEED)
        drawn = self._draw(max(trials, 1), dimension, generator=generator)
        self.register_buffer("trial_noise", drawn if trials else torch.zeros_like(drawn))  # (M, D)

    def _draw(self, *size: int, generator: torch.Generator | None = None) -> Tensor:
        make = torch.randn if self.noise == "normal" else torch.rand
        return make(*size, generator=generator)

    def radius(self, cosines: Tensor) -> Tensor:
        """``R (..., D)`` from the cosines ``(..., F)`` of a sentence with a video's frames, 0 where padded."""
        num_frames = cosines.shape[-1]
        weight = self.radius_of.weight[:, :num_frames]  # a video of fewer frames: the missing ones add nothing
        return (cosines @ weight.T + self.radius_of.bias).exp()

    def compare(self, text: TextFeatures, video: VideoFeatures, method: str) -> SimilarityOutput:
        if method == "span":
            return self._compare_in_span(text, _Seen(video, self.video_side(video)))
        R, t = self.radius(self._cosines(text.sentence[:, None], video)), text.sentence  # (T, V, D)
        v = unit(self._pooled(t, video))  # (T, V, D)
        drawn = t[:, None, None] + R[:, :, None] * self.trial_noise  # (T, V, M, D)
        return self._best(torch.einsum("tvmd,tvd->tvm", unit(drawn), v))

    def _compare_in_span(self, text: TextFeatures, seen: _Seen) -> SimilarityOutput:
        R, t = self.radius(self._cosines(text.sentence[:, None], seen.video)), text.sentence  # (T, V, D)
        z = self.sentence_coefficients(t, seen.side)  # (T, V, R + 2)
        return self._best(self._trial_cosines(t, R, torch.einsum("tvr,vrd->tvd", z, seen.side.span.basis)))

    def _best(self, trials: Tensor) -> SimilarityOutput:
        logits = scale(self.logit_scale) * trials.amax(dim=-1)  # (T, V, M) → (T, V)
        return SimilarityOutput(logits, {"video_sentence": logits})

    def _in_blocks(self, text: TextFeatures, video: VideoFeatures, method: str) -> SimilarityOutput:
        if method == "plain":
            return super()._in_blocks(text, video, method)
        # Spans once for all blocks: a block holds few pairs, with their radius each, and would make them anew.
        seen = _Seen(video, self.video_side(video))
        num_frames, dimension = video.frames.shape[1:]
        floats = self.floats_per_pair(0, num_frames, dimension, method)
        megabytes = min(self.max_block_mb, _CPU_MB) if text.sentence.device.type == "cpu" else self.max_block_mb
        pairs = megabytes * 2**20 // (floats * text.sentence.element_size())
        return in_blocks(text, seen, max_pairs=pairs, compare=self._compare_in_span)

    def _trial_cosines(self, t: Tensor, R: Tensor, v: Tensor) -> Tensor:
        """``cos(t + R ε, v)`` of each trial, ``(T, V, M)``, for unit ``v (T, V, D)``: three products with the noise.

        ``(t + R ε) · v = t · v + (R v) · ε`` and ``|t + R ε|² = |t|² + 2 (t R) · ε + R² · ε²``.
        """
        noise = self.trial_noise
        along = torch.einsum("td,tvd->tv", t, v)[..., None] + (R * v) @ noise.T
        length2 = t.square().sum(dim=-1)[:, None, None] + 2 * (t[:, None] * R) @ noise.T + R.square() @ noise.square().T
        # a sum that may cancel: rounding can leave 0 or less of it
        return along * length2.clamp(min=torch.finfo(length2.dtype).tiny).rsqrt()

    def for_training(
        self, text: TextFeatures, video: VideoFeatures, *, first: int
    ) -> tuple[SimilarityOutput, tuple[tuple[float, Tensor], ...]]:
        text, video = self._accept(text, video)
        with torch.autocast(device_type=text.sentence.device.type, enabled=False):
            return self._stochastic(text, video, slice(first, first + len(text)))

    def _stochastic(
        self, text: TextFeatures, video: VideoFeatures, own: slice
    ) -> tuple[SimilarityOutput, tuple[tuple[float, Tensor], ...]]:
        t = text.sentence
        R = self.radius(self._cosines(t, video[own]))  # (B, D)
        pooled = self._pooled(t, video)  # (B, V, D)
        noise = self._draw(*t.shape).to(t)
        towards = pooled[:, own].diagonal().T - t  # (B, D)
        s, v = scale(self.logit_scale), unit(pooled)
        logits = s * torch.einsum("td,tvd->tv", unit(t + R * noise), v)
        support = s * torch.einsum("td,tvd->tv", unit(t + R * unit(towards)), v)
        return SimilarityOutput(logits, {"video_sentence": logits}), ((self.support_weight, support),)

    def explain(self, text: TextFeatures, video: VideoFeatures) -> Explanation:
        """The output, and the attention of the sentences."""
        output = self(text, video)
        return Explanation(output, sentence_attention=self.sentence_attention(*self._accept(text, video)))

    def floats_per_pair(self, num_words: int, num_frames: int, dimension: int, method: str) -> int:
        copies = _LIVE_COPIES + 2 * len(self.trial_noise) if method == "plain" else _LIVE_COPIES
        return copies * dimension + 14 * (self.attention.heads * num_frames + 3)

    def _pooled(self, sentence: Tensor, video: VideoFeatures) -> Tensor:
        """``v (T, V, D)``, not normalised: the videos as X-Pool gives them to each sentence ``(T, D)``."""
        frames = video.contextual.masked_fill(~video.frame_mask[..., None], 0.0)  # padding may hold anything, NaN too
        pooled: Tensor = self.attention(sentence[:, None], frames, video.frame_mask)[:, 0]
        return pooled

    def _cosines(self, sentence: Tensor, video: VideoFeatures) -> Tensor:
        """``S (T, V, F)`` of sentences ``(T, 1, D)`` with all videos, or ``(B, F)`` of ``(B, D)`` with one each."""
        num_frames, most = video.frames.shape[1], self.radius_of.in_features
        if num_frames > most:
            raise ValueError(f"{num_frames} frames exceed the {most} this model is made for (max_frames={most})")
        frames = unit(video.frames.masked_fill(~video.frame_mask[..., None], 0.0))
        return torch.einsum("...d,...fd->...f", unit(sentence), frames)
