"""Untrained language-video attention: by hand, against the plain order, against the trained module at its start."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from wordframe.features import SimilarityOutput, TextFeatures, VideoFeatures
from wordframe.heads import ZeroShotAttention
from wordframe.heads.tcmgc.lva import LanguageVideoAttention


def texts(sentence: Tensor) -> TextFeatures:
    return TextFeatures(sentence, sentence[:, None], torch.ones(len(sentence), 1, dtype=torch.bool))


def videos(frames: Tensor, mask: Tensor | None = None) -> VideoFeatures:
    return VideoFeatures(frames, frames, torch.ones(frames.shape[:2], dtype=torch.bool) if mask is None else mask)


def made_up(T: int, V: int, num_frames: int, D: int, seed: int = 0) -> tuple[TextFeatures, VideoFeatures]:
    chance = torch.Generator().manual_seed(seed)
    mask = torch.arange(num_frames) < torch.randint(1, num_frames + 1, (V, 1), generator=chance)
    frames = torch.randn(V, num_frames, D, generator=chance)
    return texts(torch.randn(T, D, generator=chance)), videos(frames, mask)


def plainly(text: TextFeatures, video: VideoFeatures, sharpness: float) -> tuple[Tensor, Tensor]:
    """Logits ``(T, V)`` and attention ``(T, V, F)``, pair by pair and in the order of the equations."""
    D = text.sentence.shape[1]
    logits, attention = torch.zeros(len(text), len(video)), torch.zeros(len(text), *video.frame_mask.shape)
    for t, sentence in enumerate(text.sentence):
        for v in range(len(video)):
            real = video.frame_mask[v].nonzero().flatten()
            x = F.layer_norm(video.contextual[v, real], (D,))
            alpha = (sharpness * x @ F.layer_norm(sentence, (D,)) / math.sqrt(D)).softmax(dim=0)
            a = F.layer_norm(alpha @ x, (D,))
            o = F.layer_norm(a + a, (D,))
            logits[t, v] = 100 * F.cosine_similarity(o, sentence, dim=0)
            attention[t, v, real] = alpha
    return logits, attention


def test_a_case_by_hand() -> None:
    # D = 2: LN gives (1, -1) and (-1, 1), LN(q) = (1, -1), so the logits of α are ± 2 · 3 / sqrt(2)
    text, video = texts(torch.tensor([[2.0, 0.0]])), videos(torch.tensor([[[5.0, 1.0], [0.0, 3.0]]]))
    output = ZeroShotAttention()(text, video)
    first = 1 / (1 + math.exp(-12 / math.sqrt(2)))
    assert ZeroShotAttention().attention(text, video).flatten().tolist() == pytest.approx([first, 1 - first], rel=1e-3)
    # Σ α x points to (1, -1), and the sentence to (1, 0)
    assert output.logits.item() == pytest.approx(100 / math.sqrt(2), rel=1e-5)
    assert torch.equal(output.parts["video_sentence"], output.logits)
    assert set(output.parts) == {"video_sentence"}


@settings(deadline=None, max_examples=30)
@given(
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 9), st.integers(8, 40)),
    sharpness=st.sampled_from([0.5, 1.0, 3.0, 10.0]),
    seed=st.integers(0, 10**6),
)
def test_equals_the_plain_order(sizes: tuple[int, int, int, int], sharpness: float, seed: int) -> None:
    text, video = made_up(*sizes, seed=seed)
    head = ZeroShotAttention(sharpness=sharpness)
    logits, attention = plainly(text, video, sharpness)
    # D from 8 on: in the plane of D = 2 frames can cancel, and the ε of LN2 shows, which the span leaves out
    torch.testing.assert_close(head(text, video).logits / 100, logits / 100, atol=1e-5, rtol=0)
    torch.testing.assert_close(head.attention(text, video), attention, atol=1e-5, rtol=0)


def test_equals_the_trained_attention_before_training() -> None:
    text, video = made_up(4, 6, 5, 32)
    lva = LanguageVideoAttention(dimension=32).eval()
    seen = lva(text.sentence[:, None], video.frames, video.frame_mask)[:, 0]  # (T, V, D)
    expected = torch.einsum("td,tvd->tv", F.normalize(text.sentence, dim=-1), F.normalize(seen, dim=-1))
    torch.testing.assert_close(ZeroShotAttention(sharpness=1.0)(text, video).logits / 100, expected, atol=1e-5, rtol=0)
    weights = lva.attention(text.sentence[:, None], video.frames, video.frame_mask)[:, 0, :, 0]
    torch.testing.assert_close(ZeroShotAttention(sharpness=1.0).attention(text, video), weights, atol=1e-5, rtol=0)


@pytest.mark.parametrize("padding", [0.0, 1e6, float("nan"), float("inf")])
def test_padding_never_influences(padding: float) -> None:
    text, video = made_up(3, 4, 6, 16)
    head = ZeroShotAttention()
    frames = video.frames.masked_fill(~video.frame_mask[..., None], padding)
    frames = torch.cat([frames, torch.full((4, 3, 16), padding)], dim=1)
    padded = videos(frames, F.pad(video.frame_mask, (0, 3)))
    torch.testing.assert_close(head(text, padded).logits, head(text, video).logits)
    attention = head.attention(text, padded)
    assert not attention[:, ~padded.frame_mask].any()
    torch.testing.assert_close(attention.sum(dim=-1), torch.ones(3, 4))


def test_a_pair_alone_scores_as_in_the_batch_and_blocks_change_nothing() -> None:
    text, video = made_up(30, 40, 120, 8)
    narrow = ZeroShotAttention(max_block_mb=1)
    pairs = 2**20 // (4 * narrow.floats_per_pair(1, 120, 8, "span"))
    assert pairs < 30 * 40, "one block would hold all pairs, so this would test nothing"
    whole = ZeroShotAttention(max_block_mb=1024)(text, video).logits
    torch.testing.assert_close(narrow(text, video).logits, whole)
    torch.testing.assert_close(ZeroShotAttention()(text[3:4], video[7:8]).logits, whole[3:4, 7:8])


def test_no_block_is_larger_than_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    text, video = made_up(60, 40, 120, 8)
    narrow, sizes = ZeroShotAttention(max_block_mb=1), []
    compare = narrow.compare

    def noted(some: TextFeatures, these: VideoFeatures, method: str) -> SimilarityOutput:
        sizes.append(4 * len(some) * len(these) * narrow.floats_per_pair(1, 120, 8, "span"))
        return compare(some, these, method)

    monkeypatch.setattr(narrow, "compare", noted)
    narrow(text, video)
    assert len(sizes) > 1
    assert 2**19 < max(sizes) <= 2**20


def test_videos_without_a_real_frame_are_refused() -> None:
    text, video = made_up(1, 2, 3, 8)
    empty = videos(video.frames, torch.tensor([[True, True, False], [False, False, False]]))
    for score in (ZeroShotAttention(), ZeroShotAttention().attention):
        with pytest.raises(ValueError, match=r"video 1 has nothing real \(its mask is all False\)"):
            score(text, empty)


def test_featureless_frames_and_sentences_give_zero_not_nan() -> None:
    text, video = texts(torch.zeros(1, 8)), videos(torch.ones(1, 2, 8))
    assert ZeroShotAttention()(text, video).logits.tolist() == [[0.0]]


def test_it_has_nothing_to_learn_and_explains_itself() -> None:
    text, video = made_up(2, 3, 4, 8)
    head = ZeroShotAttention()
    assert not list(head.parameters())
    explanation = head.explain(text, video)
    assert torch.equal(explanation.output.logits, head(text, video).logits)
    assert explanation.sentence_attention is not None
    assert torch.equal(explanation.sentence_attention, head.attention(text, video))


@pytest.mark.parametrize("sharpness", [0.0, -1.0, float("nan")])
def test_sharpness_is_positive(sharpness: float) -> None:
    with pytest.raises(ValueError, match="must be above 0; 0 would be mean pooling, see PooledSimilarity"):
        ZeroShotAttention(sharpness=sharpness)
