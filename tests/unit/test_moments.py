"""The numbers of moment retrieval: by hand, and against a plain computation written another way."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest

from wordframe.data import MomentQuery
from wordframe.evaluate import (
    AP_LEVELS,
    CORPUS,
    INSIDE,
    MomentAnswer,
    PredictedMoment,
    average_precision,
    moment_figures,
    moment_values,
    overlaps,
)


def query(*windows: tuple[float, float], video: str = "a", **rest: object) -> MomentQuery:
    return MomentQuery(query_id="1", video=video, text="a cat", windows=windows, **rest)  # type: ignore[arg-type]


def answer(*windows: tuple[float, float], video: str = "a", **rest: object) -> MomentAnswer:
    found = tuple(PredictedMoment(video, start, end, -place) for place, (start, end) in enumerate(windows))
    return MomentAnswer(inside=found, corpus=found, **rest)  # type: ignore[arg-type]


def one(wanted: MomentQuery, given: MomentAnswer, name: str, setting: str = INSIDE) -> float:
    return float(moment_values([wanted], [given])[setting][name][0])


def test_overlap_by_hand() -> None:
    found = overlaps([(0, 4), (2, 6), (10, 12)], [(2, 6), (11, 11.5)])
    assert found.tolist() == [[2 / 6, 0.0], [1.0, 0.0], [0.0, 0.25]]


def test_recall_wants_the_overlap_among_the_first() -> None:
    wanted = query((0, 10))
    given = answer((20, 30), (0, 5), (0, 10))
    assert one(wanted, given, "recall_at_1_iou_0.3") == 0.0
    assert one(wanted, given, "recall_at_5_iou_0.7") == 100.0
    assert one(wanted, answer((0, 5)), "recall_at_1_iou_0.5") == 100.0  # just at the level counts
    assert one(wanted, answer((0, 4.9)), "recall_at_1_iou_0.5") == 0.0
    assert one(wanted, answer((0, 5)), "mean_iou") == 50.0


def test_any_of_several_moments_will_do_for_the_first_answer() -> None:
    assert one(query((0, 10), (50, 60)), answer((50, 60)), "recall_at_1_iou_0.7") == 100.0


def test_a_sixth_answer_does_not_count_for_recall_at_5() -> None:
    given = answer(*[(100 + place, 101 + place) for place in range(5)], (0, 10))
    assert one(query((0, 10)), given, "recall_at_5_iou_0.3") == 0.0


def test_average_precision_by_hand() -> None:
    # two moments; the first is found twice, the second at the third place: precision 1, 1/2, 2/3
    overlap = np.array([[0.8, 0.0], [0.7, 0.0], [0.0, 0.6]])
    assert average_precision(overlap, [0.5]).tolist() == [pytest.approx((1 + 2 / 3) / 2)]
    assert average_precision(overlap, [0.75]).tolist() == [pytest.approx(1 / 2)]
    # false first, then both: the precision of a later, larger recall counts for the earlier one
    late = np.array([[0.0, 0.0], [0.9, 0.0], [0.0, 0.9]])
    assert average_precision(late, [0.5]).tolist() == [pytest.approx(2 / 3)]
    assert average_precision(np.zeros((0, 2)), [0.5]).tolist() == [0.0]


def plain_average_precision(predicted: list[tuple[int, int]], moments: list[tuple[int, int]], level: Fraction) -> float:
    """Exact fractions; matches listed first, then the area under the interpolated curve, recall by recall."""

    def overlap(one: tuple[int, int], other: tuple[int, int]) -> Fraction:
        both = set(range(*one)) & set(range(*other))
        return Fraction(len(both), len(set(range(*one)) | set(range(*other))))

    taken: set[int] = set()
    right: list[bool] = []
    for window in predicted:
        free = [(overlap(window, moment), -place) for place, moment in enumerate(moments) if place not in taken]
        best = max((pair for pair in free if pair[0] >= level), default=None)
        right.append(best is not None)
        if best is not None:
            taken.add(-best[1])
    curve = [(Fraction(sum(right[:k]), len(moments)), Fraction(sum(right[:k]), k)) for k in range(1, len(right) + 1)]
    area = Fraction(0)
    for step in range(1, len(moments) + 1):
        reached = [precision for recall, precision in curve if recall >= Fraction(step, len(moments))]
        area += Fraction(1, len(moments)) * max(reached, default=Fraction(0))
    return float(area)


def test_average_precision_is_that_of_a_plain_computation() -> None:
    chance = random.Random(0)

    def window() -> tuple[int, int]:
        start = chance.randrange(30)
        return start, start + chance.randint(1, 12)

    for _ in range(200):
        predicted, moments = (
            [window() for _ in range(chance.randint(1, 8))],
            [window() for _ in range(chance.randint(1, 4))],
        )
        found = average_precision(overlaps(predicted, moments))
        wanted = [plain_average_precision(predicted, moments, Fraction(str(level))) for level in AP_LEVELS]
        assert found.tolist() == pytest.approx(wanted)


def test_map_is_over_ten_answers_and_ten_levels() -> None:
    wanted = query((0, 10))
    assert one(wanted, answer(*[(50 + place, 51 + place) for place in range(10)], (0, 10)), "map_average") == 0.0
    found = {name: one(wanted, answer((0, 8)), name) for name in ("map_iou_0.5", "map_iou_0.75", "map_average")}
    assert found == {"map_iou_0.5": 100.0, "map_iou_0.75": 100.0, "map_average": pytest.approx(70.0)}  # 0.5 to 0.8


def test_corpus_wide_the_video_must_be_right() -> None:
    wanted = query((0, 10))
    elsewhere = PredictedMoment("b", 0.0, 10.0, 1.0)
    here = PredictedMoment("a", 0.0, 10.0, 0.9)
    given = MomentAnswer(inside=(here,), corpus=(*[elsewhere] * 5, here))
    assert one(wanted, given, "recall_at_5_iou_0.5", CORPUS) == 0.0
    assert one(wanted, given, "recall_at_10_iou_0.5", CORPUS) == 100.0
    assert one(wanted, given, "recall_at_1_iou_0.5") == 100.0


def test_hit_at_1_goes_by_the_raters_where_there_are_any() -> None:
    rated = query((0, 4), saliency={0: (3, 3, 3), 1: (0, 4, 2)})

    def heat(*values: float) -> MomentAnswer:
        return answer((0, 4), seconds=(0.5, 1.5, 2.5, 4.5), heat=values)

    assert one(rated, heat(0, 0, 1, 0), "hit_at_1") == 100.0  # clip 1: one of three said very good
    assert one(rated, heat(1, 0, 0, 0), "hit_at_1") == 0.0  # clip 0: good, not very good
    assert one(rated, heat(0, 0, 0, 1), "hit_at_1") == 0.0  # clip 2: not rated, since it does not belong
    assert one(query((0, 4)), heat(0, 0, 1, 0), "hit_at_1") == 100.0
    assert one(query((0, 4)), heat(0, 0, 0, 1), "hit_at_1") == 0.0
    assert one(query((0, 4)), answer((0, 4)), "hit_at_1") == 0.0


def test_figures_are_means_within_their_intervals() -> None:
    chance = random.Random(1)
    queries = [query((0, 10), video=str(place % 7)) for place in range(40)]
    answers = [answer((0, chance.choice((3, 6, 9, 10))), video=wanted.video) for wanted in queries]
    values = moment_values(queries, answers)
    figures = moment_figures(values, np.array([int(wanted.video) for wanted in queries]))
    for setting, numbers in figures.items():
        for name, figure in numbers.items():
            assert figure.value == pytest.approx(values[setting][name].mean())
            assert 0 <= figure.low <= figure.value <= figure.high <= 100
    sure = figures[INSIDE]["map_iou_0.5"]
    assert sure.high - sure.low > 1  # ones and noughts alone: a share, which has a width


def test_answers_belong_to_sentences() -> None:
    with pytest.raises(ValueError, match="an answer is needed for each sentence, at least one, got 1 and 0"):
        moment_values([query((0, 1))], [])
