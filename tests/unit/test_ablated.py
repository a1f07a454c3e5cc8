"""TC-MGC with pieces taken out: what is left is what the piece's absence means, in every way of scoring."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from wordframe.features import PART_NAMES, SimilarityOutput, TextFeatures, VideoFeatures
from wordframe.heads import AblatedSimilarity, TextConditionedSimilarity, UnattendedSimilarity
from wordframe.heads.tcmgc.aggregation import InteractiveAggregation
from wordframe.losses import contrastive, decorrelation
from wordframe.models import ModelSettings, TextVideoModel, load_model

W, F, D = 6, 4, 16


def perturbed(model: TextConditionedSimilarity) -> TextConditionedSimilarity:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name != "over_chosen.matrix" and parameter.requires_grad:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        model.logit_scale.fill_(math.log(20.0))
    return model.eval()


def ablated(**options: Any) -> AblatedSimilarity:
    made = perturbed(AblatedSimilarity(dimension=D, max_words=W, keep_rate=0.5, softmax_lambda=4.0, **options))
    assert isinstance(made, AblatedSimilarity)
    return made


def features() -> tuple[TextFeatures, VideoFeatures]:
    generator = torch.Generator().manual_seed(1)
    word_mask = torch.arange(W) < torch.tensor([6, 4, 2, 1, 5])[:, None]
    frame_mask = torch.arange(F) < torch.tensor([4, 2, 1])[:, None]
    frames = torch.randn(3, F, D, generator=generator)
    text = TextFeatures(torch.randn(5, D, generator=generator), torch.randn(5, W, D, generator=generator), word_mask)
    return text, VideoFeatures(frames, frames, frame_mask)


def every_way(model: TextConditionedSimilarity) -> list[SimilarityOutput]:
    """The compiled loop, on precomputed videos too, tensor operations with gradients, and the plain form."""
    text, video = features()
    with torch.no_grad():
        fused, precomputed = model(text, video), model(text, model.precompute(video))
        plain = model(text, video, method="plain")
    return [plain, fused, precomputed, model(text, video)]


ABLATIONS = [
    {"aggregation": "mean"},
    {"attention": "uniform"},
    {"attention": "uniform", "projections": True, "heads": 2},
    {"parts": ["video_word"]},
    {"parts": ["frame_word", "video_sentence"]},
    {"parts": ["sentence_frame", "video_word", "frame_word"], "aggregation": "mean"},
]


@pytest.mark.parametrize("options", ABLATIONS, ids=str)
def test_every_way_of_scoring_gives_the_same(options: dict[str, Any]) -> None:
    first, *others = every_way(ablated(**options))
    for other in others:
        torch.testing.assert_close(other.logits, first.logits, atol=1e-3, rtol=0)
        assert list(other.parts) == list(first.parts)
        for name, part in first.parts.items():
            torch.testing.assert_close(other.parts[name], part, atol=1e-3, rtol=0)


def test_nothing_taken_out_is_the_whole_model() -> None:
    whole = perturbed(TextConditionedSimilarity(dimension=D, max_words=W, keep_rate=0.5, softmax_lambda=4.0))
    same = AblatedSimilarity(dimension=D, max_words=W, keep_rate=0.5, softmax_lambda=4.0).eval()
    same.load_state_dict({**whole.state_dict(), "over_chosen.matrix": whole.over_parts.matrix})
    for expected, got in zip(every_way(whole), every_way(same), strict=True):
        assert got.logits.equal(expected.logits)


def test_without_lsa_the_logits_are_the_mean_of_the_parts() -> None:
    for output in every_way(ablated(aggregation="mean")):
        assert list(output.parts) == list(PART_NAMES)
        mean = torch.stack(list(output.parts.values())).mean(dim=0)
        torch.testing.assert_close(output.logits, mean, atol=1e-4, rtol=0)


@pytest.mark.parametrize("part", PART_NAMES)
def test_one_part_alone_is_that_part_of_the_whole_model(part: str) -> None:
    model = ablated(parts=[part])
    whole = perturbed(TextConditionedSimilarity(dimension=D, max_words=W, keep_rate=0.5, softmax_lambda=4.0))
    whole.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("over_chosen")})
    for output, expected in zip(every_way(model), every_way(whole), strict=True):
        assert list(output.parts) == [part]
        assert output.parts[part].equal(expected.parts[part])
        torch.testing.assert_close(output.logits, output.parts[part])


def test_some_parts_are_joined_by_lsa_over_them_and_decorrelated_among_themselves() -> None:
    model = ablated(parts=["frame_word", "video_sentence"])
    with torch.no_grad():
        model.over_chosen.matrix.copy_(torch.tensor([[0.5, -0.2], [0.1, 0.8]]))
    for output in every_way(model):
        a, b = output.parts["video_sentence"], output.parts["frame_word"]
        weights = torch.stack([0.5 * a + 0.1 * b, -0.2 * a + 0.8 * b], dim=-1).softmax(dim=-1)
        torch.testing.assert_close(output.logits, weights[..., 0] * a + weights[..., 1] * b, atol=1e-4, rtol=0)
    square = {name: part[:3] for name, part in output.parts.items()}
    by_hand = torch.stack([part.diagonal() for part in square.values()]).var(dim=0, unbiased=True).mean()
    torch.testing.assert_close(decorrelation(square), by_hand)


def test_with_uniform_attention_all_texts_see_the_mean_of_the_frames() -> None:
    model = ablated(attention="uniform")
    text, video = features()
    with torch.no_grad():
        conditioned_video, conditioned_frames = model.conditioned(text, video)
        explained = model.explain(text, video)
    assert conditioned_video.sub(conditioned_video[:1]).abs().max() < 1e-6  # alike for all texts
    assert conditioned_frames.sub(conditioned_video[:, None]).abs().max() < 1e-6  # and for all words
    lva = model.attention
    real = [frames[mask] for frames, mask in zip(video.contextual, video.frame_mask, strict=True)]
    a = lva.norm2(torch.stack([lva.norm1(frames).mean(dim=0) for frames in real]))
    expected = torch.nn.functional.normalize(lva.norm3(a + lva.linear(a)), dim=-1)
    torch.testing.assert_close(conditioned_video[0], expected)
    assert explained.sentence_attention is not None
    assert explained.sentence_attention[0].tolist() == [[0.25] * 4, [0.5, 0.5, 0, 0], [1, 0, 0, 0]]


# Without attention, as the released switch means it -------------------------------------------------------------------


def unattended(**options: Any) -> UnattendedSimilarity:
    sizes = {"dimension": D, "max_words": W, "keep_rate": 0.5, "softmax_lambda": 4.0}
    made = perturbed(UnattendedSimilarity(**{**sizes, **options}))
    assert isinstance(made, UnattendedSimilarity)
    return made


def isa(x: list[float], aggregation: InteractiveAggregation) -> float:
    """``Σ softmax(λ (softmax(λ x) M)) x``, over the leading entries of ``M``."""
    values = np.array(x)
    first = np.exp(4.0 * values)
    logits = 4.0 * (first / first.sum()) @ aggregation.matrix.detach().double().numpy()[: len(x), : len(x)]
    weights = np.exp(logits)
    return float(weights @ values / weights.sum())


@torch.no_grad()
def test_without_attention_texts_meet_the_mean_video_and_the_encoders_frames() -> None:
    """Equal to the four similarities written out for each pair; ``k`` is 3 words, and 3 frames of those there are."""
    model = unattended()
    text, video = features()
    video = video.with_contextual(video.frames + torch.randn(video.frames.shape, generator=torch.manual_seed(2)))
    output = model(text, video)
    Wg, Wl = model.global_matrix.double().numpy(), model.local_matrix.double().numpy()
    for t in range(5):
        for v in range(3):
            words = [n(w) for w in text.words[t][text.word_mask[t]]]
            frames = [n(f) for f in video.frames[v][video.frame_mask[v]]]
            mean = n(torch.from_numpy(np.mean([n(f) for f in video.contextual[v][video.frame_mask[v]]], axis=0)))
            sentence = n(text.sentence[t])
            by_size = sorted((float(sentence @ f) for f in frames), reverse=True)
            fused = [float(np.exp(by_size[3:]) @ by_size[3:] / np.exp(by_size[3:]).sum())] if by_size[3:] else []
            over_frames = model.over_frames
            columns = [sorted((float(w @ Wl @ f) for w in words), reverse=True)[:3] for f in frames]
            rows = [sorted(ranked, reverse=True)[:3] for ranked in zip(*columns, strict=True)]  # (k words, k frames)
            both = model.over_both
            of_frames = [isa(list(column), both.words_first) for column in zip(*rows, strict=True)]
            of_words = [isa(row, both.frames_first) for row in rows]
            expected = {
                "video_sentence": sentence @ Wg @ mean,
                "video_word": isa(sorted((float(w @ mean) for w in words), reverse=True)[:3], model.over_words),
                "sentence_frame": isa([*by_size[:3], *fused], over_frames),
                "frame_word": (isa(of_frames, both.frames_second) + isa(of_words, both.words_second)) / 2,
            }
            for name, value in expected.items():
                assert output.parts[name][t, v].item() == pytest.approx(20 * value, abs=1e-4), name
            z = 20 * np.array(list(expected.values()))
            weights = np.exp(z @ model.over_parts.matrix.double().numpy())
            assert output.logits[t, v].item() == pytest.approx(weights @ z / weights.sum(), abs=1e-3)


def n(x: torch.Tensor) -> NDArray[np.float64]:
    made: NDArray[np.float64] = x.double().numpy() / np.linalg.norm(x.double().numpy())
    return made


@torch.no_grad()
@pytest.mark.parametrize("options", [{}, {"parts": ["frame_word"]}, {"aggregation": "mean"}], ids=str)
def test_without_attention_blocks_padding_and_preparation_change_nothing(options: dict[str, Any]) -> None:
    model = unattended(**options)
    text, video = features()
    expected = model(text, video)
    assert model.precompute(video).groups is None
    torch.testing.assert_close(model(text, model.precompute(video)).logits, expected.logits)
    frames = video.frames.masked_fill(~video.frame_mask[..., None], float("nan"))
    words = text.words.masked_fill(~text.word_mask[..., None], float("nan"))
    model.max_block_mb = 0
    found = model(TextFeatures(text.sentence, words, text.word_mask), VideoFeatures(frames, frames, video.frame_mask))
    torch.testing.assert_close(found.logits, expected.logits, atol=1e-4, rtol=0)
    with pytest.raises(TypeError, match="UnattendedSimilarity has no statistics of videos to keep"):
        model.statistics(video)


def test_without_attention_there_is_nothing_of_it_to_train() -> None:
    model = unattended(dropout=0.3).train()
    text, video = features()
    contrastive(model(text[:3], video).logits).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert not name.startswith("attention")


def test_padding_takes_part_without_attention_as_released() -> None:
    text, video = features()
    released = unattended(mask_padding=False)
    changed = video.frames + 3 * ~video.frame_mask[..., None]
    with torch.no_grad():
        first = released(text, video).logits
        assert not released(text, VideoFeatures(changed, changed, video.frame_mask)).logits.allclose(first)


# ----------------------------------------------------------------------------------------------------------------------


def test_reasons_name_the_parts_that_count() -> None:
    text, video = features()
    two = ablated(parts=["video_word", "frame_word"]).explain(text, video)
    assert list(two.output.parts) == ["video_word", "frame_word"]
    assert two.part_weights is not None
    assert two.part_weights.shape == (5, 3, 2)
    torch.testing.assert_close(two.part_weights.sum(dim=-1), torch.ones(5, 3))
    mean = ablated(aggregation="mean").explain(text, video).part_weights
    assert mean is not None
    assert mean.eq(0.25).all()


@pytest.mark.parametrize("options", ABLATIONS, ids=str)
def test_training_reaches_what_is_left_and_leaves_what_is_fixed(options: dict[str, Any]) -> None:
    model = ablated(**options, dropout=0.0).train()
    text, video = features()
    contrastive(model(text[:3], video).logits).backward()
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            assert parameter.grad is None, name
    reached = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert {"logit_scale", "attention.norm1.weight", "attention.linear.weight"} <= reached
    matrix = "over_chosen.matrix" if "parts" in options else "over_parts.matrix"
    assert (matrix in reached) == (options.get("aggregation") != "mean")


def test_settings_bring_the_ablation_and_checkpoints_keep_it(tmp_path: Path) -> None:
    settings = ModelSettings(family="tcmgc", keep_rate=0.5, max_words=W, options={"parts": ["video_word"]})
    model = TextVideoModel(settings=settings, dimension=D).eval()
    model.save(tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.settings == settings
    text, video = features()
    with torch.no_grad():
        assert loaded.score(text, video).logits.equal(model.score(text, video).logits)
    none = ModelSettings(family="tcmgc", keep_rate=0.5, options={"attention": "none", "parts": ["video_word"]})
    assert type(TextVideoModel(settings=none, dimension=D).similarity) is UnattendedSimilarity
    whole = TextVideoModel(settings=ModelSettings(family="tcmgc", keep_rate=0.5), dimension=D)
    assert type(whole.similarity) is TextConditionedSimilarity


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"part": ["video_word"]}, "options.part is not known for family='tcmgc'; use some of parts, aggregation, att"),
        ({"parts": []}, r"options.parts=\[\] must name at least one part, each once"),
        ({"parts": ["video_word", "video_word"]}, "must name at least one part, each once"),
        ({"parts": ["words"]}, "options.parts='words' is not allowed; use one of 'video_sentence', "),
        ({"aggregation": "max"}, "options.aggregation='max' is not allowed; use one of 'learned', 'mean'"),
        ({"attention": "no"}, "options.attention='no' is not allowed; use one of 'learned', 'uniform', 'none'"),
        ({"attention": "none", "parts": ["words"]}, "options.parts='words' is not allowed"),
    ],
)
def test_options_that_are_not_there_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        TextVideoModel(settings=ModelSettings(family="tcmgc", keep_rate=0.5, options=options), dimension=D)
