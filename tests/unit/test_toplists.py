"""Lists of candidates: those of a plain sort with the right one behind its equals, however tiles are cut."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wordframe.evaluate import both_ranks
from wordframe.evaluate.ranker import LOGITS, streamed_views
from wordframe.evaluate.toplists import TopLists, from_keys, sort_keys, write_trec_run


def plain(scores: Tensor, right: Tensor, names: Tensor, top: int) -> list[list[int]]:
    """Candidates by score, the right one behind its equals, else by name."""
    rows = []
    for row, answer in zip(scores.tolist(), right.tolist(), strict=True):
        order = sorted(range(len(row)), key=lambda at: (-row[at], int(names[at]) == answer, int(names[at])))
        rows.append([int(names[at]) for at in order][:top])
    return rows


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 7), st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_lists_are_those_of_a_plain_sort(seed: int, num_videos: int, max_columns: int, top: int) -> None:
    g = torch.Generator().manual_seed(seed)
    owners = torch.randint(0, num_videos, (15,), generator=g)
    logits = torch.randint(-2, 3, (15, num_videos), generator=g).float()  # many ties, zeros of both signs
    logits = logits.masked_fill((logits == 0) & (torch.rand(logits.shape, generator=g) < 0.5), -0.0)
    lists = TopLists(caption_video=owners, num_videos=num_videos, top=top)
    t2v, v2t = streamed_views(
        lambda rows, columns: logits[rows, columns],
        owners,
        {LOGITS: lambda tile, rows, columns: tile},
        num_videos=num_videos,
        readers={"lists": lists},
        max_rows=4,
        max_columns=max_columns,
    )[LOGITS]
    assert torch.equal(t2v, both_ranks(logits, owners, num_videos=num_videos)[0])
    videos, scores = lists.text_lists(t2v)
    assert videos.tolist() == plain(logits, owners, torch.arange(num_videos), top)
    assert torch.equal(scores, logits.gather(1, videos))
    captioned = sorted(set(owners.tolist()))
    best = torch.stack([logits[owners == video].max(dim=0).values for video in captioned], dim=1)  # (V, C)
    asking = best[captioned]  # (C, C), rows are queries
    candidates, scores = lists.video_lists(v2t)
    assert candidates.tolist() == plain(asking, torch.tensor(captioned), torch.tensor(captioned), top)
    for found, told, row in zip(candidates.tolist(), scores.tolist(), asking.tolist(), strict=True):
        assert told == [row[captioned.index(video)] for video in found]


def test_keys_sort_by_score_then_place_and_come_back() -> None:
    scores = torch.tensor([0.0, -0.0, -1.5, 1e-30, -1e-30, 3e38, -3e38, float("-inf")])
    places = torch.arange(8)
    keys = sort_keys(scores, places)
    order = [5, 3, 0, 1, 4, 2, 6, 7]
    assert keys.argsort(descending=True).tolist() == order
    back, where = from_keys(keys)
    assert torch.equal(where, places)
    assert torch.equal(back, scores)


def test_a_list_has_a_place() -> None:
    with pytest.raises(ValueError, match="top = 0; a list has at least 1 place"):
        TopLists(caption_video=torch.tensor([0]), num_videos=2, top=0)


def test_a_gallery_of_one_video_has_lists_of_one() -> None:
    lists = TopLists(caption_video=torch.tensor([0, 0]), num_videos=1, top=5)
    lists.add(torch.tensor([[0.5], [0.25]]), rows=torch.arange(2), first_column=0)
    assert [found.tolist() for found in lists.text_lists(torch.tensor([1, 1]))] == [[[0], [0]], [[0.5], [0.25]]]
    assert [found.tolist() for found in lists.video_lists(torch.tensor([1]))] == [[[0]], [[0.5]]]


def test_a_right_answer_beyond_the_list_is_left_out() -> None:
    lists = TopLists(caption_video=torch.tensor([3]), num_videos=4, top=2)
    lists.add(torch.tensor([[0.1, 0.3, 0.2, 0.2]]), rows=torch.arange(1), first_column=0)
    assert lists.text_lists(torch.tensor([3]))[0].tolist() == [[1, 2]]
    assert lists.text_lists(torch.tensor([2]))[0].tolist() == [[1, 3]]


def test_a_run_file_names_rank_and_falls_strictly(tmp_path: Path) -> None:
    """A blank in a name is escaped; equal scores are lowered step by step, so that every tool reads one order."""
    write_trec_run(
        tmp_path / "run", ["q 1", "q2"], ["a b", "c", "d"],
        (torch.tensor([[2, 0, 1], [1, 0, 2]]), torch.tensor([[0.5, 0.5, 0.5], [2.0, 1.0, -1.0]])),
    )  # fmt: skip
    lines = [line.split(" ") for line in (tmp_path / "run").read_text().splitlines()]
    assert [line[:4] for line in lines[:3]] == [
        ["q%201", "Q0", "d", "1"],
        ["q%201", "Q0", "a%20b", "2"],
        ["q%201", "Q0", "c", "3"],
    ]
    assert [line[4] for line in lines[3:]] == ["2", "1", "-1"]
    scores = torch.tensor([float(line[4]) for line in lines[:3]])
    assert (scores.diff() < 0).all()
    assert scores.tolist() == pytest.approx([0.5] * 3, abs=1e-6)
    assert {line[5] for line in lines} == {"wordframe"}
