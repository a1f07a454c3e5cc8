"""Evaluation: ranks, recalls and their intervals, and the report that carries them. It sees numbers, never a model.

``metrics.py`` ranks and recalls · ``streaming.py`` the same from tiles of any size · ``bootstrap.py`` 95 % intervals ·
``report.py`` JSON and the terminal's table.
"""

from wordframe.evaluation.bootstrap import Intervals, bootstrap_intervals
from wordframe.evaluation.metrics import (
    TIE_RULE,
    Evaluation,
    RetrievalMetrics,
    both_ranks,
    evaluate_logits,
    evaluate_ranks,
    ranks,
)
from wordframe.evaluation.report import EvaluationReport, Skipped, installed_versions, render
from wordframe.evaluation.streaming import RankCounter, streamed_ranks, whole_video_blocks

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
