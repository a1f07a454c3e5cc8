"""What is trained: heads that take the offline encoder's features, each starting as an untrained ranking.

Most are the package's own models at ``D`` = 384. Besides, in front of a head that looks at the sentence alone:
``Mapped``, an affine map of it, learned, or computed from the captions' mean and covariance; ``WeighedWords``, whose
words count more or less.
Neighbours: ``train.py`` (how), ``evaluate.py`` (the untrained ones, too).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from offline_encoder import attention, mean_pooling
from torch import Tensor, nn

from text_trained.captions import MAX_WORDS
from text_trained.stand_ins import NUM_FRAMES
from wordframe import models
from wordframe.encoders import OfflineEncoder
from wordframe.features import SimilarityOutput, TextFeatures, VideoFeatures
from wordframe.heads import LOGIT_SCALE, PooledSimilarity, Similarity, ZeroShotAttention, scale, unit
from wordframe.models import ModelSettings, TextVideoModel

DIMENSION = OfflineEncoder.dimension
START_SCALE = 20.0
"""Cosines of matching pairs lie near 0.3: at the published start, 100, the first steps would only lower the scale."""

Score = Callable[[TextFeatures, VideoFeatures], Tensor]


class Mapped(nn.Module):
    """``n(sentence) A + b`` against ``n(frames) + c`` in a head that looks at the sentence alone.

    Args:
        head: it has nothing to train.
        matrix, shift: ``A`` and ``b`` at the start, identity and zero by default.
        both: frames have a matrix of their own.
    """

    def __init__(
        self, head: Similarity, matrix: Tensor | None = None, shift: Tensor | None = None, *, both: bool = False
    ) -> None:
        super().__init__()
        self.head = head.requires_grad_(False)
        self.matrix = nn.Parameter(torch.eye(DIMENSION) if matrix is None else matrix)
        self.shift = nn.Parameter(torch.zeros(DIMENSION) if shift is None else shift)
        self.register_parameter("frame_matrix", nn.Parameter(torch.eye(DIMENSION)) if both else None)
        self.frame_shift = nn.Parameter(torch.zeros(DIMENSION))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(START_SCALE)))

    def forward(self, text: TextFeatures, video: VideoFeatures) -> SimilarityOutput:
        mapped = replace(text, sentence=unit(text.sentence) @ self.matrix + self.shift)
        frames = unit(video.contextual)
        frames = (frames if self.frame_matrix is None else frames @ self.frame_matrix) + self.frame_shift
        logits = self.head(mapped, video.with_contextual(frames)).logits
        return SimilarityOutput(scale(self.logit_scale) * logits / LOGIT_SCALE)


class WeighedWords(nn.Module):
    """A sentence as the mean of its words weighted by ``softmax(words · w)``; ``w = 0`` is MiniLM's own sentence."""

    def __init__(self, head: Similarity) -> None:
        super().__init__()
        self.head = head.requires_grad_(False)
        self.weighing = nn.Parameter(torch.zeros(DIMENSION))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(START_SCALE)))

    def forward(self, text: TextFeatures, video: VideoFeatures) -> SimilarityOutput:
        weights = (text.words @ self.weighing).masked_fill(~text.word_mask, float("-inf")).softmax(dim=-1)  # (T, W)
        weighed = replace(text, sentence=torch.einsum("tw,twd->td", weights, text.words))
        return SimilarityOutput(scale(self.logit_scale) * self.head(weighed, video).logits / LOGIT_SCALE)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """make: the head at its start; trained: what the names of its trained parameters contain, all if empty;
    matrix_rate: learning rate of ``D × D`` matrices, small_rate: of all else; decorrelation: weight of SDR in the loss;
    sources: of the captions.
    """

    name: str
    make: Callable[[], nn.Module]
    trained: tuple[str, ...] = ()
    matrix_rate: float = 1e-4
    small_rate: float = 1e-3
    decorrelation: float = 0.0
    steps: int = 300
    batch: int = 64
    sources: tuple[str, ...] = ("msvd", "activitynet")


