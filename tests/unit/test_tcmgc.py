"""TC-MGC: by hand, a slow plain version, the span form, gradients, memory, precision, explanation."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from wordframe.features import PART_NAMES, TextFeatures, VideoFeatures
from wordframe.heads import TextConditionedSimilarity
from wordframe.heads.tcmgc.head import num_kept_words
from wordframe.losses import contrastive, decorrelation
from wordframe.models import ModelSettings, TextVideoModel

W, D = 6, 8


def head(**options: Any) -> TextConditionedSimilarity:
    torch.manual_seed(0)
    made = TextConditionedSimilarity(
        **{"dimension": D, "max_words": W, "keep_rate": 0.5, "softmax_lambda": 4.0, **options}
    )
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        made.logit_scale.fill_(math.log(20.0))
    return made.eval()


def features(dtype: torch.dtype = torch.float64) -> tuple[TextFeatures, VideoFeatures]:
    """Texts longer than, as long as, and shorter than k = 3 words; videos down to one frame."""
    generator = torch.Generator().manual_seed(1)
    words = torch.arange(W) < torch.tensor([6, 4, 3, 2, 1])[:, None]
    frames = torch.arange(4) < torch.tensor([4, 2, 1])[:, None]
    raw = torch.randn(3, 4, D, generator=generator, dtype=torch.float64)
    text = TextFeatures(
        torch.randn(5, D, generator=generator, dtype=torch.float64),
        torch.randn(5, W, D, generator=generator, dtype=torch.float64),
        words,
    )
    contextual = torch.randn(3, 4, D, generator=generator, dtype=torch.float64)
    return text.to(dtype=dtype), VideoFeatures(raw, contextual, frames).to(dtype=dtype)


def norm(x: Tensor, layer: torch.nn.LayerNorm) -> Tensor:
    centred = x - x.mean()
    return centred / (centred.square().mean() + 1e-5).sqrt() * layer.weight + layer.bias


def slow_look(
    model: TextConditionedSimilarity, query: Tensor, frames: list[Tensor], factors: Tensor | None = None
) -> Tensor:
    """Language-video attention of one query and one video, normalised; factors: dropout's ``(D,)`` of the video."""
    lva, size = model.attention, D // model.attention.heads
    x, q = [norm(f, lva.norm1) for f in frames], norm(query, lva.norm1)
    keys, values, q = [lva.key(f) for f in x], [lva.value(f) for f in x], lva.query(q)
    pieces = []
    for h in range(lva.heads):
        part = slice(h * size, (h + 1) * size)
        alpha = torch.stack([q[part] @ k[part] / math.sqrt(size) for k in keys]).softmax(0)
        pieces.append(sum(a * v[part] for a, v in zip(alpha, values, strict=True)))
    a = norm(lva.out(torch.cat(pieces)), lva.norm2)
    turned = lva.linear.weight @ a + lva.linear.bias
    o = norm(a + (turned if factors is None else turned * factors), lva.norm3)
    return o / o.norm()


def slow_isa(x: list[Tensor], matrix: Tensor, sharpness: float) -> Tensor:
    values, size = torch.stack(x), len(x)
    first = (sharpness * values).softmax(0)
    return (sharpness * (first @ matrix[:size, :size])).softmax(0) @ values


