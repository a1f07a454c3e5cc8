"""What runs on other machines: an actor that makes what a model keeps of blocks of segments, and writes their rows.

It reads the segments' table at the version it is told. Neighbours: ``_ray.py`` hands out the blocks, ``_preparing.py``
is the work; ``_ray_reader.py`` is the same for videos.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Generator, Sequence
from typing import Any

import pyarrow as pa
import ray

from wordframe.cores import limit_cores
from wordframe.errors import CheckpointError
from wordframe.library._fragments import need_table, write_table
from wordframe.library._preparing import Block, Made, Preparing, prepare_blocks

WRITE_SECONDS = 4.0
"""Rows wait in memory for so long; a fragment for each block would be as many files."""


class Preparer:
    """The actor. Several batches may be under way at the same time, so that the end of one leaves no core idle."""

    def __init__(self, asked: bytes, fingerprint: str, cores: int) -> None:
        self._sent, self._fingerprint, self._cores = asked, fingerprint, cores
        self._stop = threading.Event()

    def prepare(self) -> str:
        """Take the model in; gives the machine that this is on.

        Raises:
            CheckpointError: it is another here than where it was sent from.
            LibraryError: the library is not on this machine.
        """
        import torch

        limit_cores(self._cores)
        torch.set_num_threads(self._cores)
        self._asked: Preparing = pickle.loads(self._sent)
        if self._asked.model.fingerprint != self._fingerprint:
            raise CheckpointError(
                "the model is another on a machine of the cluster than here; give all machines the same version of "
                "wordframe"
            )
        need_table(self._asked.table)
        return str(ray.get_runtime_context().get_node_id())

    def stop(self) -> None:
        """End what is under way, in order: what is made is written and told."""
        self._stop.set()

    def read(self, blocks: Sequence[Block]) -> Generator[Made, None, None]:
        """As ``prepare_blocks``, but for the rows, which lie beside the model's table by then."""
        waiting: list[Made] = []
        written = time.monotonic()
        for made in prepare_blocks(blocks, self._asked, self._stop.is_set):
            waiting.append(made)
            if time.monotonic() - written > WRITE_SECONDS:
                yield self._write(waiting)
                waiting, written = [], time.monotonic()
        if waiting:
            yield self._write(waiting)

    def _write(self, waiting: list[Made]) -> Made:
        rows = pa.concat_tables([made.rows for made in waiting])
        keys = [key for made in waiting for key in made.keys]
        return Made(keys, len(rows), fragments=write_table(self._asked.table, rows))


def remote_preparer(cores: int) -> Any:
    """The actor's class with what each one takes of its machine. A dead one stays dead: who started it decides."""
    options = {"num_cpus": cores, "max_restarts": 0, "max_task_retries": 0, "max_concurrency": 4}
    return ray.remote(Preparer).options(**options)
