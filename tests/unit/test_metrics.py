"""Ranks, recalls and the report: hand-computed cases, a slow plain version, tiles against the whole."""

from __future__ import annotations

import io
import json
from importlib.metadata import version

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from torch import Tensor

from wordframe.evaluate import (
    TIE_RULE,
    EvaluationReport,
    Ranks,
    RetrievalMetrics,
    both_ranks,
    evaluate_logits,
    ranks,
    report_table,
    streamed_ranks,
)
from wordframe.evaluate.ranker import RankCounter, read_tiles, whole_video_blocks
from wordframe.evaluate.report import Skipped


def plain_rank(scores: list[float], right: set[int]) -> int:
    """Sort with the wrong ones first among equals and look for the first right one."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i in right))
    return 1 + next(place for place, i in enumerate(order) if i in right)


def plain_both(logits: list[list[float]], owners: list[int], num_videos: int) -> tuple[list[int], list[int]]:
    text_ranks = [plain_rank(row, {owner}) for row, owner in zip(logits, owners, strict=True)]
    captioned = sorted(set(owners))
    video_ranks = []
    for query in captioned:
        best = [max(row[query] for row, owner in zip(logits, owners, strict=True) if owner == c) for c in captioned]
        video_ranks.append(plain_rank(best, {captioned.index(query)}))
    return text_ranks, video_ranks


@st.composite
def problems(draw: st.DrawFn) -> tuple[Tensor, Tensor, int]:
    """Logits of few distinct values, so that ties abound; some videos have no caption, some have several."""
    num_texts, num_videos = draw(st.integers(1, 9)), draw(st.integers(1, 7))
    value = st.sampled_from([-1.0, 0.0, 0.5, 2.0, float("-inf")])
    row = st.lists(value, min_size=num_videos, max_size=num_videos)
    logits = draw(st.lists(row, min_size=num_texts, max_size=num_texts))
    owners = draw(st.lists(st.integers(0, num_videos - 1), min_size=num_texts, max_size=num_texts))
    return torch.tensor(logits), torch.tensor(owners), num_videos


@given(problems())
def test_both_ranks_equal_the_plain_version(problem: tuple[Tensor, Tensor, int]) -> None:
    logits, owners, num_videos = problem
    text_ranks, video_ranks = both_ranks(logits, owners, num_videos=num_videos)
    assert (text_ranks.tolist(), video_ranks.tolist()) == plain_both(logits.tolist(), owners.tolist(), num_videos)


@given(problems(), st.integers(1, 10), st.integers(1, 8))
def test_tiles_of_any_size_give_the_same_ranks(
    problem: tuple[Tensor, Tensor, int], max_rows: int, max_columns: int
) -> None:
    logits, owners, num_videos = problem
    tiles: list[int] = []

    def score(rows: Tensor, columns: slice) -> Tensor:
        tile = logits[rows, columns]
        tiles.append(tile.numel())
        return tile

    streamed = streamed_ranks(score, owners, num_videos=num_videos, max_rows=max_rows, max_columns=max_columns)
    whole = both_ranks(logits, owners, num_videos=num_videos)
    assert [r.tolist() for r in streamed] == [r.tolist() for r in whole]
    assert sum(tiles) == logits.numel(), "every pair is scored once"
    assert max(tiles) <= max(max_rows, int(owners.bincount().max())) * max_columns


@given(problems())
def test_general_relevance_takes_the_best_right_answer(problem: tuple[Tensor, Tensor, int]) -> None:
    logits, owners, num_videos = problem
    right = [{int(owner), 0, num_videos - 1} for owner in owners]
    expected = [plain_rank(row, answers) for row, answers in zip(logits.tolist(), right, strict=True)]
    assert ranks(logits, [sorted(answers) for answers in right]).tolist() == expected
    as_bool = torch.tensor([[column in answers for column in range(num_videos)] for answers in right])
    assert ranks(logits, as_bool).tolist() == expected


def test_by_hand_with_two_captions_of_one_video() -> None:
    """Texts 0 and 1 speak of video 0, text 2 of video 2; video 1 has no caption."""
    logits = torch.tensor([[0.9, 0.1, 0.2], [0.3, 0.8, 0.6], [0.1, 0.7, 0.5]])
    t2v, v2t, found = evaluate_logits(logits, torch.tensor([0, 0, 2]), 3)
    # t2v: ranks 1, 3, 2 among three videos
    assert t2v == RetrievalMetrics(100 / 3, 100.0, 100.0, 2.0, 2.0, queries=3, gallery=3)
    # v2t: video 0 sees its captions at 0.9 against 0.1; video 2 its own at 0.5 against 0.6
    assert v2t == RetrievalMetrics(50.0, 100.0, 100.0, 1.5, 1.5, queries=2, gallery=2)
    # so few queries bound a median by nothing but each direction's gallery
    assert (found["t2v"]["median_rank"], found["v2t"]["median_rank"]) == ((1.0, 3.0), (1.0, 2.0))
    # Wilson at 1 of 2 videos; the captions of two videos rest on Student's t with one degree of freedom, 12.7062
    assert found["v2t"]["recall_at_1"] == pytest.approx((9.453, 90.547), abs=1e-3)
    assert found["t2v"]["recall_at_1"][0] < 1.0
    assert found["t2v"]["recall_at_1"][1] > 98.0


def test_infinite_scores_are_ordered_and_tie_like_others() -> None:
    inf = float("inf")
    logits = torch.tensor([[inf, inf, 0.0], [inf, 1.0, 0.0], [-inf, -inf, -inf], [-inf, 0.0, -inf]])
    assert ranks(logits, [[0], [0], [1], [2]]).tolist() == [2, 1, 3, 3]


def test_no_queries_have_no_ranks_and_one_candidate_is_first() -> None:
    assert ranks(torch.zeros(0, 3), []).tolist() == []
    assert [found.tolist() for found in both_ranks(torch.tensor([[5.0]]), torch.tensor([0]), num_videos=1)] == [
        [1],
        [1],
    ]


def test_several_right_answers_do_not_stand_in_each_others_way() -> None:
    """Two right ones above, one wrong between them: the best right one is first."""
    assert ranks(torch.tensor([[0.9, 0.8, 0.7]]), [[0, 2]]).tolist() == [1]
    assert ranks(torch.tensor([[0.8, 0.9, 0.8]]), [[0, 2]]).tolist() == [2]
    assert ranks(torch.tensor([[0.8, 0.8, 0.8]]), [[0, 2]]).tolist() == [2]


def test_video_to_text_asks_with_videos_and_ranks_videos_by_their_best_caption() -> None:
    """Video 1 prefers video 0's second caption; video 2 has no caption and neither asks nor answers."""
    logits = torch.tensor([[0.9, 0.1, 9.0], [0.2, 0.8, 9.0], [0.3, 0.7, 9.0]])
    t2v, v2t = both_ranks(logits, torch.tensor([0, 0, 1]), num_videos=3)
    assert t2v.tolist() == [2, 3, 2]
    assert v2t.tolist() == [1, 2]
    found = Ranks(t2v, v2t, torch.tensor([0, 0, 1]), 3)
    assert [each.gallery for each in found.metrics()] == [3, 2]
    assert [each.queries for each in found.metrics()] == [3, 2]


