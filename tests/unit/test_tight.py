"""The tight similarity: by hand, one pair at a time, padded frames, blocks."""

from __future__ import annotations

import pytest
import torch

from wordframe.features import TextFeatures, VideoFeatures
from wordframe.heads import TemporalTransformer, TightSimilarity, Transformer
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


def test_a_fresh_model_starts_and_drops_as_the_authors_do() -> None:
    """Pooler and score from N(0, 0.02) without bias; a tenth of the joint transformer's input is dropped."""
    torch.manual_seed(0)
    settings = ModelSettings(family="clip4clip", sim_header="tightTransf", heads=2, layers=1)
    head = TextVideoModel(settings=settings, dimension=64).similarity
    assert isinstance(head, TightSimilarity)
    for linear in (head.pool, head.score):
        assert linear.weight.std().item() == pytest.approx(0.02, rel=0.3)
        assert not linear.bias.any()
    seen: list[torch.Tensor] = []
    head.transformer.blocks[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    x, mask = torch.ones(8, 13, 64), torch.ones(8, 13, dtype=torch.bool)
    for mode in (True, False):
        head.train(mode)
        head.transformer(x, mask)
    assert (seen[0] == 0).float().mean().item() == pytest.approx(0.1, abs=0.02)
    torch.testing.assert_close(seen[0][seen[0] != 0] * 0.9, seen[1][seen[0] != 0])


def test_the_temporal_transformer_drops_nothing() -> None:
    torch.manual_seed(0)
    head, frames = TemporalTransformer(dimension=8, heads=2, layers=1, positions=4).train(), torch.randn(2, 4, 8)
    mask = torch.ones(2, 4, dtype=torch.bool)
    assert torch.equal(head(frames, mask), head(frames, mask))


def test_there_is_no_vector_per_video() -> None:
    settings = ModelSettings(family="clip4clip", sim_header="tightTransf", heads=2, layers=1)
    model = TextVideoModel(settings=settings, dimension=8)
    assert not hasattr(model.similarity, "logit_scale")
    with pytest.raises(TypeError, match=r"clip4clip, tightTransf has no single vector per video.*use score\(\)"):
        model.video_vectors(case()[2])
