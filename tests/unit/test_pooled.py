"""One vector a video: by hand, a slow plain version, tiny vectors, precision."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from wordframe.features import TextFeatures, VideoFeatures
from wordframe.heads import Aggregation, Excitation, PooledSimilarity, scale, unit
from wordframe.models import ModelSettings, TextVideoModel


def texts(*sentences: list[float]) -> TextFeatures:
    sentence = torch.tensor(sentences)
    return TextFeatures(sentence, sentence[:, None], torch.ones(len(sentence), 1, dtype=torch.bool))


def videos(frames: Tensor, mask: Tensor | None = None) -> VideoFeatures:
    return VideoFeatures(frames, frames, torch.ones(frames.shape[:2], dtype=torch.bool) if mask is None else mask)


def test_mean_by_hand() -> None:
    head = PooledSimilarity()
    frames = torch.tensor([[[3.0, 0.0], [0.0, 5.0], [7.0, 7.0]]])
    mask = torch.tensor([[True, True, False]])
    output = head(texts([2.0, 0.0], [0.0, -4.0]), videos(frames, mask))
    # n(3, 0) and n(0, 5) average to the diagonal; s = 100
    torch.testing.assert_close(output.logits, torch.tensor([[100 / math.sqrt(2)], [-100 / math.sqrt(2)]]))
    assert output.parts == {}
    assert output.logits.dtype == torch.float32


def test_frames_without_normalisation_by_hand() -> None:
    head = PooledSimilarity(normalize_frames=False)
    frames = torch.tensor([[[3.0, 0.0], [0.0, 4.0]]])
    torch.testing.assert_close(head(texts([1.0, 0.0]), videos(frames)).logits, torch.tensor([[60.0]]))


@pytest.mark.parametrize("kind", ["excitation", "aggregation", "both"])
def test_blocks_equal_slow_plain_version(kind: str) -> None:
    torch.manual_seed(1)
    options = {"max_frames": 4, "reduction_ratio": 0.5, "activation": "relu6", "mask_padding": True}
    excitation = None if kind == "aggregation" else Excitation(**options)  # type: ignore[arg-type]
    aggregation = None if kind == "excitation" else Aggregation(**options)  # type: ignore[arg-type]
    head = PooledSimilarity(excitation=excitation, aggregation=aggregation)
    frames = torch.randn(3, 4, 5)
    mask = torch.tensor([[True] * 4, [True, True, False, False], [True, False, False, False]])
    vectors = head.vectors(videos(frames, mask))
    for v in range(3):
        n = int(mask[v].sum())
        x = [f / f.norm() for f in frames[v, :n]]
        for block in (excitation, aggregation):
            if block is None:
                continue
            z = torch.tensor([f.mean().item() for f in x] + [0.0] * (4 - n))
            numbers = block.restore(block.squeeze(z).clamp(0, 6))[:n]
            weights = numbers.sigmoid() if block is excitation else numbers.softmax(0)
            x = [w * f for w, f in zip(weights, x, strict=True)]
        total = sum(x)
        assert isinstance(total, Tensor)
        torch.testing.assert_close(vectors[v], total / total.norm())


def test_vectors_so_short_that_their_squares_vanish_are_still_normalised() -> None:
    tiny = torch.tensor([3e-25, 4e-25])
    torch.testing.assert_close(unit(tiny), torch.tensor([0.6, 0.8]))
    assert unit(torch.zeros(2)).tolist() == [0.0, 0.0]


def test_scale_stops_at_100_and_can_come_down() -> None:
    parameter = torch.tensor(7.0, requires_grad=True)
    s = scale(parameter)
    s.backward()
    assert s.item() == pytest.approx(100.0)
    assert parameter.grad is not None
    assert parameter.grad.item() == pytest.approx(100.0)


def test_video_vectors_of_a_model_are_the_logits() -> None:
    torch.manual_seed(0)
    settings = ModelSettings(family="ea-clip4clip", sim_header="seqLSTM", se_type="aggregation", reduction_ratio=0.25)
    model = TextVideoModel(settings=settings, dimension=8).eval()
    video = model.contextualize(torch.randn(3, 12, 8), torch.ones(3, 12, dtype=torch.bool))
    text = texts([1.0] * 8, [-1.0, 2.0] * 4)
    torch.testing.assert_close(
        100 * unit(text.sentence) @ model.video_vectors(video).T, model.score(text, video).logits
    )
    assert model.one_vector
    with pytest.raises(ValueError, match="method='span' is not there for PooledSimilarity; use one of 'auto', 'plain'"):
        model.score(text, video, method="span")


def test_half_precision_parameters_are_refused_and_autocast_is_exact() -> None:
    head = PooledSimilarity()
    text, video = texts([1.0, 2.0, 0.5]), videos(torch.randn(2, 3, 3))
    expected = head(text, video).logits
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(head(text, video).logits, expected)
    with pytest.raises(
        ValueError, match=r"logit_scale is torch.bfloat16; keep the model in float32 and use torch.auto"
    ):
        head.bfloat16()(text, video)


def test_nothing_real_is_refused() -> None:
    frames, mask = torch.ones(2, 2, 2), torch.tensor([[True, True], [False, False]])
    with pytest.raises(ValueError, match=r"video 1 has nothing real \(its mask is all False\); leave it out or mend"):
        PooledSimilarity()(texts([1.0, 0.0]), videos(frames, mask))
    text = texts([1.0, 0.0])
    empty = TextFeatures(text.sentence, text.words, torch.zeros(1, 1, dtype=torch.bool))
    with pytest.raises(ValueError, match="text 0 has nothing real"):
        PooledSimilarity()(empty, videos(frames))