def test_recall_at_k_counts_the_rank_k() -> None:
    found = RetrievalMetrics.from_ranks(torch.tensor([1, 2, 5, 6, 10, 11, 40, 40]), gallery=40)
    assert (found.recall_at_1, found.recall_at_5, found.recall_at_10) == (12.5, 37.5, 62.5)
    assert (found.median_rank, found.mean_rank, found.queries, found.gallery) == (8.0, 115 / 8, 8, 40)
    assert found.recall_sum == 112.5
    assert found.to_json()["recall_sum"] == 112.5
    assert RetrievalMetrics.from_ranks(torch.tensor([4, 1, 2]), gallery=4).median_rank == 2.0


def test_ranks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"v2t must be one rank a captioned video, \(2,\); got \(3,\)"):
        Ranks(torch.tensor([1, 1, 1]), torch.tensor([1, 1, 1]), torch.tensor([0, 0, 2]), 3)
    with pytest.raises(ValueError, match=r"caption_video\[0\] = -1; allowed: 0 to 2"):
        Ranks(torch.tensor([1]), torch.tensor([1]), torch.tensor([-1]), 3)


def test_a_constant_score_earns_nothing() -> None:
    t2v, v2t, _ = evaluate_logits(torch.zeros(20, 20), torch.arange(20), 20, samples=10)
    assert (t2v.recall_at_1, t2v.recall_at_10, t2v.median_rank) == (0.0, 0.0, 20.0)
    assert v2t.mean_rank == 20.0
    assert "behind every wrong one" in TIE_RULE


