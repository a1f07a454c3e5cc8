"""Heads for the offline encoder, trained from captions alone: is one of them better than the untrained ranking?

captions.py, written.py (which captions, and their features) · real.py (real frames) · stand_ins.py (frames made of
captions) · statistics.py (how alike both are) · heads.py, train.py (what is trained, and how) · evaluate.py (held-out
captions and real clips) · measure.py (the rule, in its order) · table.py. The command is benchmarks/text_trained.py;
what came out, and the rule it was judged by: docs/text-trained.md.
"""
