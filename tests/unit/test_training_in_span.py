"""Training TC-MGC in the span: dropout's masks, gradients, what backward keeps, randomness, two processes."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tests.unit.test_tcmgc import D, W, features, head, slow_parts
from wordframe.features import PART_NAMES, SimilarityOutput, TextFeatures, VideoFeatures
from wordframe.heads import TextConditionedSimilarity
from wordframe.heads.tcmgc import attending
from wordframe.heads.tcmgc import head as tcmgc_head
from wordframe.heads.tcmgc.lva import LanguageVideoAttention
from wordframe.losses import contrastive, decorrelation
from wordframe.processes import end_process_group

VARIANTS: list[dict[str, Any]] = [
    {},
    {"heads": 2},
    {"heads": 4, "projections": True},
    {"keep_rate": 1.0},
    {"keep_rate": 0.17},
    {"mask_padding": False},
    {"mask_padding": False, "keep_rate": 1.0, "heads": 2, "projections": True},
]


def mixed_features() -> tuple[TextFeatures, VideoFeatures]:
    """``features`` with texts in no order of length, gaps between real words, and a short video before long ones."""
    text, video = features()
    text, video = text[torch.tensor([3, 0, 4, 1, 2])], video
    word_mask = text.word_mask.clone()
    word_mask[1] = torch.tensor([True, False, True, True, False, True])
    frame_mask = video.frame_mask.clone()
    frame_mask[0] = torch.tensor([True, True, False, False])
    return TextFeatures(text.sentence, text.words, word_mask), VideoFeatures(video.frames, video.contextual, frame_mask)


@torch.no_grad()
@pytest.mark.parametrize("method", ["plain", "span"])
def test_a_video_has_one_mask_a_step_however_large_its_blocks_are(method: str) -> None:
    """Two equal texts see a video alike, though memory holds one pair at a time; the next step draws anew."""
    model = head(dropout=0.5).train()
    text, video = features(torch.float32)
    text = text[torch.tensor([0, 1, 0])]
    model.max_block_mb = 0
    logits = model(text, video, method=method).logits
    torch.testing.assert_close(logits[0], logits[2], atol=1e-4, rtol=0)
    assert not torch.allclose(model(text, video, method=method).logits, logits)


def loss_of(output: SimilarityOutput) -> Tensor:
    """The training loss of the first three pairs, and something of all others."""
    parts = {name: part[:3] for name, part in output.parts.items()}
    return contrastive(output.logits[:3]) + 0.5 * decorrelation(parts) + 0.01 * output.logits.square().sum()


def gradients(
    model: nn.Module, text: TextFeatures, video: VideoFeatures, **options: Any
) -> tuple[SimilarityOutput, dict[str, Tensor]]:
    """The output and the gradients of the features and of every parameter, under seed 0."""
    leaves = {
        "sentence": text.sentence.clone().requires_grad_(),
        "words": text.words.clone().requires_grad_(),
        "contextual": video.contextual.clone().requires_grad_(),
    }
    text = TextFeatures(leaves["sentence"], leaves["words"], text.word_mask)
    video = video.with_contextual(leaves["contextual"])
    torch.manual_seed(0)
    output = model(text, video, **options)
    wanted = {**leaves, **dict(model.named_parameters())}
    found = torch.autograd.grad(loss_of(output), list(wanted.values()), allow_unused=True)
    return output, {name: grad for name, grad in zip(wanted, found, strict=True) if grad is not None}


def same(actual: dict[str, Tensor], expected: dict[str, Tensor], **tolerance: float) -> None:
    assert actual.keys() == expected.keys()
    for name, grad in expected.items():
        torch.testing.assert_close(actual[name], grad, msg=lambda text, name=name: f"{name}: {text}", **tolerance)


@pytest.fixture
def fixed_masks(monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Masks ``(V, D)`` that take the place of those drawn."""
    factors = (torch.rand(3, D, generator=torch.Generator().manual_seed(5)) > 0.3).double() / 0.7
    monkeypatch.setattr(LanguageVideoAttention, "video_factors", lambda self, frames: factors)
    return factors


@torch.no_grad()
@pytest.mark.parametrize("method", ["plain", "span"])
@pytest.mark.parametrize("options", VARIANTS)
def test_equals_slow_plain_version_with_the_same_masks(
    options: dict[str, Any], method: str, fixed_masks: Tensor
) -> None:
    model = head(**options).double().train()
    text, video = mixed_features()
    output = model(text, video, method=method)
    for t in range(5):
        for v in range(3):
            z = 20 * torch.stack(slow_parts(model, text, video, t, v, fixed_masks[v]))
            torch.testing.assert_close(torch.stack([output.parts[name][t, v] for name in PART_NAMES]), z)
            torch.testing.assert_close(output.logits[t, v], (z @ model.over_parts.matrix).softmax(0) @ z)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", VARIANTS)