def test_order_of_texts_does_not_matter() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(30, 10, generator=generator)
    owners = torch.arange(30) % 10
    order = torch.randperm(30, generator=generator)
    text_ranks, video_ranks = both_ranks(logits, owners, num_videos=10)
    again = both_ranks(logits[order], owners[order], num_videos=10)
    assert torch.equal(text_ranks[order], again[0])
    assert torch.equal(video_ranks, again[1])


def test_nan_is_refused_with_its_place() -> None:
    logits = torch.zeros(3, 4)
    logits[1, 2] = logits[2, 0] = float("nan")
    with pytest.raises(ValueError, match="logits hold 2 NaN, the first at row 1, column 2"):
        ranks(logits, [[0], [0], [0]])
    with pytest.raises(ValueError, match="row 1, column 2"):
        both_ranks(logits, torch.tensor([0, 1, 2]), num_videos=4)
    counter = RankCounter(matching=torch.zeros(3), caption_video=torch.tensor([0, 1, 2]), num_videos=4)
    with pytest.raises(ValueError, match="row 1, column 2"):
        counter.add(logits[[0, 1], 1:3], rows=torch.tensor([0, 1]), first_column=1)
    with pytest.raises(ValueError, match="matching holds 1 NaN, the first for text 1"):
        RankCounter(matching=logits[:, 2], caption_video=torch.tensor([0, 1, 2]), num_videos=4)


def test_wrong_relevance_is_refused() -> None:
    logits = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="1 queries have no relevant candidate, the first is row 1"):
        ranks(logits, [[0], []])
    with pytest.raises(ValueError, match=r"relevant\[0\] names column 3; allowed: 0 to 2"):
        ranks(logits, [[3], [0]])
    with pytest.raises(ValueError, match="relevant has 1 lists for 2 rows"):
        ranks(logits, [[0]])
    with pytest.raises(ValueError, match=r"relevant must be bool of the shape \(2, 3\)"):
        ranks(logits, torch.zeros(3, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"logits must have the axes \(Q, G\)"):
        ranks(torch.zeros(3), [[0]])


def test_wrong_owners_are_refused() -> None:
    with pytest.raises(ValueError, match=r"caption_video\[1\] = 3; allowed: 0 to 2"):
        both_ranks(torch.zeros(2, 3), torch.tensor([0, 3]), num_videos=3)
    with pytest.raises(ValueError, match=r"caption_video\[0\] = 7; allowed: 0 to 2"):
        both_ranks(torch.zeros(2, 3), torch.tensor([7, -1]), num_videos=3)
    with pytest.raises(ValueError, match=r"one int64 video index a text, shape \(2,\)"):
        both_ranks(torch.zeros(2, 3), torch.tensor([0.0, 1.0]), num_videos=3)
    with pytest.raises(ValueError, match=r"V = num_videos = 4, got shape \(2, 3\)"):
        both_ranks(torch.zeros(2, 3), torch.tensor([0, 1]), num_videos=4)
    with pytest.raises(ValueError, match=r"V = num_videos = 2, got shape \(2,\)"):
        both_ranks(torch.zeros(2), torch.tensor([0, 1]), num_videos=2)


def test_summing_up_refuses_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="Q at least 1"):
        RetrievalMetrics.from_ranks(torch.tensor([], dtype=torch.long), gallery=3)
    with pytest.raises(ValueError, match="1 to gallery = 3, got 1 to 4"):
        RetrievalMetrics.from_ranks(torch.tensor([1, 4]), gallery=3)
    with pytest.raises(ValueError, match="1 to gallery = 3, got 0 to 3"):
        RetrievalMetrics.from_ranks(torch.tensor([0, 3]), gallery=3)
    with pytest.raises(ValueError, match=r"got shape \(1, 2\)"):
        RetrievalMetrics.from_ranks(torch.tensor([[1, 2]]), gallery=3)


