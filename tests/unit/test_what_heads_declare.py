"""What heads say of themselves is true: limits, explanations, padding, one vector; and they work on any device."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from wordframe.features import PART_NAMES, TextFeatures, VideoFeatures
from wordframe.heads import (
    AblatedSimilarity,
    Aggregation,
    Excitation,
    ExcitedHead,
    MultiGrainedSimilarity,
    PooledSimilarity,
    PoolingSimilarity,
    Similarity,
    StochasticTextSimilarity,
    TemporalHead,
    TemporalLSTM,
    TemporalTransformer,
    TextConditionedSimilarity,
    TightSimilarity,
    Transformer,
    UnattendedSimilarity,
    WeightedTokenSimilarity,
    ZeroShotAttention,
)
from wordframe.heads.tcmgc.span import span_statistics

D, W, F = 8, 6, 5


def _blocks(**options: bool) -> dict[str, nn.Module]:
    kinds = {"excitation": Excitation, "aggregation": Aggregation}
    sizes = {"excitation": F + 2, "aggregation": F}
    return {
        name: kind(max_frames=sizes[name], reduction_ratio=0.5, activation="relu", mask_padding=True, **options)
        for name, kind in kinds.items()
    }


def _tight() -> TightSimilarity:
    return TightSimilarity(dimension=D, transformer=Transformer(dimension=D, heads=2, layers=1, positions=F + 1))


def _unmasked_pool() -> PooledSimilarity:
    block = Excitation(max_frames=F, reduction_ratio=0.5, activation="relu", mask_padding=False)
    return PooledSimilarity(excitation=block)


def _tcmgc(**options: bool) -> TextConditionedSimilarity:
    return TextConditionedSimilarity(dimension=D, max_words=W, keep_rate=0.5, **options)


def _xclip(**options: bool) -> MultiGrainedSimilarity:
    return MultiGrainedSimilarity(dimension=D, max_words=W, max_frames=F, **options)


SIMILARITIES: dict[str, tuple[Callable[[], Similarity], int | None, int | None, tuple[str, ...], bool]] = {
    "mean": (PooledSimilarity, None, None, (), True),
    "ea": (lambda: PooledSimilarity(**_blocks()), F, None, (), True),
    "ea, released": (_unmasked_pool, F, None, (), True),
    "tight": (_tight, F, None, (), False),
    "xclip": (_xclip, F, W, ("parts",), False),
    "xclip, released": (lambda: _xclip(mask_padding=False), F, W, ("parts",), False),
    "tcmgc": (_tcmgc, None, None, ("sentence", "words", "parts"), False),
    "tcmgc, released": (lambda: _tcmgc(mask_padding=False), None, None, ("sentence", "words", "parts"), False),
    "ablated": (
        lambda: AblatedSimilarity(dimension=D, max_words=W, keep_rate=0.5, aggregation="mean"),
        None,
        None,
        ("sentence", "words", "parts"),
        False,
    ),
    "without attention": (
        lambda: UnattendedSimilarity(dimension=D, max_words=W, keep_rate=0.5),
        None,
        None,
        ("parts",),
        False,
    ),
    "xpool": (lambda: PoolingSimilarity(dimension=D), None, None, ("sentence",), False),
    "wti": (lambda: WeightedTokenSimilarity(dimension=D), None, None, (), False),
    "tmass": (lambda: StochasticTextSimilarity(dimension=D, max_frames=F), F, None, ("sentence",), False),
    "zero-shot": (ZeroShotAttention, None, None, ("sentence", "words"), False),
}
TEMPORAL: dict[str, tuple[Callable[[], TemporalHead], int | None, bool]] = {
    "lstm": (lambda: TemporalLSTM(dimension=D), None, True),
    "transformer": (lambda: TemporalTransformer(dimension=D, heads=2, layers=1, positions=F), F, True),
    "excited": (
        lambda: ExcitedHead(
            excitation=Excitation(max_frames=F, reduction_ratio=0.5, activation="relu", mask_padding=False)
        ),
        F,
        False,
    ),
    "excited transformer": (
        lambda: ExcitedHead(
            excitation=Excitation(max_frames=F + 3, reduction_ratio=0.5, activation="relu", mask_padding=True),
            head=TemporalTransformer(dimension=D, heads=2, layers=1, positions=F),
        ),
        F,
        True,
    ),
}


def _texts(num_words: int, device: str = "cpu") -> TextFeatures:
    words = torch.randn(3, num_words, D, device=device)
    return TextFeatures(words[:, 0], words, torch.ones(3, num_words, dtype=torch.bool, device=device))


def _videos(num_frames: int, device: str = "cpu", count: int = 4) -> VideoFeatures:
    frames = torch.randn(count, num_frames, D, device=device)
    return VideoFeatures(frames, frames, torch.ones(count, num_frames, dtype=torch.bool, device=device))


@pytest.fixture(params=SIMILARITIES)
def named(request: pytest.FixtureRequest) -> tuple[Similarity, int | None, int | None, tuple[str, ...], bool]:
    make, *declared = SIMILARITIES[request.param]
    torch.manual_seed(0)
    head = make().eval()
    with torch.no_grad():
        for parameter in head.parameters():  # away from the identity, where some differences cannot be seen
            parameter.add_(0.1 * torch.randn_like(parameter))
    return head, *declared  # type: ignore[return-value]


@torch.no_grad()
def test_limits_are_those_at_which_a_head_refuses(
    named: tuple[Similarity, int | None, int | None, tuple[str, ...], bool],
) -> None:
    head, max_frames, max_words, _, _ = named
    assert (head.max_frames, head.max_words) == (max_frames, max_words)
    most_frames, most_words = max_frames or 40, max_words or 40
    assert head(_texts(most_words), _videos(most_frames)).logits.isfinite().all()
    for limit, text, video in (
        (max_frames, _texts(most_words), _videos(most_frames + 1)),
        (max_words, _texts(most_words + 1), _videos(most_frames)),
    ):
        if limit is not None:
            with pytest.raises(ValueError, match="exceed"):
                head(text, video)


@torch.no_grad()
def test_a_head_explains_what_it_says(
    named: tuple[Similarity, int | None, int | None, tuple[str, ...], bool],
) -> None:
    head, _, _, explains, _ = named
    found = head.explain(_texts(4), _videos(3))
    assert head.explains == explains
    assert ("sentence" in explains) == (found.sentence_attention is not None)
    assert ("words" in explains) == (found.word_attention is not None)
    assert ("parts" in explains) == (tuple(found.output.parts) == PART_NAMES)


@torch.no_grad()
def test_padding_takes_part_where_a_head_says_so(
    named: tuple[Similarity, int | None, int | None, tuple[str, ...], bool],
) -> None:
    head = named[0]
    text, video = _texts(5), _videos(4)
    mask = video.frame_mask.clone()
    mask[:, 2:] = False
    before = head(text, VideoFeatures(video.frames, video.contextual, mask)).logits
    changed = video.frames + 5 * (~mask[..., None] * torch.randn_like(video.frames))
    after = head(text, VideoFeatures(changed, changed, mask)).logits
    assert head.mask_padding == torch.allclose(after, before, atol=1e-3)


@torch.no_grad()
def test_one_vector_is_what_ranks(named: tuple[Similarity, int | None, int | None, tuple[str, ...], bool]) -> None:
    head, *_, one_vector = named
    assert head.one_vector == one_vector
    if isinstance(head, PooledSimilarity):
        text, video = _texts(4), _videos(4)
        cosines = nn.functional.normalize(text.sentence, dim=-1) @ head.vectors(video).T
        torch.testing.assert_close(head(text, video).logits, head.logit_scale.exp().clamp(max=100) * cosines)


@pytest.mark.parametrize("name", TEMPORAL)
@torch.no_grad()
def test_temporal_heads_declare_their_limits_and_padding(name: str) -> None:
    make, max_frames, mask_padding = TEMPORAL[name]
    torch.manual_seed(0)
    head = make()
    assert (head.max_frames, head.mask_padding) == (max_frames, mask_padding)
    most = max_frames or 40
    frames, mask = torch.randn(2, most, D), torch.ones(2, most, dtype=torch.bool)
    mask[:, 2:] = False
    before = head(frames, mask)[:, :2]
    changed = frames + 5 * (~mask[..., None] * torch.randn_like(frames))
    assert mask_padding == torch.allclose(head(changed, mask)[:, :2], before, atol=1e-4)
    if max_frames is not None:
        with pytest.raises(ValueError, match="exceed"):
            head(torch.randn(2, most + 1, D), torch.ones(2, most + 1, dtype=torch.bool))


# Tensors that a head makes itself belong on the device of the features. Without a GPU ``meta`` tensors show it: an
# operation of one with a tensor on CPU raises.


def test_similarities_make_their_tensors_where_the_features_are(
    named: tuple[Similarity, int | None, int | None, tuple[str, ...], bool],
) -> None:
    head = named[0].to("meta")
    for method in {*head.methods} - {"fused"}:
        output = head.compare(_texts(5, "meta"), _videos(4, "meta"), method)
        assert {x.device.type for x in (output.logits, *output.parts.values())} == {"meta"}


@pytest.mark.parametrize("name", TEMPORAL)
def test_temporal_heads_make_their_tensors_where_the_frames_are(name: str) -> None:
    frames = _videos(4, "meta")
    assert TEMPORAL[name][0]().to("meta")(frames.frames, frames.frame_mask).device.type == "meta"


@torch.no_grad()
@pytest.mark.parametrize("count", [3, 40])
def test_statistics_are_made_where_the_frames_are(count: int) -> None:
    head, frames = _tcmgc().to("meta"), _videos(4, "meta", count).frames
    made: Tensor = span_statistics(head.attention, frames)
    assert made.device.type == "meta"
    assert made.shape == (count, 4 * 5 // 2 + 4, 3)


def test_statistics_of_a_model_in_float64_are_float32() -> None:
    head, video = _tcmgc(), _videos(4)
    expected = head.statistics(video)
    found = head.double().statistics(video)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.zeros(()).numpy().dtype
        torch.testing.assert_close(torch.from_numpy(one), torch.from_numpy(other), rtol=1e-4, atol=1e-4)