def _model(**settings: Any) -> TextVideoModel:
    model = TextVideoModel(
        settings=ModelSettings(max_words=MAX_WORDS, max_frames=NUM_FRAMES, **settings), dimension=DIMENSION
    )
    model.similarity.logit_scale.data.fill_(math.log(START_SCALE))
    return model


def _tcmgc(**settings: Any) -> TextVideoModel:
    return _model(family="tcmgc", **{"keep_rate": 0.1, **settings})


def _ea_clip4clip() -> TextVideoModel:
    return _model(family="ea-clip4clip", se_type="excitation_aggregation", reduction_ratio=4.0)


def _mapped() -> nn.Module:
    return Mapped(ZeroShotAttention())


def _both_mapped() -> nn.Module:
    return Mapped(ZeroShotAttention(), both=True)


OWN = ("written",)
RECIPES = (
    Recipe(name="linear map, mean pooling", make=lambda: Mapped(PooledSimilarity()), batch=128),
    Recipe(name="linear map, attention", make=_mapped, batch=128),
    Recipe(
        name="linear map, attention, a fifth of the rate", make=_mapped, batch=128, matrix_rate=2e-5, small_rate=2e-4
    ),
    Recipe(name="linear map, attention, 1000 steps", make=_mapped, batch=128, steps=1000),
    Recipe(name="linear map, attention, our own sentences", make=_mapped, batch=128, steps=1000, sources=OWN),
    Recipe(name="both sides mapped, attention", make=_both_mapped, batch=128, steps=1000),
    Recipe(name="both sides mapped, our own sentences", make=_both_mapped, batch=128, steps=1000, sources=OWN),
    Recipe(name="words weighed, attention", make=lambda: WeighedWords(ZeroShotAttention()), batch=128, small_rate=1e-2),
    Recipe(name="EA-CLIP4Clip", make=_ea_clip4clip, batch=128),
    Recipe(name="X-CLIP", make=lambda: _model(family="xclip")),
    Recipe(
        name="TC-MGC, aggregation and norms only",
        make=_tcmgc,
        trained=("over_", "norm", "logit_scale"),
        decorrelation=0.5,
    ),
    Recipe(name="TC-MGC", make=_tcmgc, decorrelation=0.5),
    Recipe(name="TC-MGC, 900 steps of 32, no SDR", make=_tcmgc, steps=900, batch=32),
)


def untrained() -> dict[str, Score]:
    """The rankings to beat, and what TC-MGC and X-CLIP are before training."""
    made = {"X-CLIP, untrained": _model(family="xclip"), "TC-MGC, untrained": _tcmgc()}
    return {
        "attention (zero-shot)": attention(),
        "mean pooling": mean_pooling,
        **{name: score_of(model) for name, model in made.items()},
    }


def from_captions_alone(sentence: Tensor) -> dict[str, Score]:
    """Maps of the sentence by the mean and covariance of captions ``(N, D)``: no stand-in takes part."""
    captions = unit(sentence)
    mean = captions.mean(dim=0)
    centred = captions - mean
    variance, axes = torch.linalg.eigh((centred.T @ centred / len(centred)).double())
    whitening = (axes @ torch.diag((variance + variance.mean()).rsqrt()) @ axes.T).float()
    eye = torch.eye(DIMENSION)
    maps = {"sentences centred": (eye, -mean), "sentences half centred": (eye, -mean / 2)}
    maps["sentences centred and evened out"] = (whitening, -mean @ whitening)
    return {name: score_of(Mapped(ZeroShotAttention(), matrix, shift)) for name, (matrix, shift) in maps.items()}


def score_of(head: nn.Module) -> Score:
    """Logits of a head in use, within its limits: no gradients, no dropout."""

    @torch.inference_mode()
    def score(text: TextFeatures, video: VideoFeatures) -> Tensor:
        head.eval()
        if isinstance(head, TextVideoModel):
            return models.score(head, models.fit_text(text, head.max_words), models.contextualize(head, video))
        logits: Tensor = head(text, video).logits
        return logits

    return score
