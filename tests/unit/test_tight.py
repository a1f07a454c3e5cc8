"""The tight similarity: by hand, one pair at a time, padded frames, blocks."""

from __future__ import annotations

import pytest
import torch

from wordframe.features import TextFeatures, VideoFeatures
from wordframe.heads import TightSimilarity, Transformer
from wordframe.models import ModelSettings, TextVideoModel


def case(dimension: int = 8) -> tuple[TightSimilarity, TextFeatures, VideoFeatures]:
    torch.manual_seed(0)
    transformer = Transformer(dimension=dimension, heads=2, layers=2, positions=6)
    head = TightSimilarity(dimension=dimension, transformer=transformer).eval()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    text = TextFeatures(torch.randn(3, dimension), torch.randn(3, 2, dimension), torch.ones(3, 2, dtype=torch.bool))
    frames = torch.randn(4, 5, dimension)
    mask = torch.arange(5) < torch.tensor([5, 3, 1, 4])[:, None]
    return head, text, VideoFeatures(torch.zeros_like(frames), frames, mask)


def test_by_hand() -> None:
    head, text, video = case(dimension=2)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()
        head.pool_norm.weight.fill_(1.0)
        head.pool.weight.copy_(torch.eye(2))
        head.score.weight.copy_(torch.tensor([[1.0, 10.0]]))
        head.score.bias.fill_(0.5)
    sentence = torch.tensor([[5.0, 1.0]] * 3)  # LayerNorm gives (1, -1)
    logits = head(TextFeatures(sentence, text.words, text.word_mask), video).logits
    high, low = (x * torch.tensor(1.702 * x).sigmoid().item() for x in (1.0, -1.0))  # QuickGELU
    torch.testing.assert_close(logits, torch.full((3, 4), high + 10 * low + 0.5))


def test_equals_one_pair_at_a_time_without_its_padding() -> None:
    head, text, video = case()
    logits = head(text, video).logits
    for t in range(3):
        for v in range(4):
            n = int(video.frame_mask[v].sum())
            sequence = torch.cat([text.sentence[t][None], video.contextual[v, :n]])[None]
            first = head.transformer(sequence, torch.ones(1, 1 + n, dtype=torch.bool))[0, 0]
            centred = first - first.mean()
            normed = centred / (centred.square().mean() + 1e-12).sqrt() * head.pool_norm.weight + head.pool_norm.bias
            hidden = head.pool.weight @ normed + head.pool.bias
            hidden = hidden / (1 + torch.exp(-1.702 * hidden))
            expected = (head.score.weight @ hidden + head.score.bias)[0]
            torch.testing.assert_close(logits[t, v], expected, atol=1e-5, rtol=1e-5)


def test_blocks_change_nothing() -> None:
    head, text, video = case()
    expected = head(text, video).logits
    head.max_block_mb = 0
    torch.testing.assert_close(head(text, video).logits, expected)


def test_there_is_no_vector_per_video() -> None:
    settings = ModelSettings(family="clip4clip", sim_header="tightTransf", heads=2, layers=1)
    model = TextVideoModel(settings=settings, dimension=8)
    assert not hasattr(model.similarity, "logit_scale")
    with pytest.raises(TypeError, match=r"clip4clip, tightTransf has no single vector per video.*use score\(\)"):
        model.video_vectors(case()[2])