def test_output_and_gradients_equal_those_of_the_plain_order(options: dict[str, Any], training: bool) -> None:
    """With the same seed: both draw a mask a video, once, however many tiles there are."""
    model = head(**options).double().train(training)
    text, video = mixed_features()
    plain, expected = gradients(model, text, video, method="plain")
    span, actual = gradients(model, text, video)
    torch.testing.assert_close(span.logits, plain.logits)
    assert len(actual) == 3 + sum(1 for _ in model.parameters())
    same(actual, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("options", [{}, {"heads": 2, "projections": True, "mask_padding": False}])
def test_gradients_equal_finite_differences(options: dict[str, Any], fixed_masks: Tensor) -> None:
    model = head(**options).double().train()
    text, video = mixed_features()
    names = [name for name, _ in model.named_parameters()]

    def run(sentence: Tensor, words: Tensor, contextual: Tensor, *parameters: Tensor) -> Tensor:
        inputs = TextFeatures(sentence, words, text.word_mask[:2]), video.with_contextual(contextual)
        output = torch.func.functional_call(model, dict(zip(names, parameters, strict=True)), inputs)
        return torch.stack([output.logits, *output.parts.values()])

    leaves = [text.sentence[:2], text.words[:2], video.contextual, *model.parameters()]
    leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    assert torch.autograd.gradcheck(run, leaves, fast_mode=True, atol=1e-4)


def test_dropout_keeps_the_mean_and_drops_the_share() -> None:
    lva = LanguageVideoAttention(dimension=500, dropout=0.3).train()
    factors = lva.video_factors(torch.zeros(200, 4, 500, dtype=torch.float64))
    assert factors is not None
    assert factors.shape == (200, 500)
    assert factors.dtype == torch.float64
    torch.testing.assert_close(factors.unique(), torch.tensor([0.0, 1 / 0.7]).double())
    assert (factors == 0).double().mean() == pytest.approx(0.3, abs=0.01)
    assert lva.eval().video_factors(torch.zeros(1, 1, 500)) is None


def test_dropout_is_drawn_in_training_only_also_without_gradients() -> None:
    model = head().train()
    text, video = features(torch.float32)
    with torch.no_grad():
        assert not torch.equal(model(text, video).logits, model(text, video).logits)
    assert not torch.equal(model(text, video).logits, model(text, video).logits)
    without = head(dropout=0.0).train()
    torch.testing.assert_close(without(text, video).logits, without.eval()(text, video).logits)


def test_dropout_by_the_element_is_plain_and_refuses_the_span() -> None:
    model = head(dropout_mode="element").train()
    text, video = features(torch.float32)
    torch.manual_seed(3)
    drawn = model(text, video).logits
    torch.manual_seed(3)
    torch.testing.assert_close(drawn, model(text, video, method="plain").logits)
    assert not torch.equal(drawn, model(text, video).logits)
    with pytest.raises(
        ValueError,
        match=r"method='span' has no dropout by the element; use 'plain', dropout_mode='video', or model.eval\(\)",
    ):
        model(text, video, method="span")
    torch.testing.assert_close(model.eval()(text, video, method="span").logits, model(text, video).logits)


def test_each_video_has_a_mask_of_its_own_and_all_queries_share_it() -> None:
    model = head(dropout=0.5).double().train()
    text, video = features()
    for mode, shared in (("video", True), ("element", False)):
        model.attention.dropout_mode = mode
        twice = TextFeatures(*(torch.cat([x, x]) for x in (text.sentence, text.words, text.word_mask)))
        logits = model(twice, video).logits
        assert torch.allclose(logits[:5], logits[5:]) is shared
    model.attention.dropout_mode = "video"
    same_twice = VideoFeatures(*(torch.cat([x, x]) for x in (video.frames, video.contextual, video.frame_mask)))
    logits = model(text, same_twice).logits
    assert not torch.allclose(logits[:, :3], logits[:, 3:])


def test_unknown_dropout_mode_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dropout_mode='pair' is not known; use one of 'video', 'element'"):
        head(dropout_mode="pair")


def test_padding_may_hold_anything() -> None:
    model = head().double().train()
    text, video = mixed_features()
    clean, expected = gradients(model, text, video)
    words = text.words.masked_fill(~text.word_mask[..., None], float("nan"))
    contextual = video.contextual.masked_fill(~video.frame_mask[..., None], float("nan"))
    dirty, actual = gradients(
        model, TextFeatures(text.sentence, words, text.word_mask), video.with_contextual(contextual)
    )
    torch.testing.assert_close(dirty.logits, clean.logits)
    same(actual, expected)
    assert (actual["words"][~text.word_mask] == 0).all()
    assert (actual["contextual"][~video.frame_mask] == 0).all()


def test_autocast_changes_neither_scores_nor_gradients() -> None:
    model = head().train()
    text, video = features(torch.float32)
    found = []
    for enabled in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            output = model(text, video)
        found.append((output.logits, torch.autograd.grad(loss_of(output), list(model.parameters()))))
    (outside, expected), (inside, actual) = found
    assert torch.equal(inside, outside)
    assert all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))


