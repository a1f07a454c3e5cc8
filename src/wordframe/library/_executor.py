"""Who reads the videos of a run: this process alone, or others (``_ray.py``). The indexer does not know which.

An executor hands out what became of each file; the plan, the commits, the summary and the status are the indexer's.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Protocol

from wordframe.cores import usable_cores
from wordframe.library._reading import Claims, Event, Settings, VideoJob, read_videos

if TYPE_CHECKING:
    from wordframe.library._fragments import TablePlace


class Executor(Protocol):
    """Reads videos, somewhere. writes_fragments: their rows lie beside the table when it tells of them."""

    writes_fragments: bool

    def read(
        self, jobs: Sequence[VideoJob], settings: Settings, table: TablePlace, should_stop: Callable[[], bool]
    ) -> Generator[Event, None, None]:
        """What becomes of each file, in any order: one ``Done``, ``Failed`` or ``Twin`` each.

        Args:
            table: where the segments lie, for whoever writes rows beside the table that will hold them.
            should_stop: True ends the iteration early, in order: what is whole comes, the rest does not.
        """
        ...


class LocalExecutor:
    """Reads in this process, on all cores that it may use."""

    writes_fragments = False

    def read(
        self, jobs: Sequence[VideoJob], settings: Settings, table: TablePlace, should_stop: Callable[[], bool]
    ) -> Generator[Event, None, None]:
        return read_videos(jobs, settings, claim=Claims().claim, should_stop=should_stop, cores=usable_cores())
