"""X-CLIP: by hand, a slow plain version of all four parts with and without masks, refusals."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from wordframe.features import PART_NAMES, TextFeatures, VideoFeatures
from wordframe.heads import MultiGrainedSimilarity


def case(mask_padding: bool) -> tuple[MultiGrainedSimilarity, TextFeatures, VideoFeatures]:
    torch.manual_seed(0)
    head = MultiGrainedSimilarity(dimension=6, max_words=5, max_frames=4, mask_padding=mask_padding)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        head.logit_scale.fill_(1.0)
    head.double()
    words = torch.arange(5) < torch.tensor([5, 2, 1])[:, None]
    frames = torch.arange(3) < torch.tensor([3, 1, 2, 3])[:, None]
    text = TextFeatures(torch.randn(3, 6).double(), 0.05 * torch.randn(3, 5, 6).double() + torch.ones(6), words)
    raw = 0.05 * torch.randn(4, 3, 6).double() + torch.ones(6)  # close together, so that no softmax is one-hot
    return head, text, VideoFeatures(raw, raw + torch.randn(4, 3, 6), frames)


def n(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def agg(x: list[Tensor], matrix: Tensor, real: list[bool]) -> Tensor:
    values = torch.stack(x)
    kept = torch.tensor(real)
    weights = torch.zeros(len(x), dtype=values.dtype)
    weights[kept] = (values[kept] / 0.01).softmax(0)
    weights = weights @ matrix[: len(x), : len(x)]
    return sum(w * v for w, v, r in zip(weights, values, real, strict=True) if r)  # type: ignore[return-value]


@pytest.mark.parametrize("mask_padding", [True, False])
def test_equals_slow_plain_version(mask_padding: bool) -> None:
    head, text, video = case(mask_padding)
    output = head(text, video)
    s = head.logit_scale.exp()
    for t in range(3):
        for v in range(4):
            words_real = text.word_mask[t].tolist() if mask_padding else [True] * 5
            frames_real = video.frame_mask[v].tolist() if mask_padding else [True] * 3
            sentence, words, frames = n(text.sentence[t]), n(text.words[t]), n(video.frames[v])
            vector = n(n(video.contextual[v])[video.frame_mask[v]].mean(0))
            cells = [[(w @ head.local_matrix) @ f for f in frames] for w in words]
            of_frames = [agg([row[f] for row in cells], head.words_first.matrix, words_real) for f in range(3)]
            of_words = [agg(row, head.frames_first.matrix, frames_real) for row in cells]
            both = agg(of_frames, head.frames_second.matrix, frames_real)
            both = (both + agg(of_words, head.words_second.matrix, words_real)) / 2
            expected = {
                "video_sentence": sentence @ head.global_matrix @ vector,
                "video_word": agg([w @ vector for w in words], head.over_words.matrix, words_real),
                "sentence_frame": agg([sentence @ f for f in frames], head.over_frames.matrix, frames_real),
                "frame_word": both,
            }
            for name in PART_NAMES:
                torch.testing.assert_close(output.parts[name][t, v], s * expected[name])
            torch.testing.assert_close(output.logits[t, v], s * sum(expected.values()) / 4)


def test_one_word_one_frame_by_hand() -> None:
    head = MultiGrainedSimilarity(dimension=2, max_words=3, max_frames=3)
    real = torch.ones(1, 1, dtype=torch.bool)
    text = TextFeatures(torch.tensor([[1.0, 0.0]]), torch.tensor([[[0.0, 1.0]]]), real)
    frames = torch.tensor([[[3.0, 4.0]]])
    output = head(text, VideoFeatures(frames, frames, real))
    values = [round(part.item(), 3) for part in output.parts.values()]
    assert values == [60.0, 80.0, 60.0, 80.0]
    assert output.logits.item() == pytest.approx(70.0)


def test_longer_inputs_than_the_matrices_are_refused() -> None:
    head, text, _ = case(True)
    frames = torch.randn(1, 5, 6).double()
    with pytest.raises(ValueError, match=r"5 frames exceed the 4 this model is made for \(max_frames=4\)"):
        head(text, VideoFeatures(frames, frames, torch.ones(1, 5, dtype=torch.bool)))
    long = TextFeatures(text.sentence[:1], torch.randn(1, 6, 6).double(), torch.ones(1, 6, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"6 words exceed the 5 this model is made for \(max_words=5\)"):
        head(long, VideoFeatures(frames[:, :4], frames[:, :4], torch.ones(1, 4, dtype=torch.bool)))


def test_blocks_change_nothing() -> None:
    head, text, video = case(True)
    expected = head(text, video)
    head.max_block_mb = 0
    output = head(text, video)
    torch.testing.assert_close(output.logits, expected.logits)
    for name in PART_NAMES:
        torch.testing.assert_close(output.parts[name], expected.parts[name])
