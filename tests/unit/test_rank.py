"""Ranking in blocks: the lists of the whole matrix, within the memory, and exact after an interruption."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from wordframe.evaluate import Checkpoint, both_ranks, rank, streamed_ranks, tile_scorer
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.models import ModelSettings, TextVideoModel

D = 16
FAMILIES = {
    "tcmgc": {"family": "tcmgc", "keep_rate": 0.5},
    "xclip": {"family": "xclip"},
    "clip4clip": {"family": "clip4clip"},
}


def model_of(family: str) -> TextVideoModel:
    torch.manual_seed(0)
    return TextVideoModel(settings=ModelSettings(max_words=8, **FAMILIES[family]), dimension=D).eval()  # type: ignore[arg-type]


def features(num_texts: int, num_videos: int) -> tuple[TextFeatures, VideoFeatures]:
    g = torch.Generator().manual_seed(0)
    words = torch.randn(num_texts, 8, D, generator=g)
    mask = torch.arange(8) < torch.randint(1, 9, (num_texts, 1), generator=g)
    frames = torch.randn(num_videos, 4, D, generator=g)
    video = VideoFeatures(frames, frames, torch.ones(num_videos, 4, dtype=torch.bool))
    return TextFeatures(words.mean(dim=1), words, mask), video


def whole(model: TextVideoModel, text: TextFeatures, video: VideoFeatures) -> Tensor:
    with torch.no_grad():
        return model.score(text, video).logits


@pytest.mark.parametrize("family", FAMILIES)
def test_lists_are_those_of_the_whole_matrix(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, (text, video) = model_of(family), features(30, 100)
    expected = whole(model, text, video).topk(7, dim=1)
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr("wordframe.evaluate.ranking._COPIES_PER_FRAME", 60_000)  # blocks of some videos
    monkeypatch.setattr("wordframe.evaluate.ranking._COPIES_PER_WORD", 80_000)  # and some texts
    found = rank(model, text, video, top=7, max_memory_mb=256, on_progress=lambda *state: seen.append(state))
    assert torch.equal(found.videos, expected.indices)
    torch.testing.assert_close(found.logits, expected.values, atol=1e-3, rtol=0)
    total = seen[0][1]
    assert total > 20
    assert seen == [(done, total) for done in range(total + 1)]
    assert model.similarity.max_block_mb == 256


def test_blocks_made_on_demand_and_lists_longer_than_the_gallery() -> None:
    model, (text, video) = model_of("tcmgc"), features(9, 5)

    class Lazily(Sequence[TextFeatures]):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, at: int) -> TextFeatures:  # type: ignore[override]
            return text[slice(3 * at, 3 * at + 3)]

    found = rank(model, Lazily(), video, top=50)
    assert found.videos.shape == (9, 5)
    assert torch.equal(found.videos, whole(model, text, video).argsort(dim=1, descending=True))


def test_equal_logits_keep_the_order_of_the_videos(monkeypatch: pytest.MonkeyPatch) -> None:
    model, (text, video) = model_of("clip4clip"), features(3, 1)
    same = video[torch.zeros(40, dtype=torch.long)]
    monkeypatch.setattr("wordframe.evaluate.ranking._COPIES_PER_FRAME", 60_000)
    found = rank(model, text, same, top=12, max_memory_mb=64)
    assert torch.equal(found.videos, torch.arange(12).expand(3, 12))


class CutShortError(Exception):
    """What stops a run in these tests."""


@pytest.mark.parametrize("stop_after", [1, 5, 13])
def test_a_run_goes_on_where_it_was_cut_short(stop_after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, (text, video) = model_of("tcmgc"), features(20, 60)
    blocks = [text[start : start + 5] for start in range(0, 20, 5)]
    monkeypatch.setattr("wordframe.evaluate.ranking._COPIES_PER_FRAME", 60_000)
    monkeypatch.setattr(Checkpoint, "due", lambda self: True)
    expected = rank(model, blocks, video, top=6, max_memory_mb=400)
    done_before: list[int] = []

    def stop(done: int, total: int) -> None:
        if done == stop_after:
            raise CutShortError

    with pytest.raises(CutShortError):
        rank(model, blocks, video, top=6, max_memory_mb=400, checkpoint=tmp_path, on_progress=stop)
    found = rank(
        model,
        blocks,
        video,
        top=6,
        max_memory_mb=400,
        checkpoint=tmp_path,
        on_progress=lambda done, total: done_before.append(done),
    )
    assert done_before[0] == stop_after
    assert torch.equal(found.videos, expected.videos)
    assert torch.equal(found.logits, expected.logits)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.npz"]


def test_the_state_of_another_run_is_refused(tmp_path: Path) -> None:
    model, (text, video) = model_of("tcmgc"), features(4, 6)
    rank(model, text, video, top=3, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"holds the state of another run: top differ; choose another folder, or del"):
        rank(model, text, video, top=2, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"another run: model, videos, videos in a block differ"):
        rank(model_of("xclip"), text, video[1:], top=3, checkpoint=tmp_path, max_memory_mb=1024)


def test_refusals() -> None:
    model, (text, video) = model_of("tcmgc"), features(4, 6)
    with pytest.raises(ValueError, match="top=0 must be at least 1"):
        rank(model, text, video, top=0)
    with pytest.raises(ValueError, match="max_memory_mb=0 must be at least 1"):
        rank(model, text, video, max_memory_mb=0)
    with pytest.raises(ValueError, match="rank needs texts and videos, got 0 and 6"):
        rank(model, text[:0], video)
    text.words[2, 0] = float("nan")
    with pytest.raises(ValueError, match="6 NaN, the first at row 2, column 0"):
        rank(model, text, video)


@pytest.mark.parametrize("family", FAMILIES)
def test_streamed_ranks_of_a_model_are_those_of_the_whole_matrix(family: str) -> None:
    model, (text, video) = model_of(family), features(60, 40)
    owners = torch.arange(60) % 40
    expected = both_ranks(whole(model, text, video), owners, num_videos=40)
    for texts in (text, lambda rows: text[rows]):
        score = tile_scorer(model, texts, video)
        found = streamed_ranks(score, owners, num_videos=40, max_rows=7, max_columns=16)
        assert torch.equal(found[0], expected[0])
        assert torch.equal(found[1], expected[1])


@pytest.mark.parametrize("place", ["band", "rest"])
def test_streamed_ranks_go_on_where_they_were_cut_short(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = torch.randn(60, 40, generator=torch.Generator().manual_seed(2))
    owners = torch.arange(60) % 40
    monkeypatch.setattr(Checkpoint, "due", lambda self: True)
    calls: list[int] = []

    def run(keeper: Checkpoint | None, stop_at: int = 99) -> tuple[Tensor, Tensor]:
        calls.clear()
        seen: list[tuple[int, int]] = []

        def score(rows: Tensor, columns: slice) -> Tensor:
            calls.append(len(calls) + 1)
            if calls[-1] == stop_at:
                raise CutShortError
            return logits[rows, columns]

        found = streamed_ranks(
            score,
            owners,
            num_videos=40,
            max_rows=10,
            max_columns=16,
            checkpoint=keeper,
            on_progress=lambda *state: seen.append(state),
        )
        assert seen[-1] == (2400, 2400)
        return found

    expected = both_ranks(logits, owners, num_videos=40)
    run(None)
    tiles = len(calls)
    stop_at = 2 if place == "band" else tiles - 3
    with pytest.raises(CutShortError):
        run(Checkpoint(tmp_path, {"logits": "random"}), stop_at)
    found = run(Checkpoint(tmp_path, {"logits": "random"}))
    assert len(calls) == (tiles if place == "band" else 4)  # the band is short and starts anew
    for actual, wanted in zip(found, expected, strict=True):
        assert torch.equal(actual, wanted)
    assert torch.equal(run(Checkpoint(tmp_path, {"logits": "random"}))[0], expected[0])
    assert not calls  # a finished run is only read


MEMORY = """
import resource, sys, torch
from wordframe.evaluate import rank
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.models import ModelSettings, TextVideoModel
torch.set_num_threads(2)
D, T, V = 64, 1500, 3000
words, frames = torch.randn(T, 4, D), torch.randn(V, 4, D)
text = TextFeatures(words[:, 0].clone(), words, torch.ones(T, 4, dtype=torch.bool))
video = VideoFeatures(frames, frames, torch.ones(V, 4, dtype=torch.bool))
model = TextVideoModel(settings=ModelSettings(family="tcmgc", keep_rate=0.5, max_words=4), dimension=D).eval()
rank(model, text[:40], video[:40], max_memory_mb=16)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rank(model, text, video, max_memory_mb=int(sys.argv[1]))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
def test_memory_stays_within_the_budget() -> None:
    """The whole matrix and its parts would be 90 MB."""
    done = subprocess.run([sys.executable, "-c", MEMORY, "32"], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 32


@pytest.mark.parametrize(("own", "allowed", "taken"), [(2, 1024, 2), (256, 40, 10)])
def test_the_lower_of_two_limits_holds_while_ranking(own: int, allowed: int, taken: int) -> None:
    model, (text, video) = model_of("clip4clip"), features(2, 3)
    model.similarity.max_block_mb, seen = own, []
    model.similarity.register_forward_pre_hook(lambda module, inputs: seen.append(module.max_block_mb))
    rank(model, text, video, max_memory_mb=allowed)
    assert seen == [taken]
    assert model.similarity.max_block_mb == own


def test_reduced_products_are_asked_for_by_name_and_given_back() -> None:
    model, (text, video) = model_of("tcmgc"), features(4, 6)
    exact = rank(model, text, video, top=3)
    near = rank(model, text, video, top=3, products=model.similarity.kinds_of_products[-1])
    assert (near.logits - exact.logits).abs().max() < 3.0
    assert model.similarity.products == "float32"
    with pytest.raises(ValueError, match="products='int4' is not there for"):
        rank(model, text, video, products="int4")