def slow_parts(
    model: TextConditionedSimilarity,
    text: TextFeatures,
    video: VideoFeatures,
    t: int,
    v: int,
    factors: Tensor | None = None,
) -> list[Tensor]:
    """The four unscaled similarities of one pair, word by word, over lists that hold only what is real."""
    masked, k, sharpness = model.mask_padding, model.keep, model.over_words.softmax_lambda
    sentence = text.sentence[t] / text.sentence[t].norm()
    words = [w for w, real in zip(text.words[t], text.word_mask[t], strict=True) if real or not masked]
    frames = [f for f, real in zip(video.contextual[v], video.frame_mask[v], strict=True) if real or not masked]
    seen = slow_look(model, text.sentence[t], frames, factors)
    seen_by = [slow_look(model, w, frames, factors) for w in words]
    unit = [w / w.norm() for w in words]
    down = lambda x: sorted(x, key=float, reverse=True)  # noqa: E731
    video_word = slow_isa(down([w @ seen for w in unit])[:k], model.over_words.matrix, sharpness)
    ordered = down([sentence @ c for c in seen_by])
    kept, rest = ordered[:k], ordered[k:]
    if rest:
        kept.append(torch.stack(rest).softmax(0) @ torch.stack(rest))
    elif not masked:
        kept.append(torch.zeros((), dtype=sentence.dtype))
    sentence_frame = slow_isa(kept, model.over_frames.matrix, sharpness)
    columns = [down([(w @ model.local_matrix) @ c for w in unit])[:k] for c in seen_by]
    block = [down([column[r] for column in columns])[:k] for r in range(min(k, len(words)))]
    bi = model.over_both
    of_frames = [slow_isa([row[f] for row in block], bi.words_first.matrix, sharpness) for f in range(len(block))]
    of_words = [slow_isa(row, bi.frames_first.matrix, sharpness) for row in block]
    frame_word = slow_isa(of_frames, bi.frames_second.matrix, sharpness)
    frame_word = (frame_word + slow_isa(of_words, bi.words_second.matrix, sharpness)) / 2
    return [sentence @ model.global_matrix @ seen, video_word, sentence_frame, frame_word]


@pytest.mark.parametrize("method", ["plain", "span"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"heads": 2},
        {"heads": 4, "projections": True},
        {"keep_rate": 1.0},
        {"keep_rate": 0.17},
        {"mask_padding": False},
        {"mask_padding": False, "keep_rate": 1.0, "heads": 2, "projections": True},
    ],
)
def test_equals_slow_plain_version(options: dict[str, Any], method: str) -> None:
    model = head(**options).double()
    text, video = features()
    output = model(text, video, method=method)
    for t in range(5):
        for v in range(3):
            z = 20 * torch.stack(slow_parts(model, text, video, t, v))
            actual = torch.stack([output.parts[name][t, v] for name in PART_NAMES])
            torch.testing.assert_close(actual, z)
            torch.testing.assert_close(output.logits[t, v], (z @ model.over_parts.matrix).softmax(0) @ z)


def test_one_word_one_frame_by_hand() -> None:
    model = TextConditionedSimilarity(dimension=2, max_words=1, keep_rate=1.0).eval()
    real = torch.ones(1, 1, dtype=torch.bool)
    text = TextFeatures(torch.tensor([[1.0, 0.0]]), torch.tensor([[[0.6, 0.8]]]), real)
    frames = torch.tensor([[[9.0, 2.0]]])
    # LayerNorm makes (1, -1) of the frame, everything else is the identity: the conditioned video is (1, -1) / √2
    output = model(text, VideoFeatures(frames, frames, real))
    diagonal = 100 / math.sqrt(2)
    expected = [diagonal, -0.2 * diagonal, diagonal, -0.2 * diagonal]
    torch.testing.assert_close(torch.stack(list(output.parts.values())).flatten(), torch.tensor(expected))
    torch.testing.assert_close(output.logits, torch.tensor([[diagonal]]))  # weights: almost all on the two large ones


