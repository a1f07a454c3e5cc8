"""Evaluation from features: the ranks of the whole matrix, by any model, in any memory, and after an interruption."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from wordframe.evaluate import Checkpoint, both_ranks, evaluate_features, evaluator, measure_features
from wordframe.evaluate.checkpoint import digest
from wordframe.evaluate.evaluator import tile_sizes
from wordframe.evaluate.ranking import count_texts, texts_at
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.models import ModelSettings, TextVideoModel, contextualize, score

D, T, V = 16, 80, 30
SETTINGS: dict[str, dict[str, object]] = {
    "tcmgc": {"family": "tcmgc", "keep_rate": 0.5, "sim_header": "seqTransf", "layers": 1, "heads": 2},
    "xclip": {"family": "xclip", "max_frames": 3},
    "xclip, padding takes part": {"family": "xclip", "mask_padding": False},
    "lstm": {"family": "clip4clip", "sim_header": "seqLSTM"},
}


def model_of(kind: str) -> TextVideoModel:
    torch.manual_seed(0)
    settings = ModelSettings(max_words=8, **SETTINGS[kind])  # type: ignore[arg-type]
    return TextVideoModel(settings=settings, dimension=D).eval()


def features() -> tuple[TextFeatures, VideoFeatures, Tensor]:
    g = torch.Generator().manual_seed(0)
    words = torch.randn(T, 8, D, generator=g)
    mask = torch.arange(8) < torch.randint(1, 9, (T, 1), generator=g)
    frames = torch.randn(V, 5, D, generator=g)
    frame_mask = torch.arange(5) < torch.randint(1, 6, (V, 1), generator=g)
    text = TextFeatures(words.mean(dim=1), words, mask)
    return text, VideoFeatures(frames, frames, frame_mask), torch.randint(0, V, (T,), generator=g)


class Lazily(Sequence[TextFeatures]):
    """Blocks made when asked for, with as many word positions as they need."""

    def __init__(self, text: TextFeatures, size: int) -> None:
        self.text, self.size = text, size

    def __len__(self) -> int:
        return -(-len(self.text) // self.size)

    def __getitem__(self, at: int) -> TextFeatures:  # type: ignore[override]
        some = self.text[slice(*(step * self.size for step in (range(len(self))[at], range(len(self))[at] + 1)))]
        longest = int(some.word_mask.sum(dim=1).max())
        return TextFeatures(some.sentence, some.words[:, :longest], some.word_mask[:, :longest])


@pytest.mark.parametrize("kind", SETTINGS)
def test_ranks_are_those_of_the_whole_matrix(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, (text, video, owners) = model_of(kind), features()
    expected = both_ranks(score(model, text, contextualize(model, video)), owners, num_videos=V)
    monkeypatch.setattr(evaluator, "ROWS", 20)
    for sizes, texts in ((None, text), ((6, 12), Lazily(text, 7))):
        if sizes is not None:
            monkeypatch.setattr(evaluator, "tile_sizes", lambda *arguments: (6, 12))
        found = evaluate_features(model, texts, video, owners)
        assert torch.equal(found.t2v, expected[0])
        assert torch.equal(found.v2t, expected[1])


def test_features_in_half_precision_are_scored_in_float32() -> None:
    model, (text, video, owners) = model_of("tcmgc"), features()
    half_text, half_video = text.to(dtype=torch.float16), video.to(dtype=torch.float16)
    expected = evaluate_features(model, half_text.to(dtype=torch.float32), half_video.to(dtype=torch.float32), owners)
    assert torch.equal(evaluate_features(model, half_text, half_video, owners).t2v, expected.t2v)


def test_every_module_is_in_the_mode_it_was_in() -> None:
    model, (text, video, owners) = model_of("tcmgc"), features()
    expected = evaluate_features(model, text, video, owners)
    model.train()
    assert model.temporal is not None
    model.temporal.eval()  # a frozen part
    limit = model.similarity.max_block_mb
    found = evaluate_features(model, text, video, owners, max_memory_mb=64)
    assert torch.equal(found.t2v, expected.t2v)  # dropout was off
    assert (model.training, model.temporal.training, model.similarity.training) == (True, False, True)
    assert model.similarity.max_block_mb == limit


def test_the_galleries_are_all_videos_and_those_with_captions() -> None:
    model, (text, video, owners) = model_of("lstm"), features()
    assert len(owners.unique()) < V
    found = evaluate_features(model, text, video, owners).evaluation(samples=50)
    assert (found.t2v.queries, found.t2v.gallery) == (T, V)
    assert found.v2t.queries == found.v2t.gallery == len(owners.unique())
    assert found.intervals.keys() == {"t2v", "v2t"}


def test_texts_are_found_by_their_numbers_in_blocks_made_on_demand() -> None:
    text, _, _ = features()
    made: list[int] = []

    class Counting(Lazily):
        def __getitem__(self, at: int) -> TextFeatures:  # type: ignore[override]
            made.append(at)
            return super().__getitem__(at)

    blocks = Counting(text, 7)
    assert (count_texts(blocks), count_texts(text), count_texts(text[:0])) == (T, T, 0)
    find = texts_at(blocks, max_words=None)
    made.clear()
    rows = torch.tensor([79, 0, 6, 7, 0, 41])
    for _ in range(2):
        found = find(rows)
        assert torch.equal(found.sentence, text.sentence[rows])
        width = found.words.shape[1]
        assert torch.equal(found.word_mask, text.word_mask[rows, :width])
        assert torch.equal(found.words[found.word_mask], text.words[rows][text.word_mask[rows]])
    assert sorted(made) == [0, 1, 5, 11], "a block is made once"


def test_progress_counts_the_pairs_of_all_passes() -> None:
    model, (text, video, owners) = model_of("lstm"), features()
    seen: list[tuple[int, int]] = []
    measure_features(
        model, text, video, owners, dsl=True, bank=text[:30], on_progress=lambda *state: seen.append(state)
    )
    total = (2 * T + 30) * V
    assert seen[-1] == (total, total)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


class CutShortError(Exception):
    """What stops a run in these tests."""


@pytest.mark.parametrize("stop_at", [0.4, 0.9])  # beyond the tiles with matching pairs, which start anew
def test_a_run_goes_on_where_it_was_cut_short(stop_at: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, (text, video, owners) = model_of("tcmgc"), features()
    monkeypatch.setattr(Checkpoint, "due", lambda self: True)
    monkeypatch.setattr(evaluator, "ROWS", 20)
    monkeypatch.setattr(evaluator, "tile_sizes", lambda *arguments: (6, 12))
    asked = {"top": 5, "dsl": True}
    expected = measure_features(model, text, video, owners, **asked)  # type: ignore[arg-type]
    first: list[float] = []

    def stop(done: int, total: int) -> None:
        if done / total >= stop_at:
            raise CutShortError

    with pytest.raises(CutShortError):
        measure_features(model, text, video, owners, **asked, checkpoint=tmp_path, on_progress=stop)  # type: ignore[arg-type]
    found = measure_features(
        model,
        text,
        video,
        owners,
        **asked,  # type: ignore[arg-type]
        checkpoint=tmp_path,
        on_progress=lambda done, total: first.append(done / total),
    )
    # what was done before is told once a pass, then it goes on with the tile that was cut short
    before = [share for share in first if share < stop_at - 0.1]
    assert before == ([0.5] if stop_at > 0.5 else [])
    assert first[-1] == 1.0
    assert torch.equal(found.ranks.t2v, expected.ranks.t2v)
    assert torch.equal(found.rescored[0].ranks["v2t"], expected.rescored[0].ranks["v2t"])
    assert found.lists is not None
    assert expected.lists is not None
    for mine, theirs in zip(
        found.lists.video_lists(found.ranks.v2t), expected.lists.video_lists(expected.ranks.v2t), strict=True
    ):
        assert torch.equal(mine, theirs)
    with pytest.raises(ValueError, match=r"state of another run: .*top.* differ; choose another folder"):
        measure_features(model, text, video, owners, top=6, dsl=True, checkpoint=tmp_path)


@pytest.mark.parametrize("changed", ["model", "videos", "first texts", "captions' videos"])
def test_the_state_of_a_run_on_anything_else_is_refused(
    changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, (text, video, owners) = model_of("lstm"), features()
    monkeypatch.setattr(evaluator, "ROWS", 20)
    monkeypatch.setattr(evaluator, "tile_sizes", lambda *arguments: (6, 12))
    evaluate_features(model, text, video, owners, checkpoint=tmp_path)
    if changed == "model":
        with torch.no_grad():
            model.similarity.logit_scale.fill_(1.0)  # type: ignore[union-attr,operator]
    elif changed == "videos":
        video = VideoFeatures(video.frames + 1, video.frames + 1, video.frame_mask)
    elif changed == "first texts":
        text = TextFeatures(-text.sentence, text.words, text.word_mask)
    else:
        owners = (owners + 1) % V
    with pytest.raises(ValueError, match=f"holds the state of another run: {changed} differ; choose another folder"):
        evaluate_features(model, text, video, owners, checkpoint=tmp_path)


def test_a_digest_is_of_numbers_kinds_and_shapes() -> None:
    kinds = [torch.zeros(6), torch.zeros(2, 3), torch.zeros(3, 2), torch.zeros(6, dtype=torch.int32), torch.ones(6)]
    assert len({digest(tensor) for tensor in kinds}) == len(kinds)
    assert digest(torch.zeros(6)[::2]) == digest(torch.zeros(3)), "not of how they lie in memory"


def test_sizes_stay_within_the_memory() -> None:
    video = VideoFeatures(*(torch.zeros(1, 12, 512).expand(3000, -1, -1),) * 2, torch.ones(3000, 12, dtype=torch.bool))
    for texts in (1000, 60_000):
        columns, group = tile_sizes(texts, video, 512)
        assert group % columns == 0
        assert group <= 3000
        assert (texts * columns + evaluator.ROWS * 3000) * 4 <= 128 * 2**20
    assert tile_sizes(10, video[:5], 512) == (5, 5)


def test_refusals() -> None:
    model, (text, video, owners) = model_of("lstm"), features()
    with pytest.raises(ValueError, match="max_memory_mb=0 must be at least 1"):
        evaluate_features(model, text, video, owners, max_memory_mb=0)
    with pytest.raises(ValueError, match=r"one int64 video index a text, shape \(80,\)"):
        evaluate_features(model, text, video, owners[:-1])
    with pytest.raises(ValueError, match="evaluation needs texts and videos, got 0 and 30"):
        evaluate_features(model, [], video, owners[:0])
    text.sentence[3] = float("nan")
    with pytest.raises(ValueError, match="NaN, the first for text 3"):
        evaluate_features(model, text, video, owners)


MEMORY = """
import resource, sys, torch
from wordframe.evaluate import measure_features
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.models import ModelSettings, TextVideoModel
torch.set_num_threads(1)
D, T, V = 64, 6000, 3000
words, frames = torch.randn(T, 4, D), torch.randn(V, 4, D)
text = TextFeatures(words[:, 0].clone(), words, torch.ones(T, 4, dtype=torch.bool))
video = VideoFeatures(frames, frames, torch.ones(V, 4, dtype=torch.bool))
model = TextVideoModel(settings=ModelSettings(family="clip4clip"), dimension=D).eval()
owners = torch.arange(T) % V
measure_features(model, text[:40], video[:40], torch.arange(40), dsl=True, max_memory_mb=16)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
measure_features(model, text, video, owners, dsl=True, max_memory_mb=40)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
def test_memory_stays_within_the_budget() -> None:
    """The whole matrix would be 72 MB, and the dual softmax of it 144."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 40