def test_backward_draws_no_random_numbers_and_goes_through_twice() -> None:
    model = head().train()
    loss = loss_of(model(*features(torch.float32)))
    state = torch.get_rng_state()
    parameters = list(model.parameters())
    first = torch.autograd.grad(loss, parameters, retain_graph=True)
    second = torch.autograd.grad(loss, parameters)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def random_batch(size: int) -> tuple[TextFeatures, VideoFeatures]:
    g = torch.Generator().manual_seed(size)
    words, frames = torch.randn(size, 16, 32, generator=g), torch.randn(size, 8, 32, generator=g)
    real = torch.ones(size, 16, dtype=torch.bool), torch.ones(size, 8, dtype=torch.bool)
    return TextFeatures(words[:, 0], words, real[0]), VideoFeatures(frames, frames, real[1])


def kept_floats(model: TextConditionedSimilarity, size: int, method: str) -> int:
    """Numbers that a step of ``size × size`` pairs holds for its backward pass, each storage once."""
    storages: dict[int, tuple[Any, int]] = {}

    def pack(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        storages[storage.data_ptr()] = storage, storage.nbytes() // 4  # kept, so that no other takes its place
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        model(*random_batch(size), method=method)
    return sum(floats for _, floats in storages.values())


def test_what_backward_keeps_does_not_grow_with_the_pairs() -> None:
    model = head(dimension=32, max_words=16, keep_rate=0.2).train()
    small, large = kept_floats(model, 8, "span"), kept_floats(model, 32, "span")
    per_pair = (large - 4 * small) / (32 * 32 - 4 * 8 * 8)  # what grows with texts or videos alone has no part in it
    assert per_pair < 16  # logits and parts, nothing of size W, F or D
    assert kept_floats(model, 32, "plain") > 20 * large


def test_what_videos_bring_is_made_once_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    spans, tiles = [], []
    video_span, coefficients = attending.video_span, tcmgc_head.coefficients

    def make(*arguments: Any) -> Any:
        spans.append(len(arguments[1]))
        return video_span(*arguments)

    def compare(*arguments: Any) -> Tensor:
        tiles.append(arguments[2].shape[0])
        return coefficients(*arguments)

    monkeypatch.setattr(attending, "video_span", make)
    monkeypatch.setattr(tcmgc_head, "coefficients", compare)
    model = head(dimension=32, max_words=16).train()
    output = model(*random_batch(12))
    assert (spans, tiles) == ([12], [3, 3, 3, 3])
    output.logits.sum().backward()
    assert (spans, tiles) == ([12], [3] * 8)
    model.max_block_mb = 0  # one text is always done
    model(*random_batch(12))
    assert tiles[8:] == [1] * 12


def _train_rank(rank: int, port: int, path: str) -> None:
    """One of two processes: its own half of the batch; gradients are averaged by DistributedDataParallel."""
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    model = head(dropout=0.0).train()
    parallel = DistributedDataParallel(model)  # it must live until backward is through
    text, video = features(torch.float32)
    half = slice(0, 3) if rank == 0 else slice(2, 5)
    loss_of(parallel(text[half], video)).backward()
    if rank == 0:
        torch.save({name: parameter.grad for name, parameter in model.named_parameters()}, path)
    del parallel  # the last to hold the group waits for its threads, and this one would do so with the GIL
    end_process_group()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
    return port


def test_two_processes_average_their_gradients(free_port: int, tmp_path: Any) -> None:
    path = tmp_path / "gradients.pt"
    torch.multiprocessing.spawn(_train_rank, (free_port, str(path)), nprocs=2)
    model = head(dropout=0.0).train()
    text, video = features(torch.float32)
    sum(loss_of(model(text[half], video)) / 2 for half in (slice(0, 3), slice(2, 5))).backward()
    expected = {name: parameter.grad for name, parameter in model.named_parameters()}
    same(torch.load(path), expected, rtol=1e-4, atol=1e-5)


def test_longer_and_shorter_texts_than_the_model_was_made_for() -> None:
    model = head().double().train()
    text, video = features()
    for num_words in (1, 2, W + 3):
        words = text.words[:, torch.arange(num_words) % W]
        some = TextFeatures(text.sentence, words, torch.ones(5, num_words, dtype=torch.bool))
        plain, expected = gradients(model, some, video, method="plain")
        span, actual = gradients(model, some, video)
        torch.testing.assert_close(span.logits, plain.logits)
        # words that are there twice tie; which of the two is kept differs, and so may their own gradients
        same(
            {name: grad for name, grad in actual.items() if name != "words"},
            {name: grad for name, grad in expected.items() if name != "words"},
            rtol=1e-6,
            atol=1e-8,
        )
