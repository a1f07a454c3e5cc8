"""TREC run and qrels files, so that other tools (trec_eval, ir-measures) can check the numbers.

Text→video: a query is a caption, ``VIDEO#0``, ``VIDEO#1`` …, a document a video. Video→text: a query is a video, a
document is a video too, seen through the best of its captions, as the protocol has it; so in both directions every
query has one relevant document. Names are percent-encoded: a field may hold no blank.
Tools sort by score, each breaking ties in its own way; a score that is not below the one before it is lowered by the
smallest float32 step, so that everybody reads the order of our tie rule.
Neighbours: ``toplists.py`` makes the lists, ``run_folder.py`` names the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

_SAFE = "-_.~/#:"


def field(name: str) -> str:
    """A name as one field of a line.

    >>> field("a cat.mp4"), field("dir/two\\nlines")
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
    found = scores.copy()
    for place in range(1, len(found)):
        if found[place] >= found[place - 1]:
            found[place] = np.nextafter(found[place - 1], np.float32(-np.inf))
    return found


def write_run(path: Path, queries: Sequence[str], documents: Sequence[str], lists: tuple[Tensor, Tensor]) -> None:
    """Lines ``QUERY Q0 DOCUMENT RANK SCORE wordframe`` of lists ``(Q, K)`` of documents' numbers and scores."""
    names = [field(document) for document in documents]

    def lines() -> Iterator[str]:
        for query, numbers, scores in zip(queries, *(each.numpy() for each in lists), strict=True):
            name = field(query)
            for rank, (number, score) in enumerate(zip(numbers.tolist(), falling(scores), strict=True), start=1):
                yield f"{name} Q0 {names[number]} {rank} {score:.9g} wordframe\n"

    _write(path, lines())


def write_qrels(path: Path, queries: Sequence[str], documents: Iterable[str]) -> None:
    """Lines ``QUERY 0 DOCUMENT 1``: the one relevant document of each query."""
    pairs = zip(queries, documents, strict=True)
    _write(path, (f"{field(query)} 0 {field(document)} 1\n" for query, document in pairs))


def _write(path: Path, lines: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(lines)
