"""The first ``top`` candidates of every query, both ways, from the tiles that ranks are counted from; as TREC files.

Lists hold wrong candidates only, as whole numbers that sort by score, then by place: so they do not depend on how the
tiles were cut. The right one is put in at its rank, which the counter knows exactly; so lists and ranks follow one tie
rule. Scores are kept in float32.

Other tools (trec_eval, ir-measures) check the numbers from TREC run and qrels files. Text→video: a query is a caption,
``VIDEO#0``, ``VIDEO#1`` …, a document a video. Video→text: a query is a video, a document is a video too, seen through
the best of its captions, as the protocol has it; so in both directions every query has one relevant document.
Neighbours: ``ranker.py`` shows the tiles, ``runs.py`` names the files.
Axes: ``Q`` queries, ``K`` places of a list, ``T`` texts, ``V`` videos, ``C`` videos that have captions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wordframe.evaluate.checkpoint import Arrays
from wordframe.evaluate.metrics import best_captions

_SAFE = "-_.~/#:"
_NONE = torch.iinfo(torch.int64).min
_STATE = ("text_keys", "video_keys", "text_right", "video_right")


def sort_keys(scores: Tensor, places: Tensor) -> Tensor:
    """int64 numbers that are larger for a higher float32 score and, where scores are equal, for an earlier place.

    >>> sort_keys(torch.tensor([0.5, -1.0, 0.5]), torch.tensor([2, 0, 1])).argsort(descending=True)
    tensor([2, 0, 1])
    """
    bits = (scores.float() + 0.0).view(torch.int32)  # + 0.0 makes -0.0 equal to 0.0
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()
    # floats compare as whole numbers do once the bits of negative ones are turned round; the place fills the low half
    return (ordered << 32) + (2**32 - 1 - places)


def from_keys(keys: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse of ``sort_keys``: scores and places."""
    ordered = (keys >> 32).int()
    scores = torch.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered).view(torch.float32)
    return scores, 2**32 - 1 - (keys & 0xFFFFFFFF)


class TopLists:
    """Reads tiles; afterwards ``text_lists`` and ``video_lists`` give the lists. A ``ranker.TileReader``.

    Args:
        caption_video: ``(T,)`` int64, the video each caption was written for.
        top: ``K``, the length of a list; shorter where there are fewer candidates.
    """

    def __init__(self, *, caption_video: Tensor, num_videos: int, top: int) -> None:
        if top < 1:
            raise ValueError(f"top = {top}; a list has at least 1 place")
        self.caption_video, self.top = caption_video, top
        self.captioned = torch.unique(caption_video)  # (C,)
        self.text_keys = torch.full((len(caption_video), min(top, num_videos - 1)), _NONE)
        self.video_keys = torch.full((num_videos, min(top, len(self.captioned) - 1)), _NONE)
        self.text_right = torch.full((len(caption_video),), float("-inf"))
        self.video_right = torch.full((num_videos,), float("-inf"))

    def add(self, tile: Tensor, *, rows: Tensor, first_column: int, part: int = 0) -> None:
        """Take the best of ``tile (B, N)``: texts ``rows (B,)``, videos from ``first_column`` on."""
        num_columns = tile.shape[1]
        columns = torch.arange(first_column, first_column + num_columns)  # (N,)
        owners = self.caption_video[rows]  # (B,)
        right = owners[:, None] == columns  # (B, N)
        # the right one stays out: where it stands among its equals is the counter's to say
        keys = sort_keys(tile, columns).masked_fill(right, _NONE)
        self.text_keys[rows] = _merged(self.text_keys[rows], keys)
        at, column = right.nonzero(as_tuple=True)
        self.text_right[rows[at]] = tile[at, column].float()

        best, candidates = best_captions(tile, owners, num_videos=num_columns)  # (C', N), (C',)
        right = candidates[:, None] == columns  # (C', N)
        keys = sort_keys(best, candidates[:, None]).masked_fill(right, _NONE)
        self.video_keys[columns] = _merged(self.video_keys[columns], keys.T)
        at, column = right.nonzero(as_tuple=True)
        self.video_right[columns[column]] = best[at, column].float()

    def state(self) -> Arrays:
        return {name: getattr(self, name).numpy() for name in _STATE}

    def restore(self, state: Arrays) -> None:
        for name in _STATE:
            setattr(self, name, torch.from_numpy(state[name]))

    def merge(self, state: Arrays) -> None:
        other = {name: torch.from_numpy(state[name]) for name in _STATE}
        self.text_keys = _merged(self.text_keys, other["text_keys"])
        self.video_keys = _merged(self.video_keys, other["video_keys"])
        # a right one is in one tile alone; -inf is what was not seen
        self.text_right = torch.maximum(self.text_right, other["text_right"])
        self.video_right = torch.maximum(self.video_right, other["video_right"])

    def text_lists(self, ranks: Tensor) -> tuple[Tensor, Tensor]:
        """Text→video: videos and scores, ``(T, K)`` each, best first, by the ranks ``(T,)`` of the right ones."""
        return _with_right(self.text_keys, self.caption_video, self.text_right, ranks, self.top)

    def video_lists(self, ranks: Tensor) -> tuple[Tensor, Tensor]:
        """Video→text: videos, each seen through its captions, and scores, ``(C, K)`` each, by ``ranks (C,)``."""
        own = self.captioned
        return _with_right(self.video_keys[own], own, self.video_right[own], ranks, self.top)


