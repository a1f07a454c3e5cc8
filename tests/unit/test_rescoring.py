"""Dual softmax and QB-Norm from tiles, against plain versions on the whole matrix and against a case by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from wordframe.evaluate import both_ranks, evaluator, measure_features
from wordframe.evaluate.rescoring import Statistics, dual_softmax_t2v, dual_softmax_v2t, querybank_t2v
from wordframe.features import TextFeatures, VideoFeatures
from wordframe.models import ModelSettings, TextVideoModel

D = 8


def plain_dsl(logits: Tensor, owners: Tensor) -> tuple[Tensor, Tensor]:
    """Both directions by the papers' formulas; only videos with captions ask."""
    exact, num_videos = logits.double(), logits.shape[1]
    t2v = both_ranks(exact * exact.softmax(dim=0), owners, num_videos=num_videos)[0]
    asking = owners.unique()
    asked = exact[:, asking] * exact[:, asking].softmax(dim=1)
    best = torch.stack([asked[owners == video].max(dim=0).values for video in asking], dim=1)  # (asking, candidates)
    return t2v, 1 + ((best >= best.diag()[:, None]).sum(dim=1) - 1)


def plain_qb_norm(cosines: Tensor, bank: Tensor, owners: Tensor) -> Tensor:
    similarity, hubs = cosines.double(), (20.0 * bank.double()).exp().sum(dim=0)
    activated = set(bank.argmax(dim=1).tolist())
    scores = similarity.clone()
    for row in range(len(similarity)):
        if int(similarity[row].argmax()) in activated:
            scores[row] = (20.0 * similarity[row]).exp() / hubs
    return both_ranks(scores, owners, num_videos=similarity.shape[1])[0]


def test_equal_to_the_whole_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    g = torch.Generator().manual_seed(1)
    model = TextVideoModel(settings=ModelSettings(family="clip4clip"), dimension=D).eval()
    frames = torch.randn(40, 1, D, generator=g) + 0.5
    video = VideoFeatures(frames, frames, torch.ones(40, 1, dtype=torch.bool))
    owners = torch.randint(0, 30, (90,), generator=g)  # ten videos or more have no caption

    def texts(sentence: Tensor) -> TextFeatures:
        return TextFeatures(sentence, sentence[:, None], torch.ones(len(sentence), 1, dtype=torch.bool))

    text = texts(frames[owners, 0] + torch.randn(90, D, generator=g))
    bank = texts(torch.randn(25, D, generator=g))
    logits, bank_logits = (model.score(each, video).logits.detach() for each in (text, bank))
    monkeypatch.setattr(evaluator, "ROWS", 16)
    monkeypatch.setattr(evaluator, "tile_sizes", lambda *arguments: (7, 14))
    dsl, qb_norm = measure_features(model, text, video, owners, dsl=True, bank=bank).rescored
    assert (dsl.name, qb_norm.name, list(qb_norm.ranks)) == ("dsl", "qb_norm", ["t2v"])
    expected = plain_dsl(logits, owners)
    assert torch.equal(dsl.ranks["t2v"], expected[0])
    assert torch.equal(dsl.ranks["v2t"], expected[1])
    expected_qb = plain_qb_norm(logits / model.scale, bank_logits / model.scale, owners)
    assert torch.equal(qb_norm.ranks["t2v"], expected_qb)
    plain = both_ranks(logits, owners, num_videos=40)[0]
    assert not torch.equal(expected_qb, plain)  # the test can tell the three apart
    assert not torch.equal(expected[0], plain)


def collected(logits: Tensor, factor: float = 1.0) -> Statistics:
    found = Statistics(num_texts=len(logits), asking=torch.ones(logits.shape[1], dtype=torch.bool), factor=factor)
    for column in (1, 0):
        found.add(logits[:, [column]], rows=torch.arange(len(logits)), first_column=column)
    return found


def test_by_hand() -> None:
    """Video 0 draws both captions; what it gives is shared by both, so caption 1 finds video 1."""
    logits = torch.tensor([[3.0, 1.0], [2.0, 1.5]])
    statistics = collected(logits)
    rows, columns = torch.arange(2), slice(0, 2)
    t2v = dual_softmax_t2v(statistics)(logits, rows, columns)
    assert t2v[1, 0].item() == pytest.approx(2.0 * math.exp(2) / (math.exp(3) + math.exp(2)))
    assert t2v[1, 1].item() == pytest.approx(1.5 * math.exp(1.5) / (math.exp(1) + math.exp(1.5)))
    assert t2v[1, 1] > t2v[1, 0]
    v2t = dual_softmax_v2t(statistics)(logits, rows, columns)
    assert v2t[0, 1].item() == pytest.approx(1.0 * math.exp(1) / (math.exp(3) + math.exp(1)))


def test_only_captions_whose_best_video_is_activated_are_normalised() -> None:
    logits = torch.tensor([[3.0, 1.0], [0.5, 2.0]])
    bank = collected(torch.tensor([[2.0, 0.0]]))  # its caption likes video 0 best
    assert (bank.best.tolist(), bank.column_sums.tolist()) == ([0], [2.0, 0.0])
    scores = querybank_t2v(collected(logits), bank)(logits, torch.arange(2), slice(0, 2))
    assert scores.tolist() == [[1.0, 1.0], [0.5, 2.0]]


def test_of_equal_videos_the_first_is_best_in_whatever_order_they_come() -> None:
    assert collected(torch.tensor([[1.0, 1.0], [0.0, 1.0]])).best.tolist() == [0, 1]


def test_extreme_logits_lose_nothing() -> None:
    """exp(-200) is zero in float32; pairs would tie."""
    logits = torch.tensor([[100.0, -100.0], [-100.0, -99.0]])
    scores = dual_softmax_t2v(collected(logits))(logits, torch.arange(2), slice(0, 2))
    assert len(set(scores.flatten().tolist())) == 4
