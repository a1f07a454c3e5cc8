"""Scores that look at more than their own pair: dual softmax (DSL) and QB-Norm, without the whole matrix.

Both divide out how much a candidate attracts every query. They use other queries of the test, or of training, which a
search does not have; so they stand in rows of their own, apart from the plain numbers.

- **DSL** (CAMoE, Cheng et al., arXiv 2109.04290): ``S'[q, c] = S[q, c] · exp(S[q, c]) / Σ_q' exp(S[q', c])`` with ``S``
  the logits, which carry the model's own temperature. The sum runs over all queries of the test: the captions for
  text→video, the videos for video→text.
- **QB-Norm** (Bogolin et al., CVPR 2022), dynamic inverted softmax, text→video: a bank of training captions ``b``
  gives every video the hub weight ``H[v] = Σ_b exp(β s[b, v])`` and the activation set: the videos that some caption of
  the bank likes best. A caption whose best video lies in that set is ranked by ``exp(β s[t, v]) / H[v]``, any other by
  ``s`` itself. ``s`` are cosines (logits by the model's scale), β = 20.

A first pass collects the sums (``Statistics``), a second ranks by the new scores (the views). Sums are kept as
logarithms, in float64: logits differ by up to 200, and ``exp(-200)`` is no float32.
Neighbours: ``ranker.py`` shows the tiles, ``evaluator.py`` makes both passes.
Axes: ``T`` texts, ``V`` videos, ``B`` texts and ``N`` videos of a tile.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wordframe.evaluate.checkpoint import Arrays
from wordframe.evaluate.ranker import View
from wordframe.evaluate.sharing import PARTS

BETA = 20.0
"""β of QB-Norm, the published value for cosines."""

_STATE = ("columns_by_part", "rows_by_part", "best", "best_score")


class Statistics:
    """Sums over all queries of both directions, and every text's best video. A ``ranker.TileReader``.

    Args:
        asking: ``(V,)`` bool, the videos that are queries of video→text (those with captions).
        factor: what logits are multiplied by before they are exponentiated.

    Attributes:
        columns_by_part: ``(P, V)`` log Σ over the texts of each part of the tiles of exp(factor · logit); rows_by_part:
            ``(P, T)`` the same over asking videos. Sums of floats depend on their order, and a part's is always one.
        best: ``(T,)`` the video of the highest logit, the first of equal ones.
    """

    def __init__(self, *, num_texts: int, asking: Tensor, factor: float = 1.0) -> None:
        self.asking, self.factor = asking, factor
        self.columns_by_part = torch.full((PARTS, len(asking)), float("-inf"), dtype=torch.float64)
        self.rows_by_part = torch.full((PARTS, num_texts), float("-inf"), dtype=torch.float64)
        self.best = torch.zeros(num_texts, dtype=torch.long)
        self.best_score = torch.full((num_texts,), float("-inf"), dtype=torch.float64)

    @property
    def column_sums(self) -> Tensor:
        """``(V,)`` over all texts."""
        return self.columns_by_part.logsumexp(dim=0)

    @property
    def row_sums(self) -> Tensor:
        """``(T,)`` over all asking videos."""
        return self.rows_by_part.logsumexp(dim=0)

    def add(self, tile: Tensor, *, rows: Tensor, first_column: int, part: int = 0) -> None:
        """Add ``tile (B, N)``: texts ``rows (B,)``, videos from ``first_column`` on."""
        columns = slice(first_column, first_column + tile.shape[1])
        exact = tile.double()
        score, place = exact.max(dim=1)  # (B,)
        self._keep_better(rows, score, place + first_column)
        exact = exact * self.factor
        of_columns, of_rows = self.columns_by_part[part], self.rows_by_part[part]
        of_columns[columns] = torch.logaddexp(of_columns[columns], exact.logsumexp(dim=0))
        over_asking = exact.masked_fill(~self.asking[columns], float("-inf")).logsumexp(dim=1)
        of_rows[rows] = torch.logaddexp(of_rows[rows], over_asking)

    def merge(self, state: Arrays) -> None:
        other = {name: torch.from_numpy(state[name]) for name in _STATE}
        # a part is read by one process alone; -inf is what was not seen
        self.columns_by_part = torch.maximum(self.columns_by_part, other["columns_by_part"])
        self.rows_by_part = torch.maximum(self.rows_by_part, other["rows_by_part"])
        self._keep_better(torch.arange(len(self.best)), other["best_score"], other["best"])

    def _keep_better(self, rows: Tensor, score: Tensor, video: Tensor) -> None:
        """A ``score (B,)`` and its ``video (B,)`` for each of ``rows (B,)`` where it beats what is known."""
        known = self.best_score[rows]
        # by number, not by order of arrival: tiles with matching pairs come first
        better = (score > known) | ((score == known) & (video < self.best[rows]))
        self.best[rows] = torch.where(better, video, self.best[rows])
        self.best_score[rows] = torch.where(better, score, known)

    def state(self) -> Arrays:
        return {name: getattr(self, name).numpy() for name in _STATE}

    def restore(self, state: Arrays) -> None:
        for name in _STATE:
            setattr(self, name, torch.from_numpy(state[name]))


def dual_softmax_t2v(statistics: Statistics) -> View:
    """DSL's scores for text→video: the sum runs over the captions."""
    sums = statistics.column_sums

    def view(tile: Tensor, rows: Tensor, columns: slice) -> Tensor:
        exact = tile.double()
        return exact * (exact - sums[columns]).exp()

    return view


def dual_softmax_v2t(statistics: Statistics) -> View:
    """DSL's scores for video→text: the sum runs over the videos."""
    sums = statistics.row_sums

    def view(tile: Tensor, rows: Tensor, columns: slice) -> Tensor:
        exact = tile.double()
        return exact * (exact - sums[rows, None]).exp()

    return view


def querybank_t2v(statistics: Statistics, bank: Statistics) -> View:
    """QB-Norm's scores for text→video, as logarithms; ``bank`` was collected from its captions with factor β/s."""
    # logarithms throughout: they rank as the published fractions do, which would vanish in float32
    sums = bank.column_sums
    activated = torch.zeros(len(sums), dtype=torch.bool)
    activated[bank.best] = True
    normalised = activated[statistics.best]  # (T,)

    def view(tile: Tensor, rows: Tensor, columns: slice) -> Tensor:
        exact = tile.double() * bank.factor
        return torch.where(normalised[rows, None], exact - sums[columns], exact)

    return view
