"""TC-MGC, text-conditioned multi-grained contrast (Jing et al., arXiv 2504.04707), and its ablations.

``head.py`` the similarity · ``lva.py`` language-video attention, plainly · ``span.py`` its numbers without a vector per
query and video · ``attending.py`` what X-Pool and T-MASS share with it · ``aggregation.py`` SR, ISA and LSA ·
``ablated.py`` the head without some of its pieces. The compiled loop is ``heads/_kernels/tcmgc.py``. Public names are
those of ``wordframe.heads``.
"""
