"""Which pairs come in which step, for each process, and their batches made ahead in threads.

The order is a function of the seed and the epoch alone, so a resumed run needs no state for it, and the batch of a step
is the same whatever the number of processes. The pairs that do not fill the last batch of an epoch are left out of that
epoch; the next one is shuffled anew. ``loop.py`` takes what ``feed`` gives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from wordframe.data import Batch, TrainingSet
from wordframe.train.distributed import shares


@dataclass(frozen=True)
class BatchOrder:
    """Which captions each batch holds.

    Attributes:
        pairs: captions of the training set.
        batch_size: pairs of a batch, over all processes.
        accumulation: batches a step.
        processes, rank: how many there are, and which is this one.
    """

    pairs: int
    batch_size: int
    accumulation: int
    seed: int
    processes: int = 1
    rank: int = 0

    @property
    def steps_per_epoch(self) -> int:
        return self.pairs // (self.batch_size * self.accumulation)

    @property
    def sizes(self) -> list[int]:
        """Pairs of a batch that each process takes."""
        return shares(self.batch_size, self.processes)

    def step(self, step: int) -> list[Tensor]:
        """Numbers of the captions of each batch of step ``step`` (from 0), all processes together."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = _shuffled(self.pairs, self.seed, epoch)
        first = place * self.accumulation
        return [
            order[number * self.batch_size : (number + 1) * self.batch_size]
            for number in range(first, first + self.accumulation)
        ]

    def own(self, step: int) -> list[Tensor]:
        """This process's part of ``step``."""
        first = sum(self.sizes[: self.rank])
        return [batch[first : first + self.sizes[self.rank]] for batch in self.step(step)]


@lru_cache(maxsize=2)
def _shuffled(pairs: int, seed: int, epoch: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(pairs, generator=generator)


def feed(
    train_set: TrainingSet, order: BatchOrder, *, first_step: int, last_step: int, workers: int
) -> Generator[list[Batch], None, None]:
    """The batches of each step in ``[first_step, last_step)``, ``workers`` of them being made while one trains."""
    with ThreadPoolExecutor(workers, thread_name_prefix="batch") as pool:
        ahead: deque[list[Future[Batch]]] = deque()
        try:
            for step in range(first_step, last_step):
                ahead.append([pool.submit(train_set.batch, captions.tolist()) for captions in order.own(step)])
                if len(ahead) > max(1, -(-workers // order.accumulation)):
                    yield [batch.result() for batch in ahead.popleft()]
            while ahead:
                yield [batch.result() for batch in ahead.popleft()]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
