"""Scores that must not depend on what stands beside a pair: padding, the batch, the order. For every family.

Hypothesis draws shapes; padding is filled with garbage. Models have ``mask_padding=True``, the default.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wordframe.features import TextFeatures
from wordframe.models import PRESETS, ModelSettings, TextVideoModel

D, MAX_WORDS, MAX_FRAMES = 8, 7, 5
TOLERANCE = 2e-4  # logits up to 100, matrices and λ that amplify rounding

EA = {"family": "ea-clip4clip", "reduction_ratio": 0.5}
KINDS: dict[str, dict[str, object]] = {
    "clip4clip-meanP": {"family": "clip4clip", "sim_header": "meanP"},
    "clip4clip-seqLSTM": {"family": "clip4clip", "sim_header": "seqLSTM"},
    "clip4clip-seqTransf": {"family": "clip4clip", "sim_header": "seqTransf"},
    "clip4clip-tightTransf": {"family": "clip4clip", "sim_header": "tightTransf"},
    "ea-excitation": {**EA, "se_type": "excitation"},
    "ea-aggregation": {**EA, "se_type": "aggregation", "sim_header": "seqTransf"},
    "ea-excitation_aggregation": {**EA, "se_type": "excitation_aggregation"},
    "ea-excitation_seq": {**EA, "se_type": "excitation_seq", "sim_header": "seqLSTM"},
    "ea-excitation_seq_aggregation": {**EA, "se_type": "excitation_seq_aggregation", "sim_header": "seqTransf"},
    "ea-tight": {**EA, "se_type": "excitation", "sim_header": "tightTransf"},
    "xclip-meanP": {"family": "xclip"},
    "xclip-seqTransf": {"family": "xclip", "sim_header": "seqTransf"},
    "tcmgc-meanP": {"family": "tcmgc", "keep_rate": 0.5},
    "tcmgc-seqTransf": {
        "family": "tcmgc",
        "sim_header": "seqTransf",
        "keep_rate": 0.6,
        "conditional_heads": 2,
        "projections": True,
    },
    "tcmgc-without-attention": {
        "family": "tcmgc",
        "sim_header": "seqTransf",
        "keep_rate": 0.6,
        "options": {"attention": "none"},
    },
    "xpool": {"family": "xpool", "conditional_heads": 2},
    "wti-meanP": {"family": "wti"},
    "wti-seqTransf": {"family": "wti", "sim_header": "seqTransf"},
    "tmass": {"family": "tmass", "trials": 5},
    "zero-shot": {"family": "zero-shot"},
}
SPANNING = [kind for kind in KINDS if kind in ("tcmgc-meanP", "tcmgc-seqTransf", "xpool", "tmass")]
"""Those with a form in the span of the frames."""
UNLIMITED = [*SPANNING[:-1], "tcmgc-without-attention", "wti-meanP"]
"""Those whose weights count neither words nor frames."""


@cache
def model_of(kind: str) -> TextVideoModel:
    torch.manual_seed(7)
    limits = {"max_words": MAX_WORDS, "max_frames": MAX_FRAMES, "positions": 12}
    shape = {**limits, "layers": 1, "heads": 2, "softmax_lambda": 10.0, **KINDS[kind]}
    model = TextVideoModel(settings=ModelSettings.from_dict(shape), dimension=D)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name != "similarity.logit_scale":
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


@dataclass(frozen=True)
class Batch:
    """Real words and frames of each item, without padding."""

    sentences: Tensor
    words: list[Tensor]
    frames: list[Tensor]

    def scores(self, kind: str, num_words: int, num_frames: int, garbage: float, method: str = "auto") -> Tensor:
        """Logits, and parts where there are, with padding up to the given lengths, filled with ``garbage``."""
        model = model_of(kind)
        words, word_mask = _padded(self.words, num_words, garbage)
        frames, frame_mask = _padded(self.frames, num_frames, garbage)
        with torch.no_grad():
            text = TextFeatures(self.sentences, words, word_mask)
            output = model.score(text, model.contextualize(frames, frame_mask), method=method)
        return torch.stack([output.logits, *output.parts.values()])

    def pick(self, texts: list[int], videos: list[int]) -> Batch:
        return Batch(self.sentences[texts], [self.words[t] for t in texts], [self.frames[v] for v in videos])

    @property
    def longest_text(self) -> int:
        return max(map(len, self.words))

    @property
    def longest_video(self) -> int:
        return max(map(len, self.frames))


def _padded(items: list[Tensor], length: int, garbage: float) -> tuple[Tensor, Tensor]:
    out = torch.full((len(items), length, D), garbage)
    for row, item in zip(out, items, strict=True):
        row[: len(item)] = item
    return out, torch.arange(length) < torch.tensor([len(item) for item in items])[:, None]


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    texts = draw(st.lists(st.integers(1, MAX_WORDS), min_size=1, max_size=4))
    videos = draw(st.lists(st.integers(1, MAX_FRAMES), min_size=1, max_size=4))
    return Batch(
        torch.randn(len(texts), D, generator=generator),
        [torch.randn(n, D, generator=generator) for n in texts],
        [torch.randn(n, D, generator=generator) for n in videos],
    )


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=TOLERANCE, rtol=1e-5)


many = settings(max_examples=15, deadline=None)


@pytest.mark.parametrize("kind", KINDS)
@many
@given(batch=batches(), data=st.data())
def test_growing_or_shrinking_the_padding_changes_no_score(kind: str, batch: Batch, data: st.DataObject) -> None:
    expected = batch.scores(kind, batch.longest_text, batch.longest_video, 0.0)
    num_words = data.draw(st.integers(batch.longest_text, MAX_WORDS))
    num_frames = data.draw(st.integers(batch.longest_video, MAX_FRAMES))
    garbage = data.draw(st.sampled_from([-3.0, 0.5, 40.0]))
    close(batch.scores(kind, num_words, num_frames, garbage), expected)


def test_every_family_is_held() -> None:
    assert {str(kind["family"]) for kind in KINDS.values()} == {preset.settings.family for preset in PRESETS.values()}


@pytest.mark.parametrize("kind", UNLIMITED)
@many
@given(batch=batches())
def test_padding_may_exceed_the_model_lengths(kind: str, batch: Batch) -> None:
    expected = batch.scores(kind, batch.longest_text, batch.longest_video, 0.0)
    close(batch.scores(kind, MAX_WORDS + 4, MAX_FRAMES + 3, 9.0), expected)


@pytest.mark.parametrize("kind", SPANNING)
@many
@given(batch=batches())
def test_span_equals_plain(kind: str, batch: Batch) -> None:
    sizes = batch.longest_text, batch.longest_video
    close(batch.scores(kind, *sizes, 0.0, "span"), batch.scores(kind, *sizes, 0.0, "plain"))


@pytest.mark.parametrize("kind", KINDS)
@many
@given(batch=batches())
def test_one_pair_alone_is_the_pair_inside_the_batch(kind: str, batch: Batch) -> None:
    together = batch.scores(kind, MAX_WORDS, MAX_FRAMES, 1.0)
    for t, words in enumerate(batch.words):
        for v, frames in enumerate(batch.frames):
            alone = batch.pick([t], [v]).scores(kind, len(words), len(frames), 0.0)
            close(alone[:, 0, 0], together[:, t, v])


@pytest.mark.parametrize("kind", KINDS)
@many
@given(batch=batches(), data=st.data())
def test_permuting_texts_or_videos_permutes_rows_or_columns(kind: str, batch: Batch, data: st.DataObject) -> None:
    texts = data.draw(st.permutations(range(len(batch.words))))
    videos = data.draw(st.permutations(range(len(batch.frames))))
    expected = batch.scores(kind, MAX_WORDS, MAX_FRAMES, 0.0)[:, texts][:, :, videos]
    close(batch.pick(list(texts), list(videos)).scores(kind, MAX_WORDS, MAX_FRAMES, 0.0), expected)
