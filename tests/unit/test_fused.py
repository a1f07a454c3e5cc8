"""The compiled loops against ``method="plain"`` and the tensor form: shapes, masks, heads, keep rates, odd inputs."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from typing import Any, TypeVar

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from wordframe.features import PART_NAMES, SimilarityOutput, TextFeatures, VideoFeatures
from wordframe.heads import (
    MultiGrainedSimilarity,
    Similarity,
    TextConditionedSimilarity,
    _fused,
    compiled,
    in_threads,
    numba_installed,
    product,
)
from wordframe.heads._fused import FusedSimilarity
from wordframe.heads._kernels import tcmgc, wti, xclip, xpool

Head = TypeVar("Head", bound=Similarity)

D, MAX_WORDS, MAX_FRAMES = 16, 9, 6
TOLERANCE = 1e-3


def mixed(model: Head, seed: int) -> Head:
    """Weights away from the identity."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name != "logit_scale":
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def conditioned_head(**options: Any) -> FusedSimilarity:
    sizes = {"dimension": D, "max_words": MAX_WORDS, "keep_rate": 0.5, "softmax_lambda": 10.0}
    return mixed(TextConditionedSimilarity(**{**sizes, **options}), seed=3)


def grained_head(**options: Any) -> FusedSimilarity:
    return mixed(MultiGrainedSimilarity(dimension=D, max_words=MAX_WORDS, max_frames=MAX_FRAMES, **options), seed=3)


def random_features(
    num_texts: int, num_videos: int, num_words: int, num_frames: int, seed: int, *, prefix: bool = True
) -> tuple[TextFeatures, VideoFeatures]:
    """Random features with random masks; real words come first, or anywhere, real frames first."""
    g = torch.Generator().manual_seed(seed)

    def mask(rows: int, length: int, ordered: bool) -> Tensor:
        counts = torch.randint(1, length + 1, (rows, 1), generator=g)
        order = torch.arange(length).expand(rows, length)
        return (order if ordered else torch.rand(rows, length, generator=g).argsort(1)) < counts

    text = TextFeatures(
        torch.randn(num_texts, D, generator=g),
        torch.randn(num_texts, num_words, D, generator=g),
        mask(num_texts, num_words, prefix),
    )
    frames = torch.randn(num_videos, num_frames, D, generator=g)
    video = VideoFeatures(frames, frames + torch.randn(frames.shape, generator=g), mask(num_videos, num_frames, True))
    return text, video


