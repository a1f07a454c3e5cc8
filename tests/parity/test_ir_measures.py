"""Our numbers against ir-measures (trec_eval inside), read from the TREC files that a run's folder keeps."""

from __future__ import annotations

from pathlib import Path

import ir_measures
import pytest
import torch
from ir_measures import RR, P, R, Success

from wordframe.evaluate import Ranks
from wordframe.evaluate.ranker import LOGITS, streamed_views
from wordframe.evaluate.toplists import TopLists, caption_ids, write_trec_qrels, write_trec_run

NAMES = [f"a video {number}.mp4" for number in range(40)]


@pytest.fixture(scope="module", params=["plain", "ties"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ranks]:
    """Files and ranks of 90 captions of 30 of 40 videos; with ``ties`` most scores are equal to others."""
    folder = tmp_path_factory.mktemp(str(request.param))
    g = torch.Generator().manual_seed(3)
    owners = torch.randint(0, 30, (90,), generator=g)
    logits = torch.randn(90, 40, generator=g) + 2.0 * torch.nn.functional.one_hot(owners, 40)
    if request.param == "ties":
        logits = logits.round()
    lists = TopLists(caption_video=owners, num_videos=40, top=100)
    t2v, v2t = streamed_views(
        lambda rows, columns: logits[rows, columns],
        owners,
        {LOGITS: lambda tile, rows, columns: tile},
        num_videos=40,
        readers={"lists": lists},
        max_rows=20,
        max_columns=16,
    )[LOGITS]
    captions, captioned = caption_ids(NAMES, owners), [NAMES[video] for video in lists.captioned.tolist()]
    write_trec_run(folder / "run.t2v.trec", captions, NAMES, lists.text_lists(t2v))
    write_trec_qrels(folder / "qrels.t2v.trec", captions, [NAMES[video] for video in owners.tolist()])
    write_trec_run(folder / "run.v2t.trec", captioned, NAMES, lists.video_lists(v2t))
    write_trec_qrels(folder / "qrels.v2t.trec", captioned, captioned)
    return folder, Ranks(t2v, v2t, owners, 40)


@pytest.mark.parametrize("direction", ["t2v", "v2t"])
def test_recalls_and_reciprocal_rank_agree(run: tuple[Path, Ranks], direction: str) -> None:
    folder, ranks = run
    mine = dict(zip(("t2v", "v2t"), ranks.metrics(), strict=True))[direction]
    reciprocal = float((1.0 / getattr(ranks, direction)).mean())
    qrels = list(ir_measures.read_trec_qrels(str(folder / f"qrels.{direction}.trec")))
    listed = list(ir_measures.read_trec_run(str(folder / f"run.{direction}.trec")))
    measures = [P @ 1, *(measure @ k for measure in (R, Success) for k in (1, 5, 10)), RR]
    found = ir_measures.calc_aggregate(measures, qrels, listed)
    for k, recall in ((1, mine.recall_at_1), (5, mine.recall_at_5), (10, mine.recall_at_10)):
        assert 100.0 * found[R @ k] == pytest.approx(recall)
        assert 100.0 * found[Success @ k] == pytest.approx(recall)
    assert 100.0 * found[P @ 1] == pytest.approx(mine.recall_at_1)
    assert found[RR] == pytest.approx(reciprocal)
    assert 0.0 < mine.recall_at_1 < 100.0
    assert len(qrels) == mine.queries


def test_every_query_agrees(run: tuple[Path, Ranks]) -> None:
    folder, ranks = run
    qrels = list(ir_measures.read_trec_qrels(str(folder / "qrels.t2v.trec")))
    listed = list(ir_measures.read_trec_run(str(folder / "run.t2v.trec")))
    by_query = {each.query_id: each.value for each in ir_measures.iter_calc([RR], qrels, listed)}
    expected = (1.0 / ranks.t2v).tolist()
    assert [by_query[qrel.query_id] for qrel in qrels] == pytest.approx(expected)
