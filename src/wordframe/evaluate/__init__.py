"""Evaluation: ranks, recalls and their intervals, the reports that carry them, and whether two of them differ.

    features ──► ranking ──► ranker ──► ranks ──► metrics, intervals ──► report ──► runs ──► compare
                 rescoring, toplists ┘

Numbers: ``metrics.py`` ranks and recalls · ``ranker.py`` the same from tiles of any size · ``rescoring.py`` DSL and
QB-Norm · ``toplists.py`` lists for other tools · ``intervals.py`` how sure a number is · ``compare.py`` paired tests.
Models: ``ranking.py`` scores in bounded memory, for ``wf.rank`` and for ranks · ``evaluator.py`` features into ranks ·
``gathering.py`` videos or a cache into features · ``outcome.py`` all of it, with its ``report.py`` · ``runs.py`` what
is kept, and compared · ``checkpoint.py`` what goes on after an interruption.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