def close(actual: SimilarityOutput, expected: SimilarityOutput, tolerance: float = TOLERANCE) -> None:
    torch.testing.assert_close(actual.logits, expected.logits, atol=tolerance, rtol=0)
    for name in PART_NAMES:
        torch.testing.assert_close(actual.parts[name], expected.parts[name], atol=tolerance, rtol=0)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the loops that ran."""
    seen: list[str] = []
    for module in (tcmgc, xclip, xpool, wti):

        def spy(*arguments: Any, _loop: Any = module.score_tile, _name: str = module.__name__) -> None:
            seen.append(_name.rpartition(".")[2])
            _loop(*arguments)

        monkeypatch.setattr(module, "score_tile", spy)
    return seen


shapes = st.tuples(
    st.integers(1, 5), st.integers(1, 35), st.integers(1, MAX_WORDS), st.integers(1, MAX_FRAMES), st.integers(0, 9999)
)


@torch.no_grad()
@settings(max_examples=60, deadline=None)
@given(
    shape=shapes,
    prefix=st.booleans(),
    heads=st.sampled_from([1, 2, 4]),
    projections=st.booleans(),
    mask_padding=st.booleans(),
    keep_rate=st.sampled_from([0.12, 0.34, 0.5, 0.8, 1.0]),
)
def test_text_conditioned_loop_equals_plain(
    shape: tuple[int, int, int, int, int], prefix: bool, **options: Any
) -> None:
    model = conditioned_head(**options)
    text, video = random_features(*shape, prefix=prefix)
    close(model(text, video), model(text, video, method="plain"))


@torch.no_grad()
@settings(max_examples=40, deadline=None)
@given(shape=shapes, prefix=st.booleans(), mask_padding=st.booleans())
def test_grained_loop_equals_plain(shape: tuple[int, int, int, int, int], prefix: bool, mask_padding: bool) -> None:
    model = grained_head(mask_padding=mask_padding)
    text, video = random_features(*shape, prefix=prefix)
    close(model(text, video), model(text, video, method="plain"))


@torch.no_grad()
@pytest.mark.parametrize("keep_rate", [0.1, 0.5])
def test_published_sizes_and_sharpness(keep_rate: float) -> None:
    torch.manual_seed(0)
    model = TextConditionedSimilarity(dimension=512, max_words=32, keep_rate=keep_rate).eval()
    frames = torch.randn(20, 12, 512)
    words = frames[:4, :1] + 2 * torch.randn(4, 32, 512)
    text = TextFeatures(words.mean(dim=1), words, torch.ones(4, 32, dtype=torch.bool))
    video = VideoFeatures(frames, frames, torch.ones(20, 12, dtype=torch.bool))
    output = model(text, video)
    close(output, model(text, video, method="plain"))
    exact = model.double()(text.to(dtype=torch.float64), video.to(dtype=torch.float64), method="plain")
    torch.testing.assert_close(output.logits.double(), exact.logits, atol=TOLERANCE, rtol=0)


@torch.no_grad()
def test_float64_is_answered_by_the_tensor_form(calls: list[str]) -> None:
    model = conditioned_head(heads=2).double()
    text, video = random_features(4, 20, 7, 5, 0)
    text, video = text.to(dtype=torch.float64), video.to(dtype=torch.float64)
    close(model(text, video, method="span"), model(text, video, method="plain"), 1e-4)
    assert not calls


@pytest.mark.parametrize(
    ("make", "name"), [(conditioned_head, "tcmgc"), (grained_head, "xclip")], ids=["tcmgc", "xclip"]
)
def test_the_loop_answers_without_gradients_and_the_tensor_form_with_them(
    make: Any, name: str, calls: list[str]
) -> None:
    model, (text, video) = make(), random_features(3, 5, 6, 4, 1)
    with_gradients = model(text, video)
    assert with_gradients.logits.requires_grad
    assert not calls
    with torch.no_grad():
        close(model(text, video), with_gradients)
        assert set(calls) == {name}
        calls.clear()
        model(text, video, method="plain")
        assert not calls


@torch.no_grad()
@pytest.mark.parametrize("make", [conditioned_head, grained_head], ids=["tcmgc", "xclip"])
def test_precomputed_videos_give_the_same_numbers(make: Any, calls: list[str]) -> None:
    model, (text, video) = make(), random_features(3, 70, 6, 4, 2)
    expected = model(text, video)
    precomputed = model.precompute(video)
    assert len(precomputed) == 70
    close(model(text, precomputed), expected, 1e-5)
    for rows in (slice(16, 50), slice(5, 9), slice(0, 0), torch.tensor([69, 3, 3, 40])):
        some = precomputed[rows]
        assert len(some) == len(video[rows])
        torch.testing.assert_close(model(text, some).logits, expected.logits[:, rows], atol=1e-4, rtol=0)
    close(model(text, precomputed, method="plain"), model(text, video, method="plain"), 0.0)
    assert calls


def test_videos_precomputed_with_gradients_are_scored_by_the_tensor_form(calls: list[str]) -> None:
    model, (text, video) = conditioned_head(), random_features(2, 3, 4, 4, 2)
    precomputed = model.precompute(video)
    assert precomputed.groups is None
    assert model(text, precomputed).logits.requires_grad
    assert not calls


@torch.no_grad()
@pytest.mark.parametrize("make", [conditioned_head, grained_head], ids=["tcmgc", "xclip"])
def test_results_do_not_depend_on_threads_blocks_or_company(make: Any) -> None:
    model, (text, video) = make(), random_features(60, 90, MAX_WORDS, MAX_FRAMES, 4)
    threads, results = torch.get_num_threads(), []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            results.append(model(text, video).logits)
            assert torch.get_num_threads() == number
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    torch.testing.assert_close(model(text[7:8], video[33:34]).logits, results[0][7:8, 33:34], atol=1e-4, rtol=0)
    model.max_block_mb = 0
    torch.testing.assert_close(model(text, video).logits, results[0], atol=TOLERANCE, rtol=0)


@torch.no_grad()
def test_threads_started_later_still_get_torchs_number() -> None:
    threads = torch.get_num_threads()
    found: list[int] = []
    try:
        torch.set_num_threads(2)
        conditioned_head()(*random_features(60, 400, MAX_WORDS, MAX_FRAMES, 5))
        other = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        other.start()
        other.join()
    finally:
        torch.set_num_threads(threads)
    assert found == [2]


@torch.no_grad()
@pytest.mark.parametrize("make", [conditioned_head, grained_head], ids=["tcmgc", "xclip"])
def test_numbers_that_are_not_finite_stay_visible_and_padding_may_hold_them(make: Any) -> None:
    model, (text, video) = make(), random_features(3, 4, 6, 5, 6)
    expected = model(text, video).logits
    text.words[~text.word_mask] = float("nan")
    video.frames[~video.frame_mask] = float("inf")
    video.contextual[~video.frame_mask] = float("nan")
    assert torch.equal(model(text, video).logits, expected)
    text.words[1, 0, 3] = float("nan")
    video.frames[2, 0, 0] = float("inf")
    video.contextual[2, 0, 0] = float("inf")
    output = model(text, video)
    for scores in (output.logits, *output.parts.values()):
        assert scores[1].isnan().all()
        assert scores[:, 2].isnan().all()
        rest = scores[[0, 2]][:, [0, 1, 3]]
        assert rest.isfinite().all()


@torch.no_grad()
def test_refusals_are_those_of_the_plain_form() -> None:
    model, (text, video) = conditioned_head(), random_features(2, 2, 4, 4, 0)
    empty = TextFeatures(text.sentence, text.words, torch.zeros(2, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"text 0 has nothing real \(its mask is all False\)"):
        model(empty, video)
    silent = VideoFeatures(video.frames, video.contextual, torch.zeros(2, 4, dtype=torch.bool))
    for refuse in (lambda: model(text, silent), lambda: model.precompute(silent)):
        with pytest.raises(ValueError, match=r"video 0 has nothing real"):
            refuse()
    long_text, long_video = random_features(1, 1, MAX_WORDS + 1, MAX_FRAMES + 1, 0)
    with pytest.raises(ValueError, match=r"10 words exceed the 9 this model is made for \(max_words=9\)"):
        grained_head()(long_text, video)
    with pytest.raises(ValueError, match=r"7 frames exceed the 6 this model is made for \(max_frames=6\)"):
        grained_head()(text, long_video)


@torch.no_grad()
def test_half_precision_features_are_scored_in_float32() -> None:
    model, (text, video) = conditioned_head(), random_features(3, 20, 6, 4, 7)
    half, half_video = text.to(dtype=torch.bfloat16), video.to(dtype=torch.bfloat16)
    output = model(half, half_video)
    assert output.logits.dtype == torch.float32
    close(output, model(half.to(dtype=torch.float32), half_video.to(dtype=torch.float32), method="plain"))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model(text, video).logits, model(text, video).logits)
        close(model(text, video), model(text, video, method="plain"))


@pytest.fixture
def without_numba(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    numba_installed.cache_clear()
    yield
    numba_installed.cache_clear()


@torch.no_grad()
@pytest.mark.usefixtures("without_numba")
def test_without_numba_the_tensor_form_answers_and_says_so_once(calls: list[str]) -> None:
    model, (text, video) = conditioned_head(), random_features(3, 5, 6, 4, 8)
    with pytest.warns(RuntimeWarning, match=r"numba is not installed: .* several times slower; pip install numba"):
        output = model(text, video)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        close(output, model(text, video))
    assert not calls
    close(output, model(text, video, method="plain"))
    assert model.precompute(video).groups is None


def test_where_no_cache_can_be_written_the_loops_compile_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []

    def njit(function: Any, **options: Any) -> Any:
        made.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return function

    monkeypatch.setattr("numba.njit", njit)
    assert compiled(len) is len
    assert made == [{"nogil": True, "cache": True}, {"nogil": True}]


@torch.no_grad()
@pytest.mark.parametrize("make", [conditioned_head, grained_head], ids=["tcmgc", "xclip"])
def test_no_texts_or_no_videos_give_an_empty_matrix(make: Any) -> None:
    model, (text, video) = make(), random_features(3, 4, 6, 5, 6)
    assert model(text[:0], video).logits.shape == (0, 4)
    assert model(text, video[:0]).logits.shape == (3, 0)
    assert model(text, model.precompute(video[:0])).logits.shape == (3, 0)
    assert model(text[:0], model.precompute(video)).logits.shape == (0, 4)


@torch.no_grad()
def test_scoring_from_several_threads_at_once() -> None:
    model, (text, video) = conditioned_head(), random_features(20, 40, 6, 5, 6)
    expected, found = model(text, video).logits, []

    def work() -> None:
        with torch.no_grad():
            found.append(model(text, video).logits)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 4
    assert all(torch.equal(logits, expected) for logits in found)


@torch.no_grad()
def test_without_onednn_products_come_from_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = torch.randn(5, 8), torch.randn(3, 8)
    torch.testing.assert_close(product(left, right), left @ right.T)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert torch.equal(product(left, right), left @ right.T)


def test_an_error_in_a_thread_reaches_the_caller() -> None:
    threads = torch.get_num_threads()

    def fail(item: int) -> None:
        raise ZeroDivisionError(item)

    try:
        torch.set_num_threads(2)
        with pytest.raises(ZeroDivisionError):
            in_threads(fail, [1, 2, 3])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_tiles_cover_every_pair_once() -> None:
    starts = torch.tensor([0, 4, 700, 703, 710]).numpy()
    for most in (1, 5000, 10**6):
        seen = torch.zeros(4, 7)

        def score(texts: slice, columns: slice, groups: slice, seen: Tensor = seen) -> None:
            assert (columns.start, columns.stop) == (starts[texts.start], starts[texts.stop])
            seen[texts, groups] += 1

        _fused.score_tiles(starts, 7, 3, most, score)
        assert (seen == 1).all()


@pytest.mark.parametrize("rows", [torch.arange(5), torch.arange(16, 40), torch.arange(3, 20), torch.tensor([33, 2])])
def test_picked_videos_are_those_asked_for_in_their_order(rows: Tensor) -> None:
    values = torch.arange(40.0)[:, None] * torch.tensor([1.0, 100.0])  # (V, 2)
    grouped = {"values": _fused._grouped(values, -1)}
    picked = _fused.pick(grouped, {"values": -1}, rows)["values"]  # (groups, 2, LANES)
    assert torch.equal(picked.movedim(-1, 1).reshape(-1, 2)[: len(rows)], values[rows])


def test_the_loops_exponential_is_as_exact_as_it_says() -> None:
    from wordframe.heads._kernels.lanes import exponential, load, store

    @numba.njit
    def each(x: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        for i in range(len(x)):
            store(out, (i,), exponential(load(x, (i,))))

    x = np.linspace(-87, 88, 16 * 4000, dtype=np.float32).reshape(-1, 16)
    found = np.empty_like(x)
    each(x, found)
    exact = np.exp(x.astype(np.float64))
    assert np.abs(found / exact - 1).max() < 2.5e-7
    each(np.full((1, 16), -1000, np.float32), found[:1])
    assert (found[0] > 0).all()
    assert (found[0] < 2e-38).all()
