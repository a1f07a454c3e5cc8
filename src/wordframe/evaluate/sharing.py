"""An evaluation over several processes, with the numbers of one to the last digit.

The tiles, in their order, are cut into ``PARTS`` parts whatever the number of processes, and each process takes some of
the parts. Ranks and lists are whole numbers that come out the same in any order. Sums of floats do not: those are kept
for each part (``rescoring.Statistics``) and added up in the parts' order. What every process has counted is told to all
of them once a pass, so that each ends with the whole.
Neighbours: ``ranker.py`` reads the tiles of its share, ``gathering.py`` the videos; ``processes.py`` sends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from wordframe.processes import failing_together, gather_objects, object_of, rank_and_world_size, refuse_unlike

if TYPE_CHECKING:
    from wordframe.evaluate.ranker import TileReader

PARTS = 32
"""More processes than this are not of use to one evaluation; each part costs eight bytes a text and video of sums."""
_Item = TypeVar("_Item")


def parts_of(num_tiles: int) -> list[int]:
    """The part that each of ``num_tiles`` tiles belongs to; neighbours are in one part, as they share their videos.

    >>> parts_of(3), parts_of(64)[:5]
    ([0, 10, 21], [0, 0, 1, 1, 2])
    """
    return [number * PARTS // num_tiles for number in range(num_tiles)]


@dataclass(frozen=True)
class Share:
    """What of an evaluation this process does: that of number ``rank`` of ``processes``."""

    rank: int = 0
    processes: int = 1

    @classmethod
    def of_group(cls) -> Share:
        """This process's share among those that were started together, all of which have to evaluate the same."""
        return cls(*rank_and_world_size())

    @property
    def name(self) -> str:
        """Of what is kept of this share, empty where it is the whole."""
        return "" if self.processes == 1 else f"-process-{self.rank}-of-{self.processes}"

    def takes(self, part: int) -> bool:
        """Whether ``part`` of the tiles is this process's; a process's parts lie side by side."""
        return part * self.processes // PARTS == self.rank

    def own(self, items: Sequence[_Item]) -> Sequence[_Item]:
        """This process's of some items, such as videos, dealt out in turn: neighbours are often of one length."""
        return items[self.rank :: self.processes]

    def whole(self, own: Sequence[_Item]) -> list[_Item]:
        """All items in their order, of what each process made of its own."""
        if self.processes == 1:
            return list(own)
        dealt = gather_objects(list(own))
        return [dealt[place % self.processes][place // self.processes] for place in range(sum(map(len, dealt)))]

    def failing_together(self) -> AbstractContextManager[None]:
        """Around what a process does by itself: where it fails in one, it fails in all."""
        return nullcontext() if self.processes == 1 else failing_together()

    def refuse_unlike(self, **texts: Iterable[str]) -> None:
        """Let no process go on if the machines have other videos, captions or weights.

        Raises:
            ProcessError: it names what differs, and where.
        """
        if self.processes > 1:
            refuse_unlike({name: _digest(several) for name, several in texts.items()})

    def merge(self, readers: Mapping[str, TileReader]) -> None:
        """Let every reader, in every process, hold what those of all processes have seen."""
        if self.processes == 1:
            return
        for reader in readers.values():
            own = reader.state()
            for sender in range(self.processes):  # one after the other: a single state more is held
                state = object_of(sender, own)
                if sender:
                    reader.merge(state)
                else:
                    reader.restore(state)

    def known(self, scores: Tensor) -> Tensor:
        """``(T,)`` scores that some process knows, of those that this one knows; NaN is what it does not."""
        if self.processes > 1:
            for others in map(torch.from_numpy, gather_objects(scores.numpy())):
                scores = torch.where(scores.isnan(), others, scores)
        return scores


ALONE = Share()


def _digest(texts: Iterable[str]) -> str:
    found = hashlib.sha256()
    for text in texts:
        found.update(text.encode("utf-8", "surrogateescape") + b"\0")
    return found.hexdigest()[:16]
