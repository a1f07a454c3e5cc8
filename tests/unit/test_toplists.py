"""Lists of candidates: those of a plain sort with the right one behind its equals, however tiles are cut."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wordframe.evaluate import both_ranks
from wordframe.evaluate.metrics import best_captions
from wordframe.evaluate.ranker import LOGITS, streamed_views
from wordframe.evaluate.toplists import TopLists, from_keys, sort_keys


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
    best, captioned = best_captions(logits, owners, num_videos=num_videos)
    candidates, scores = lists.video_lists(v2t)
    assert candidates.tolist() == plain(best[:, captioned].T, captioned, captioned, top)
    assert torch.equal(scores, best[:, captioned].T.gather(1, torch.searchsorted(captioned, candidates)))


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