def test_blocks_keep_a_video_whole() -> None:
    blocks = whole_video_blocks(torch.tensor([1, 0, 1, 0, 0, 2]), max_rows=2)
    assert [block.tolist() for block in blocks] == [[1, 3, 4], [0, 2], [5]]
    with pytest.raises(ValueError, match="max_rows = 0; at least 1"):
        whole_video_blocks(torch.tensor([0]), max_rows=0)
    assert [block.tolist() for block in whole_video_blocks(torch.tensor([3, 1, 0, 3]), max_rows=4)] == [[2, 1, 0, 3]]


def test_a_tile_counted_twice_is_refused() -> None:
    counter = RankCounter(matching=torch.zeros(2), caption_video=torch.tensor([0, 1]), num_videos=2)
    for _ in range(2):
        counter.add(torch.zeros(2, 1), rows=torch.arange(2), first_column=0)
    with pytest.raises(ValueError, match="must cover 2 texts × 2 videos once each; they held 4 of 4 pairs"):
        counter.ranks()


def test_videos_are_scored_a_group_at_a_time() -> None:
    """All texts against a group's videos before the next group comes; tiles with matching pairs come in front."""
    logits, owners = torch.randn(8, 10, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1] * 4)
    seen: list[tuple[int, int]] = []
    told: list[tuple[int, int]] = []

    def score(rows: Tensor, columns: slice) -> Tensor:
        seen.append((columns.start, columns.stop))
        return logits[rows, columns]

    found = streamed_ranks(
        score,
        owners,
        num_videos=10,
        max_rows=4,
        max_columns=2,
        group_size=4,
        on_progress=lambda *state: told.append(state),
    )
    assert [each.tolist() for each in found] == [each.tolist() for each in both_ranks(logits, owners, num_videos=10)]
    assert seen[:2] == [(0, 2), (0, 2)]
    assert [start // 4 for start, _ in seen[2:]] == [0, 0, 1, 1, 1, 1, 2, 2]
    assert [done for done, _ in told] == [8, 16, 16, *range(24, 81, 8)]
    assert {total for _, total in told} == {80}
    for wrong in (0, 3, -2):
        with pytest.raises(ValueError, match=f"group_size = {wrong}; a multiple of max_columns = 2"):
            streamed_ranks(score, owners, num_videos=10, max_columns=2, group_size=wrong)


def test_texts_of_no_video_are_shown_in_tiles_that_cover_every_pair_once() -> None:
    logits = torch.arange(70.0).reshape(7, 10)
    shown = torch.full((7, 10), -1.0)
    told: list[tuple[int, int]] = []

    class Reader:
        def add(self, tile: Tensor, *, rows: Tensor, first_column: int, part: int = 0) -> None:
            place = (rows[:, None], torch.arange(first_column, first_column + tile.shape[1]))
            assert (shown[place] == -1.0).all(), "no pair comes twice"
            shown[place] = tile

        def state(self) -> dict[str, object]:
            return {}

        def restore(self, state: dict[str, object]) -> None: ...

    read_tiles(
        lambda rows, columns: logits[rows, columns],
        Reader(),  # type: ignore[arg-type]
        num_texts=7,
        num_videos=10,
        max_rows=3,
        max_columns=3,
        group_size=6,
        on_progress=lambda *state: told.append(state),
    )
    assert torch.equal(shown, logits)
    assert told[-1] == (70, 70)


def test_a_split_video_or_a_missing_tile_is_refused() -> None:
    owners = torch.tensor([0, 0, 1])
    counter = RankCounter(matching=torch.zeros(3), caption_video=owners, num_videos=2)
    with pytest.raises(ValueError, match="1 of the 2 captions of video 0; cut the texts with whole_video_blocks"):
        counter.add(torch.zeros(1, 2), rows=torch.tensor([0]), first_column=0)
    with pytest.raises(ValueError, match=r"videos \[1, 3\); allowed: within \[0, 2\)"):
        counter.add(torch.zeros(3, 2), rows=torch.arange(3), first_column=1)
    with pytest.raises(ValueError, match=r"tile must be \(B, N\) with B = 3"):
        counter.add(torch.zeros(2, 2), rows=torch.arange(3), first_column=0)
    counter.add(torch.zeros(3, 1), rows=torch.arange(3), first_column=0)
    with pytest.raises(ValueError, match="they held 3 of 6 pairs"):
        counter.ranks()
    with pytest.raises(ValueError, match="max_columns = 0; at least 1"):
        streamed_ranks(lambda rows, columns: torch.zeros(3, 2), owners, num_videos=2, max_columns=0)


def report(**changes: object) -> EvaluationReport:
    logits = torch.tensor([[0.9, 0.1, 0.2], [0.3, 0.8, 0.6], [0.1, 0.7, 0.5]])
    settings: dict[str, object] = {
        "evaluation": evaluate_logits(logits, torch.tensor([0, 0, 2]), 3),
        "protocol": "folder",
        "encoder": "offline 1f2e",
        "model": "zero-shot",
        "frames": "1 a second, then 12 uniformly",
        **changes,
    }
    return EvaluationReport(**settings)  # type: ignore[arg-type]


def test_the_report_carries_what_a_number_needs() -> None:
    content = json.loads(json.dumps(report(skipped=(Skipped("a.mp4", "truncated"),)).to_json()))
    assert {"t2v", "v2t", "gallery", "queries", "versions", "skipped"} < content.keys()  # test_run_folder.py has all
    numbers = ["recall_at_1", "recall_at_5", "recall_at_10", "median_rank", "mean_rank"]
    assert {*numbers, "queries", "gallery", "recall_sum", "intervals"} == content["t2v"].keys()
    assert list(content["t2v"]["intervals"]) == numbers
    assert content["v2t"]["intervals"]["recall_at_1"] == pytest.approx([9.453, 90.547], abs=1e-3)  # Wilson, 1 of 2
    assert content["interval_methods"]["mean_rank"] == "bootstrap-t over videos"
    assert content["recall_sum"] == pytest.approx(100 / 3 + 200 + 50 + 200)
    assert (content["gallery"], content["queries"], content["captions_per_video"]) == (3, 3, 1.5)
    assert (content["post_processing"], content["tie_rule"]) == ("none", TIE_RULE)
    assert content["versions"]["torch"] == version("torch")  # of a wheel with CUDA torch itself says more
    assert content["skipped"] == [{"file": "a.mp4", "reason": "truncated"}]


def test_the_table_shows_the_numbers_and_what_was_skipped() -> None:
    screen = Console(file=io.StringIO(), width=120)
    screen.print(report_table(report(skipped=tuple(Skipped(f"[b]a\n{i}\udcff.mp4", "cut") for i in range(12)))))
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "33.3" in shown
    assert "text → video" in shown
    assert "Wilson's score interval" in " ".join(shown.split())
    assert "missing from the gallery (12)" in shown
    assert "[b]a\\n0�.mp4: cut" in shown
    assert "and 2 more; --json lists them all" in shown
