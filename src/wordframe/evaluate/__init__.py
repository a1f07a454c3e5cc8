"""Evaluation: ranks, recalls and their intervals, the reports that carry them, and whether two of them differ.

    features ──► tiles ──► streaming ──► ranks ──► metrics, bootstrap ──► report, tables, figure ──► compare
                   rescoring, toplists ┘

Numbers: ``metrics.py`` ranks and recalls · ``counter.py``, ``streaming.py`` the same from tiles of any size ·
``rescoring.py`` DSL and QB-Norm · ``toplists.py``, ``trec.py`` for other tools · ``bootstrap.py`` 95 % intervals ·
``compare.py`` paired tests. Models: ``rank.py`` lists for ``wf.rank`` · ``evaluator.py`` features into ranks ·
``gathering.py``, ``cached.py`` videos or a cache into features · ``folder.py``, ``outcome.py`` all of it ·
``run_folder.py``, ``comparison.py`` what is kept. Only numbers and reports are imported from here.
"""

from wordframe.evaluate.bootstrap import Intervals, bootstrap_intervals
from wordframe.evaluate.counter import RankCounter, whole_video_blocks
from wordframe.evaluate.metrics import (
    TIE_RULE,
    Evaluation,
    RetrievalMetrics,
    both_ranks,
    evaluate_logits,
    evaluate_ranks,
    ranks,
)
from wordframe.evaluate.report import EvaluationReport, Skipped, installed_versions
from wordframe.evaluate.streaming import streamed_ranks
from wordframe.evaluate.tables import render

__all__ = [
    "TIE_RULE",
    "Evaluation",
    "EvaluationReport",
    "Intervals",
    "RankCounter",
    "RetrievalMetrics",
    "Skipped",
    "bootstrap_intervals",
    "both_ranks",
    "evaluate_logits",
    "evaluate_ranks",
    "installed_versions",
    "ranks",
    "render",
    "streamed_ranks",
    "whole_video_blocks",
]