def _merged(kept: Tensor, new: Tensor) -> Tensor:
    """The largest of both, descending, as many as ``kept`` holds."""
    return torch.cat([kept, new], dim=1).topk(kept.shape[1], dim=1).values


def _with_right(keys: Tensor, right: Tensor, scores: Tensor, ranks: Tensor, top: int) -> tuple[Tensor, Tensor]:
    """Wrong candidates ``(Q, K)`` with the right one ``(Q,)`` at its rank, if that is within ``top``."""
    length = min(top, keys.shape[1] + 1)
    wrong_scores, wrong = from_keys(keys)
    place = torch.arange(length).expand(len(keys), length)  # (Q, K)
    own = ranks[:, None] - 1
    source = (place - (place > own).long()).clamp(max=max(keys.shape[1] - 1, 0))
    if not keys.shape[1]:
        return right[:, None].clone(), scores[:, None].clone()
    videos = torch.where(place == own, right[:, None], wrong.gather(1, source))
    return videos, torch.where(place == own, scores[:, None], wrong_scores.gather(1, source))


def trec_field(name: str) -> str:
    """A name as one field of a line.

    >>> trec_field("a cat.mp4"), trec_field("dir/two\\nlines")
    ('a%20cat.mp4', 'dir/two%0Alines')
    """
    return quote(name, safe=_SAFE, errors="surrogateescape")


def caption_ids(names: Sequence[str], caption_video: Tensor) -> list[str]:
    """A name for every caption: its video's and how many of that video's come before it.

    >>> import torch
    >>> caption_ids(["a", "b"], torch.tensor([0, 1, 0]))
    ['a#0', 'b#0', 'a#1']
    """
    seen = [0] * len(names)
    found = []
    for video in caption_video.tolist():
        found.append(f"{names[video]}#{seen[video]}")
        seen[video] += 1
    return found


def falling(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores ``(K,)`` in their order, each below the one before it.

    >>> [f"{score:.7f}" for score in falling(np.array([1, 1, 0.5], np.float32))]
    ['1.0000000', '0.9999999', '0.5000000']
    """
    # trec_eval looks at scores alone and orders equal ones by the documents' names, not by the ranks in the file
    found = scores.copy()
    for place in range(1, len(found)):
        if found[place] >= found[place - 1]:
            found[place] = np.nextafter(found[place - 1], np.float32(-np.inf))
    return found


def write_trec_run(path: Path, queries: Sequence[str], documents: Sequence[str], lists: tuple[Tensor, Tensor]) -> None:
    """Lines ``QUERY Q0 DOCUMENT RANK SCORE wordframe`` of lists ``(Q, K)`` of documents' numbers and scores."""
    names = [trec_field(document) for document in documents]

    def lines() -> Iterator[str]:
        for query, numbers, scores in zip(queries, *(each.numpy() for each in lists), strict=True):
            name = trec_field(query)
            for rank, (number, score) in enumerate(zip(numbers.tolist(), falling(scores), strict=True), start=1):
                yield f"{name} Q0 {names[number]} {rank} {score:.9g} wordframe\n"

    _write(path, lines())


def write_trec_qrels(path: Path, queries: Sequence[str], documents: Iterable[str]) -> None:
    """Lines ``QUERY 0 DOCUMENT 1``: the one relevant document of each query."""
    pairs = zip(queries, documents, strict=True)
    _write(path, (f"{trec_field(query)} 0 {trec_field(document)} 1\n" for query, document in pairs))


def _write(path: Path, lines: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(lines)
