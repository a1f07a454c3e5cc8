"""Evaluation: ranks, recalls and their intervals, the reports that carry them, and whether two of them differ.

    features ──► tiles ──► streaming ──► ranks ──► metrics, bootstrap ──► report, tables, figure ──► compare
                   rescoring, toplists ┘

Numbers: ``metrics.py`` ranks and recalls · ``counter.py``, ``streaming.py`` the same from tiles of any size ·
``rescoring.py`` DSL and QB-Norm · ``toplists.py``, ``trec.py`` for other tools · ``bootstrap.py`` 95 % intervals ·
``compare.py`` paired tests. Models: ``rank.py`` lists for ``wf.rank`` · ``evaluator.py`` features into ranks ·
``gathering.py``, ``cached.py`` videos or a cache into features · ``folder.py``, ``outcome.py`` all of it ·
``run_folder.py``, ``comparison.py`` what is kept. Only numbers and reports are imported from here.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