@pytest.mark.parametrize("projections", [False, True])
def test_gradients_reach_every_trained_parameter(projections: bool) -> None:
    settings = ModelSettings(
        family="tcmgc",
        sim_header="seqTransf",
        max_words=W,
        keep_rate=0.5,
        softmax_lambda=2.0,
        layers=1,
        heads=2,
        projections=projections,
    )
    torch.manual_seed(0)
    model = TextVideoModel(settings=settings, dimension=D).train()
    text, video = features(torch.float32)
    text, video = text[:3], model.contextualize(video.frames, video.frame_mask)
    output = model.score(text, video)
    (contrastive(output.logits) + 0.5 * decorrelation(output.parts)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        # a bias of keys shifts all logits of a softmax alike: it has no gradient by mathematics
        assert name.endswith("attention.key.bias") or parameter.grad.abs().sum() > 0, name


@torch.no_grad()
@pytest.mark.parametrize("method", ["plain", "span"])
def test_precision_bounds(method: str) -> None:
    """Bounds at λ = 4 and logits up to 20: float32 within 1e-4 of float64; bfloat16 features within 1."""
    text, video = features()
    exact = head().double()(text, video, method=method).logits
    model = head()
    single = model(text.to(dtype=torch.float32), video.to(dtype=torch.float32), method=method).logits
    assert single.dtype == torch.float32
    assert (single - exact).abs().max() < 1e-4
    with torch.autocast("cpu", torch.bfloat16):
        again = model(text.to(dtype=torch.float32), video.to(dtype=torch.float32), method=method).logits
        rounded = model(text.to(dtype=torch.bfloat16), video.to(dtype=torch.bfloat16), method=method).logits
    assert torch.equal(again, single)
    assert rounded.dtype == torch.float32
    assert (rounded - exact).abs().max() < 1.0


class Largest(TorchDispatchMode):
    """Remembers the bytes of the largest tensor that was made."""

    bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            size = out.numel() * out.element_size() if out.is_mkldnn else out.untyped_storage().nbytes()
            self.bytes = max(self.bytes, size)
        return out


@torch.no_grad()
@pytest.mark.parametrize("method", ["plain", "span"])
def test_memory_stays_within_the_budget_and_blocks_change_nothing(method: str) -> None:
    model = head(dimension=64, max_words=16)
    generator = torch.Generator().manual_seed(0)
    words, frames = torch.randn(40, 16, 64, generator=generator), torch.randn(50, 6, 64, generator=generator)
    text = TextFeatures(words[:, 0], words, torch.ones(40, 16, dtype=torch.bool))
    video = VideoFeatures(frames, frames, torch.ones(50, 6, dtype=torch.bool))
    model.max_block_mb = 4096
    with Largest() as whole:
        expected = model(text, video, method=method)
    model.max_block_mb = 1
    with Largest() as blocks:
        output = model(text, video, method=method)
    assert blocks.bytes <= 2**20
    assert method == "span" or whole.bytes > 2**20  # the compiled loop needs no such tensor in the first place
    torch.testing.assert_close(output.logits, expected.logits, atol=1e-4, rtol=0)
    for name in PART_NAMES:
        torch.testing.assert_close(output.parts[name], expected.parts[name], atol=1e-4, rtol=0)


@torch.no_grad()
def test_explanation_holds_the_numbers_behind_the_score() -> None:
    settings = ModelSettings(family="tcmgc", max_words=W, keep_rate=0.5, conditional_heads=2)
    model = TextVideoModel(settings=settings, dimension=D).eval()
    text, video = features(torch.float32)
    explanation = model.explain(text, video)
    weights, sentence, words = explanation.part_weights, explanation.sentence_attention, explanation.word_attention
    assert weights is not None
    assert sentence is not None
    assert words is not None
    assert (weights.shape, sentence.shape, words.shape) == ((5, 3, 4), (5, 3, 4), (5, W, 3, 4))
    z = torch.stack([explanation.output.parts[name] for name in PART_NAMES], dim=-1)
    torch.testing.assert_close((weights * z).sum(-1), explanation.output.logits)
    torch.testing.assert_close(sentence.sum(-1), torch.ones(5, 3))
    torch.testing.assert_close(words.sum(-1), torch.ones(5, W, 3))
    assert (words[:, :, 1, 2:] == 0).all()  # padded frames get no attention
    assert (sentence[:, 2, 0] == 1).all()  # a video of one frame gets all of it


@pytest.mark.parametrize(("rate", "words"), [(0.05, 10), (0.0, 10), (1.2, 10), (0.1, 9)])
def test_keep_rates_that_keep_nothing_or_too_much_are_refused(rate: float, words: int) -> None:
    with pytest.raises(ValueError, match=rf"keep_rate={rate} keeps \d+ of max_words={words} words; it must be from"):
        num_kept_words(words, rate)


def test_heads_must_divide_the_dimension() -> None:
    with pytest.raises(ValueError, match="heads=3 does not divide dimension=8; choose a divisor"):
        head(heads=3)
